#include "device.h"

#include "recorder.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/GeneratorForPrivateuseone.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <array>
#include <atomic>
#include <mutex>

namespace genie {
namespace {

thread_local int current = 0;
std::atomic<bool> counted{false};

constexpr auto kType = c10::DeviceType::PrivateUse1;

int count_devices() noexcept {
  try {
    return has_host() ? host().device_count() : 0;
  } catch (...) {
    return 0;
  }
}

// Work is ordered per device and there is one stream, so events have nothing to wait for.
class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const auto previous = getDevice();
    setDevice(device);
    return previous;
  }
  c10::Device getDevice() const override { return {kType, static_cast<c10::DeviceIndex>(current)}; }
  void setDevice(c10::Device device) const override {
    if (device.has_index()) current = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.has_index()) current = device.index();
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
  void synchronizeEvent(void*) const override {}
  double elapsedTime(void*, void*, const c10::DeviceIndex) const override { return 0.0; }
#endif
#if GENIE_GUARD_SYNC_DEVICE
  void synchronizeDevice(const c10::DeviceIndex index) const override { host().synchronize(index); }
#endif
  c10::DeviceIndex deviceCount() const noexcept override {
    counted.store(true, std::memory_order_relaxed);
    return kMaxDevices;
  }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream& stream) const override { host().synchronize(stream.device_index()); }
};

// The client's half of a generator: its state lives on the executor, as a value that random ops write.
class RemoteGenerator final : public c10::GeneratorImpl {
 public:
  explicit RemoteGenerator(int device)
      : GeneratorImpl(c10::Device(kType, static_cast<c10::DeviceIndex>(device)),
                      c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
        pointer_(make_generator_ptr(device)) {}

  Value* value() const { return static_cast<Value*>(pointer_.get_context()); }
  void set_current_seed(uint64_t seed) override {
    seed_ = seed;
    record_seed(value(), seed);
  }
  uint64_t current_seed() const override { return seed_; }
  uint64_t seed() override {
    set_current_seed(c10::detail::getNonDeterministicRandom());
    return seed_;
  }
  void set_offset(uint64_t) override { TORCH_CHECK_NOT_IMPLEMENTED(false, "this generator has no offset"); }
  uint64_t get_offset() const override { TORCH_CHECK_NOT_IMPLEMENTED(false, "this generator has no offset"); }
  void set_state(const c10::TensorImpl& state) override {
    const at::Tensor tensor(c10::intrusive_ptr<c10::TensorImpl>::reclaim_copy(const_cast<c10::TensorImpl*>(&state)));
    record_set_state(value(), tensor.to(device()).contiguous());
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    check_device(device().index());
    return record_get_state(value()).cpu().getIntrusivePtr();
  }

 private:
  RemoteGenerator* clone_impl() const override {
    auto* copy = new RemoteGenerator(device().index());
    copy->seed_ = seed_;
    copy->set_state(*get_state());
    return copy;
  }

  at::DataPtr pointer_;
  uint64_t seed_ = c10::default_rng_seed_val;
};

const at::Generator& default_generator(int device) {
  static auto* all = new std::array<at::Generator, kMaxDevices>();
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  auto& generator = (*all)[device < 0 ? current : device];
  if (!generator.defined()) generator = at::make_generator<RemoteGenerator>(device < 0 ? current : device);
  return generator;
}

at::Generator new_generator(c10::DeviceIndex device) {
  return at::make_generator<RemoteGenerator>(device < 0 ? current : device);
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
  c10::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(c10::kCPU); }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t nbytes) const override {
    resize_storage(storage, nbytes);
  }
#endif
#if GENIE_HOOKS_DEVICE
  c10::DeviceIndex deviceCount() const override { return static_cast<c10::DeviceIndex>(count_devices()); }
  c10::DeviceIndex getCurrentDevice() const override { return static_cast<c10::DeviceIndex>(current); }
  void setCurrentDevice(c10::DeviceIndex device) const override { set_current_device(device); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override {
    const auto previous = static_cast<c10::DeviceIndex>(current);
    set_current_device(device);
    return previous;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override {
    return device < 0 ? static_cast<c10::DeviceIndex>(current) : exchangeDevice(device);
  }
#endif
#if GENIE_HOOKS_PINNED
  bool isPinnedPtr(const void*) const override { return false; }
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

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

#if !GENIE_HOOKS_BUILT
REGISTER_GENERATOR_PRIVATEUSE1(new_generator)
#endif

}  // namespace

int current_device() { return current; }

bool autograd_may_run() { return counted.load(std::memory_order_relaxed); }

void set_current_device(int index) {
  check_device(index);
  current = index;
}

void check_device(int index) {
  const int count = host().device_count();
  TORCH_CHECK(index >= 0 && index < count, "remote_accelerator:", index, " does not exist: there ",
              count == 1 ? "is 1 device" : "are " + std::to_string(count) + " devices",
              ". Name more executors in GENIE_DEVICES or with genie_core.connect(url).");
}

Value* default_generator_value(int device) { return generator_value(default_generator(device)); }

Value* generator_value(const at::Generator& generator) {
  TORCH_CHECK(generator.device().is_privateuseone(), "Expected a '", c10::Device(kType), "' device type for generator but found '",
              generator.device(), "'");
  return static_cast<RemoteGenerator*>(generator.unsafeGetGeneratorImpl())->value();
}

void register_device() {
  at::RegisterPrivateUse1HooksInterface(new Hooks());
  c10::SetAllocator(c10::kPrivateUse1, allocator());
}

}  // namespace genie
