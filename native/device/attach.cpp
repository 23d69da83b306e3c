#include "attach.h"
#include "pinned.h"
#include "profiler.h"

#include "core/device.h"
#include "core/host.h"
#include "core/recorder.h"

#include <ATen/core/GeneratorForPrivateuseone.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>

namespace genie {
namespace {

constexpr auto kType = c10::DeviceType::PrivateUse1;

int count_devices() noexcept {
  try {
    return has_host() ? host().device_count() : 0;
  } catch (...) {
    return 0;
  }
}

class Hooks final : public at::PrivateUse1HooksInterface {
 public:
  const at::Generator& getDefaultGenerator(c10::DeviceIndex device) GENIE_HOOK_CONST override {
    return default_generator(device);
  }
  at::Device getDeviceFromPtr(void* data) const override {
    return {kType, static_cast<c10::DeviceIndex>(device_of_address(data))};
  }
#if GENIE_HOOKS_CONTEXT
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::Allocator* getPinnedMemoryAllocator() const override { return pinned_allocator(); }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t nbytes) const override {
    resize_storage(storage, nbytes);
  }
#endif
#if GENIE_HOOKS_DEVICE
  c10::DeviceIndex deviceCount() const override { return static_cast<c10::DeviceIndex>(count_devices()); }
  c10::DeviceIndex getCurrentDevice() const override { return static_cast<c10::DeviceIndex>(current_device()); }
  void setCurrentDevice(c10::DeviceIndex device) const override { set_current_device(device); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override {
    const auto previous = static_cast<c10::DeviceIndex>(current_device());
    set_current_device(device);
    return previous;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override {
    return device < 0 ? static_cast<c10::DeviceIndex>(current_device()) : exchangeDevice(device);
  }
#endif
#if GENIE_HOOKS_PINNED
  bool isPinnedPtr(const void* address) const override { return is_pinned(address); }
#endif
#if GENIE_HOOKS_INIT
  void init() const override {}
#endif
#if GENIE_HOOKS_BUILT
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return count_devices() > 0; }
  at::Generator getNewGenerator(c10::DeviceIndex device) const override { return new_generator(device); }
#endif
};

#if !GENIE_HOOKS_BUILT
at::Generator make_generator(c10::DeviceIndex device) { return new_generator(device); }
REGISTER_GENERATOR_PRIVATEUSE1(make_generator)
#endif

}  // namespace

void register_device() {
  at::RegisterPrivateUse1HooksInterface(new Hooks());
  c10::SetAllocator(c10::kPrivateUse1, allocator());
  register_profiler();
}

}  // namespace genie
