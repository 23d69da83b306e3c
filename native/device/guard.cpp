#include "attach.h"
#include "event.h"

#include "core/device.h"
#include "core/host.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <atomic>
#include <memory>

namespace genie {
namespace {

std::atomic<bool> counted{false};

constexpr auto kType = c10::DeviceType::PrivateUse1;

DeviceEvent* event_of(void* event) { return static_cast<DeviceEvent*>(event); }

// Work is ordered per device and there is one stream.
class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const auto previous = getDevice();
    setDevice(device);
    return previous;
  }
  c10::Device getDevice() const override { return {kType, static_cast<c10::DeviceIndex>(current_device())}; }
  void setDevice(c10::Device device) const override { uncheckedSetDevice(device); }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.has_index()) put_current_device(device.index());
  }
  c10::Stream stream_of(c10::Device device) const noexcept {
    return c10::Stream(c10::Stream::DEFAULT, device.has_index() ? device : getDevice());
  }
  c10::Stream getStream(c10::Device device) const noexcept override { return stream_of(device); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream_of(stream.device()); }
  c10::Stream getDefaultStream(c10::Device device) const override { return stream_of(device); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return stream_of(device); }
#if GENIE_GUARD_NEW_STREAM
  c10::Stream getNewStream(c10::Device device, int) const override { return stream_of(device); }
  void synchronizeEvent(void* event) const override {
    if (event != nullptr) await_event(*event_of(event));
  }
  double elapsedTime(void* from, void* to, const c10::DeviceIndex) const override {
    TORCH_CHECK(from != nullptr && to != nullptr, "Both events must be recorded before calculating elapsed time.");
    return elapsed_ms(*event_of(from), *event_of(to));
  }
#endif
#if GENIE_GUARD_SYNC_DEVICE
  void synchronizeDevice(const c10::DeviceIndex index) const override { host().synchronize(index); }
#endif
#if GENIE_GUARD_CAPABILITY
  c10::DeviceCapability getDeviceCapability(c10::Device) const override { return {}; }  // every dtype
#endif
  c10::DeviceIndex deviceCount() const noexcept override {
    counted.store(true, std::memory_order_relaxed);
    return kMaxDevices;
  }
  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex, const c10::EventFlag flag) const override {
    auto fresh = std::make_unique<DeviceEvent>();
    record_event(*fresh, stream.device_index(), flag == c10::EventFlag::BACKEND_DEFAULT);
    destroyEvent(*event, stream.device_index());
    *event = fresh.release();
  }
  void block(void*, const c10::Stream&) const override {}  // the stream's work comes after the event's already
  bool queryEvent(void* event) const override {  // true only once it is: there is no news without asking
    if (event != nullptr) await_event(*event_of(event));
    return true;
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    const std::unique_ptr<DeviceEvent> gone(event_of(event));
  }
  bool queryStream(const c10::Stream& stream) const override {
    synchronizeStream(stream);
    return true;
  }
  void synchronizeStream(const c10::Stream& stream) const override { host().synchronize(stream.device_index()); }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

}  // namespace

bool autograd_may_run() { return counted.load(std::memory_order_relaxed); }

}  // namespace genie
