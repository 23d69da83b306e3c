#include "leave.h"

#include <Python.h>

#include "core/device.h"
#include "device/attach.h"

#include <torch/csrc/autograd/anomaly_mode.h>
#include <torch/csrc/autograd/engine.h>

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <future>
#include <thread>

namespace genie {
namespace {

namespace ag = torch::autograd;

struct Nothing final : ag::Node {
  ag::variable_list apply(ag::variable_list&&) override { return {}; }
};

// A backward that has one node on each of the device threads, and no Python object anywhere.
void visit_threads() {
  ag::edge_list roots;
  ag::variable_list inputs;
  for (int i = 0; i < kMaxDevices; ++i) {
    inputs.push_back(at::detail::make_tensor<c10::TensorImpl>(
        c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), c10::scalarTypeToTypeMeta(at::kFloat),
        c10::Device(c10::kPrivateUse1, static_cast<c10::DeviceIndex>(i))));
    const auto node = make_node<Nothing>();
    node->add_input_metadata(inputs.back());
    roots.emplace_back(node, 0);
  }
  ag::Engine::get_default_engine().execute(roots, inputs, /*keep_graph=*/false, /*create_graph=*/false,
                                           /*accumulate_grad=*/false);
}

std::terminate_handler previous_handler = nullptr;

// A stack that is unwound without an exception, while the main thread finalizes the interpreter.
bool is_ended_by_python() {
  return !std::current_exception() && !Py_IsInitialized() && ::syscall(SYS_gettid) != ::getpid();
}

[[noreturn]] void stay_or_terminate() {
  while (is_ended_by_python()) ::pause();
  previous_handler();
  std::abort();
}

}  // namespace

void keep_ended_threads() {
  if (std::get_terminate() != stay_or_terminate) previous_handler = std::set_terminate(stay_or_terminate);
}

void settle_autograd(std::chrono::milliseconds limit) {
  if (!autograd_may_run()) return;
  ag::AnomalyMode::set_enabled(false);  // or each node would keep the Python stack that made it
  std::promise<void> promise;
  auto done = promise.get_future();
  // On a thread of its own: what the engine copies of the caller's thread-local state may hold Python
  // objects, and a device thread may be stuck in a hook, which must not keep the process.
  std::thread([promise = std::move(promise)]() mutable {
    try {
      visit_threads();
    } catch (const std::exception&) {
      // An engine that refuses work has no thread in the middle of any.
    }
    promise.set_value();
  }).detach();
  // In steps, of which a machine that stands still for a while uses up one.
  constexpr std::chrono::milliseconds kStep(100);
  while (limit.count() > 0 && done.wait_for(std::min(limit, kStep)) != std::future_status::ready) limit -= kStep;
}

}  // namespace genie
