// A value: one storage, or one generator, that lives on an executor and is named by this process.
#pragma once

#include "compat.h"
#include "lock.h"

#include <ATen/ATen.h>
#include <c10/core/Storage.h>

#include <atomic>
#include <cstdint>

namespace genie {

// Autograd starts a thread for each index that the guard reports, once and for all at the first
// backward: it is told of all that may come, so that a device can be connected later.
constexpr int kMaxDevices = 16;

// Owned by the DataPtr of the client's StorageImpl (or by a generator). When its owner goes, it
// moves to its device's drop list and is deleted once the free has been put into a message.
struct Value {
  uint64_t id = 0;
  uint32_t epoch = 0;  // the trace in which `slot` is valid
  uint32_t slot = 0;
  int16_t device = 0;
  bool generator = false;
  bool materialized = false;  // the executor has it, or an op in the open trace makes it
  bool dead = false;
  bool uploaded = false;  // its bytes came from the host
  bool inner = false;     // belongs to a region that was recorded: means nothing outside of it
  size_t nbytes = 0;     // as allocated; the StorageImpl holds the current size
  uint64_t address = 0;  // 0 once it is gone
  c10::Storage shadow;   // the same bytes on the host, when they derive from host-known constants only
  Value* next = nullptr;
};

// What the live storages of a device hold, in bytes; and counts since the process began.
struct MemoryUse {
  int64_t allocated = 0, peak = 0, total = 0, freed = 0, allocations = 0, frees = 0;
};
MemoryUse memory_use(int device);
void reset_peak(int device);
// The storage of `value` is `nbytes` long from now on.
void resize_value(Value& value, size_t nbytes);

// Values whose owner has gone, until the trace that may name them is encoded: the next ones are made of
// them.
class GoneValues {
 public:
  GoneValues() = default;
  ~GoneValues();
  GoneValues(const GoneValues&) = delete;
  GoneValues& operator=(const GoneValues&) = delete;
  void add(Value* value) noexcept {
    value->next = first_;
    first_ = value;
  }

 private:
  Value* first_ = nullptr;
};

// A fork of a process that has used the device has neither its threads nor its connections: from then
// on every use throws.
void refuse_after_fork();
bool is_forked();
void check_fork();

// Lock-free list of values whose owner has gone; any thread may drop, the flush takes them all.
class DropList {
 public:
  void push(Value* value) noexcept;
  Value* take() noexcept { return head_.exchange(nullptr, std::memory_order_acquire); }
  bool empty() const noexcept { return head_.load(std::memory_order_relaxed) == nullptr; }

 private:
  std::atomic<Value*> head_{nullptr};
};

// A value of `nbytes` on `device`, not yet materialized, as the data pointer of a StorageImpl. The
// address is unique among live storages and is never dereferenced.
at::DataPtr make_value_ptr(size_t nbytes, int device);
c10::Storage make_storage(size_t nbytes, int device);
at::DataPtr make_generator_ptr(int device);
// The first of `count` consecutive ids that nothing else will get.
uint64_t reserve_ids(int device, uint64_t count);

Value* value_of(const c10::Storage& storage);
inline Value* value_of(const c10::TensorImpl& impl) { return value_of(impl.storage()); }

// The device of an address made by make_value_ptr.
int device_of_address(const void* address);

c10::Allocator* allocator();
DropList& drop_list(int device);

}  // namespace genie
