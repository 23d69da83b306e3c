#include "device.h"

#include "recorder.h"

#include <ATen/CPUGeneratorImpl.h>

#include <array>
#include <mutex>

namespace genie {
namespace {

thread_local int current = 0;
constexpr auto kType = c10::DeviceType::PrivateUse1;

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

}  // namespace

const at::Generator& default_generator(int device) {
  static auto* all = new std::array<at::Generator, kMaxDevices>();
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  auto& generator = (*all)[device < 0 ? current : device];
  if (!generator.defined()) generator = at::make_generator<RemoteGenerator>(device < 0 ? current : device);
  return generator;
}

at::Generator new_generator(int device) {
  return at::make_generator<RemoteGenerator>(device < 0 ? current : device);
}

int current_device() { return current; }

void set_current_device(int index) {
  check_device(index);
  current = index;
}

void put_current_device(int index) noexcept { current = index; }

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

}  // namespace genie
