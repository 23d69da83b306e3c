#include "value.h"

#include <algorithm>
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

std::array<DropList, kMaxDevices> drop_lists{};
std::array<std::atomic<int64_t>, kMaxDevices> freed_bytes{};
std::atomic<bool> forked{false};

// Values come and go with every op: those that were freed are used again.
class ValuePool {
 public:
  static ValuePool& instance() {
    static auto* pool = new ValuePool();
    return *pool;
  }
  Value* get(size_t nbytes, int device) {
    const uint64_t span = (nbytes / kAlignment + 1) * kAlignment;
    const std::lock_guard<SpinLock> lock(lock_);
    if (free_ == nullptr) grow();
    Value* value = free_;
    free_ = value->next;
    *value = Value();
    value->id = ++last_id_[device];
    value->device = static_cast<int16_t>(device);
    value->nbytes = nbytes;
    value->address = kMarker | (uint64_t(device) << kDeviceShift) | (last_offset_[device] + kAlignment);
    last_offset_[device] += span;
    ++uses_[device].allocations;
    add(nbytes, device);
    return value;
  }
  uint64_t reserve_ids(int device, uint64_t count) {
    const std::lock_guard<SpinLock> lock(lock_);
    const uint64_t first = last_id_[device] + 1;
    last_id_[device] += count;
    return first;
  }
  void resize(Value& value, size_t nbytes) {
    const std::lock_guard<SpinLock> lock(lock_);
    freed_bytes[value.device].fetch_add(static_cast<int64_t>(value.nbytes), std::memory_order_relaxed);
    add(nbytes, value.device);
    value.nbytes = nbytes;
  }
  MemoryUse use(int device) {
    const std::lock_guard<SpinLock> lock(lock_);
    auto use = uses_.at(device);
    use.freed = freed_bytes[device].load(std::memory_order_relaxed);
    use.allocated = use.total - use.freed;
    return use;
  }
  void reset_peak(int device) {
    const std::lock_guard<SpinLock> lock(lock_);
    uses_.at(device).peak = 0;
    add(0, device);
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
  void put(Value* values) {
    for (Value* value = values; value != nullptr; value = value->next) {
      value->shadow = {};
      value->address = 0;
    }
    const std::lock_guard<SpinLock> lock(lock_);
    while (values != nullptr) {
      Value* next = values->next;
      ++uses_[values->device].frees;
      values->next = free_;
      free_ = values;
      values = next;
    }
  }

 private:
  static constexpr size_t kSlab = 256;
  void add(size_t nbytes, int device) {
    auto& use = uses_[device];
    use.total += static_cast<int64_t>(nbytes);
    use.peak = std::max(use.peak, use.total - freed_bytes[device].load(std::memory_order_relaxed));
  }
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
  std::array<MemoryUse, kMaxDevices> uses_{};
  std::array<uint64_t, kMaxDevices> last_id_{}, last_offset_{};
};

void drop(void* context) noexcept {
  auto* value = static_cast<Value*>(context);
  freed_bytes[value->device].fetch_add(static_cast<int64_t>(value->nbytes), std::memory_order_relaxed);
  drop_list(value->device).push(value);
}

// Owned by the DataPtr.
at::DataPtr make_ptr(size_t nbytes, int device, bool generator) {
  check_fork();
  Value* value = ValuePool::instance().get(nbytes, device);
  value->generator = generator;
  return {reinterpret_cast<void*>(value->address), value, &drop, c10::Device(c10::kPrivateUse1, value->device)};
}

}  // namespace

void refuse_after_fork() { forked.store(true, std::memory_order_relaxed); }
bool is_forked() { return forked.load(std::memory_order_relaxed); }
void check_fork() {
  TORCH_CHECK(!is_forked(),
              "remote_accelerator cannot be used in a fork of a process that has used it: the connections and threads "
              "stayed behind. Start processes by 'spawn' (torch.multiprocessing.set_start_method(\"spawn\")), or use the "
              "device after the fork only.");
}

MemoryUse memory_use(int device) { return ValuePool::instance().use(device); }
void reset_peak(int device) { ValuePool::instance().reset_peak(device); }
void resize_value(Value& value, size_t nbytes) { ValuePool::instance().resize(value, nbytes); }

void DropList::push(Value* value) noexcept {
  value->next = head_.load(std::memory_order_relaxed);
  while (!head_.compare_exchange_weak(value->next, value, std::memory_order_release,
                                      std::memory_order_relaxed)) {
  }
}

at::DataPtr make_value_ptr(size_t nbytes, int device) { return make_ptr(nbytes, device, false); }

at::DataPtr make_generator_ptr(int device) { return make_ptr(0, device, true); }

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

GoneValues::~GoneValues() { ValuePool::instance().put(first_); }

uint64_t reserve_ids(int device, uint64_t count) { return ValuePool::instance().reserve_ids(device, count); }

DropList& drop_list(int device) { return drop_lists[device]; }

}  // namespace genie
