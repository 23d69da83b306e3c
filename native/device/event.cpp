#include "event.h"

#include "core/recorder.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/library.h>

#include <chrono>

namespace genie {
namespace {

// Recorded like any op, so it reads the clock in the order of the work around it.
at::Tensor timestamp(c10::Device device) {
  auto time = at::empty({}, at::TensorOptions().dtype(at::kLong).device(device));
  if (device.is_meta()) return time;
  if (device.is_cuda()) at::detail::getCUDAHooks().deviceSynchronize(device.index());
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return time.fill_(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace

void record_event(DeviceEvent& event, int device, bool timing) {
  event.device = device;
  event.time.reset();
  if (!timing) return;
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("genie::timestamp", "");
  torch::jit::Stack stack{c10::Device(c10::kPrivateUse1, static_cast<c10::DeviceIndex>(device))};
  record(op, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), &stack);
  event.time = stack.at(0).toTensor();
}

void await_event(const DeviceEvent& event) { host().synchronize(event.device); }

double elapsed_ms(const DeviceEvent& from, const DeviceEvent& to) {
  TORCH_CHECK(from.time.defined() && to.time.defined(),
              "Both events must be recorded, with enable_timing=True, before the time between them is asked for.");
  TORCH_CHECK(from.device == to.device, "events of remote_accelerator:", from.device, " and remote_accelerator:",
              to.device, " have no common clock");
  return static_cast<double>(to.time.item<int64_t>() - from.time.item<int64_t>()) * 1e-6;
}

}  // namespace genie

TORCH_LIBRARY_FRAGMENT(genie, m) { m.def("timestamp(Device device) -> Tensor", TORCH_FN(genie::timestamp)); }
