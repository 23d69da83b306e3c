#include "profiler.h"

#include "event.h"

#include "core/device.h"
#include "core/host.h"

#include <ATen/record_function.h>
#include <torch/csrc/profiler/stubs/base.h>

#include <chrono>

namespace genie {
namespace {

namespace profiler = torch::profiler::impl;

// An int up to 2.2 or so, since then a c10::DeviceIndex.
template <typename Device>
Device device_of(void (profiler::ProfilerStubs::*)(Device*, profiler::ProfilerVoidEventStub*, int64_t*) const);
using ProfilerDevice = decltype(device_of(&profiler::ProfilerStubs::record));

int64_t now_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// While a profile of this device is taken, each op is put between two readings of the executor's clock.
struct Stubs final : profiler::ProfilerStubs {
  void record(ProfilerDevice* device, profiler::ProfilerVoidEventStub* event, int64_t* cpu_ns) const override {
    const int index = current_device();
    if (device != nullptr) *device = static_cast<ProfilerDevice>(index);
    if (cpu_ns != nullptr) *cpu_ns = now_ns();
    const at::DisableRecordFunctionGuard unseen;  // the readings are no part of what is measured
    auto point = std::make_shared<DeviceEvent>();
    record_event(*point, index, true);
    *event = std::move(point);
  }
  float elapsed(const profiler::ProfilerVoidEventStub* from, const profiler::ProfilerVoidEventStub* to) const override {
    const auto at = [](const auto* event) { return static_cast<const DeviceEvent*>(event->get()); };
    const at::DisableRecordFunctionGuard unseen;
    return static_cast<float>(elapsed_ms(*at(from), *at(to)) * 1e3);  // µs
  }
  void mark(const char*) const override {}
  void rangePush(const char*) const override {}
  void rangePop() const override {}
  bool enabled() const override { return true; }
  void onEachDevice(std::function<void(int)> visit) const override {
    for (int index = 0; index < host().device_count(); ++index) visit(index);
  }
  void synchronize() const override { host().synchronize(current_device()); }
};

}  // namespace

void register_profiler() {
  static Stubs stubs;
  profiler::registerPrivateUse1Methods(&stubs);
}

}  // namespace genie
