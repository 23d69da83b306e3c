#include "value.h"

#include "device.h"

#include <array>
#include <memory>
#include <mutex>
#include <vector>

namespace genie {
namespace {

// Addresses carry a marker bit, the device and a bump offset: non-canonical on every supported
// machine, so a stray dereference faults instead of reading somebody's memory.
constexpr uint64_t kMarker = 1ULL << 60;
constexpr int kDeviceShift = 52;
constexpr uint64_t kAlignment = 512;

std::array<std::atomic<uint64_t>, kMaxDevices> next_offset{};
std::array<std::atomic<uint64_t>, kMaxDevices> next_id{};
std::array<DropList, kMaxDevices> drop_lists{};

// Values come and go with every op: those that were freed are used again.
class ValuePool {
 public:
  static ValuePool& instance() {
    static auto* pool = new ValuePool();
    return *pool;
  }
  Value* get() {
    const std::lock_guard<SpinLock> lock(lock_);
    if (free_ == nullptr) grow();
    Value* value = free_;
    free_ = value->next;
    *value = Value();
    return value;
  }
  // Slow: for the rare storage that PyTorch makes from a bare address.
  Value* find(uint64_t address) {
    const std::lock_guard<SpinLock> lock(lock_);
    for (const auto& slab : slabs_) {
      for (size_t i = 0; i < kSlab; ++i) {
        if (slab[i].address == address) return &slab[i];
      }
    }
    return nullptr;
  }
  void put(Value* value) {
    value->shadow = {};
    value->address = 0;
    const std::lock_guard<SpinLock> lock(lock_);
    value->next = free_;
    free_ = value;
  }

 private:
  static constexpr size_t kSlab = 256;
  void grow() {
    slabs_.push_back(std::make_unique<Value[]>(kSlab));
    for (size_t i = 0; i < kSlab; ++i) {
      slabs_.back()[i].next = free_;
      free_ = &slabs_.back()[i];
    }
  }
  SpinLock lock_;
  std::vector<std::unique_ptr<Value[]>> slabs_;
  Value* free_ = nullptr;
};

void drop(void* context) noexcept {
  auto* value = static_cast<Value*>(context);
  drop_list(value->device).push(value);
}

at::DataPtr make_ptr(Value* value) {
  const uint64_t span = (value->nbytes / kAlignment + 1) * kAlignment;
  const uint64_t offset = next_offset[value->device].fetch_add(span, std::memory_order_relaxed);
  const uint64_t address = kMarker | (uint64_t(value->device) << kDeviceShift) | (offset + kAlignment);
  value->address = address;
  return {reinterpret_cast<void*>(address), value, &drop, c10::Device(c10::kPrivateUse1, value->device)};
}

Value* make_value(size_t nbytes, int device) {
  std::unique_ptr<Value, ValueDeleter> value(ValuePool::instance().get());
  value->id = reserve_ids(device, 1);
  value->device = static_cast<int16_t>(device);
  value->nbytes = nbytes;
  return value.release();  // owned by the DataPtr from here on
}

class RemoteAllocator final : public c10::Allocator {
 public:
  at::DataPtr allocate(size_t nbytes) GENIE_ALLOCATE_CONST override {
    return make_value_ptr(nbytes, current_device());
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
#if GENIE_HAS_COPY_DATA
  void copy_data(void*, const void*, std::size_t) const override {
    TORCH_CHECK_NOT_IMPLEMENTED(false, "remote_accelerator memory has no address in this process");
  }
#endif
};

}  // namespace

void DropList::push(Value* value) noexcept {
  value->next = head_.load(std::memory_order_relaxed);
  while (!head_.compare_exchange_weak(value->next, value, std::memory_order_release,
                                      std::memory_order_relaxed)) {
  }
}

at::DataPtr make_value_ptr(size_t nbytes, int device) { return make_ptr(make_value(nbytes, device)); }

at::DataPtr make_generator_ptr(int device) {
  Value* value = make_value(0, device);
  value->generator = true;
  return make_ptr(value);
}

c10::Storage make_storage(size_t nbytes, int device) {
  return c10::Storage(c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), nbytes,
                                                            make_value_ptr(nbytes, device), allocator(), true));
}

Value* value_of(const c10::Storage& storage) {
  if (auto* value = static_cast<Value*>(storage.data_ptr().get_context())) return value;
  auto* value = ValuePool::instance().find(reinterpret_cast<uint64_t>(storage.data()));
  TORCH_CHECK(value != nullptr, "this storage has no memory on remote_accelerator");
  return value;
}

int device_of_address(const void* address) {
  const auto bits = reinterpret_cast<uint64_t>(address);
  TORCH_CHECK((bits & kMarker) != 0, "this address does not belong to remote_accelerator");
  return static_cast<int>((bits >> kDeviceShift) & 0xff);
}

c10::Allocator* allocator() {
  static RemoteAllocator instance;
  return &instance;
}

void ValueDeleter::operator()(Value* value) const noexcept { ValuePool::instance().put(value); }

uint64_t reserve_ids(int device, uint64_t count) {
  return next_id[device].fetch_add(count, std::memory_order_relaxed) + 1;
}

DropList& drop_list(int device) { return drop_lists[device]; }

}  // namespace genie
