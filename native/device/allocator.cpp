#include "core/device.h"
#include "core/host.h"

#if GENIE_DEVICE_ALLOCATOR
#include <c10/core/CachingDeviceAllocator.h>
#endif

namespace genie {
namespace {

#if GENIE_DEVICE_ALLOCATOR
using Base = c10::DeviceAllocator;
#else
using Base = c10::Allocator;
#endif

class RemoteAllocator final : public Base {
 public:
  at::DataPtr allocate(size_t nbytes) GENIE_ALLOCATE_CONST override { return make_value_ptr(nbytes, current_device()); }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
#if GENIE_HAS_COPY_DATA
  void copy_data(void*, const void*, std::size_t) const override {
    TORCH_CHECK_NOT_IMPLEMENTED(false, "remote_accelerator memory has no address in this process");
  }
#endif
#if GENIE_DEVICE_ALLOCATOR
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override { host().release_memory(); }
  void recordStream(const at::DataPtr&, c10::Stream) override {}  // there is one stream
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    const auto use = memory_use(device);
    c10::CachingDeviceAllocator::DeviceStats stats;
    for (auto* bytes : {&stats.allocated_bytes, &stats.reserved_bytes, &stats.active_bytes, &stats.requested_bytes}) {
      set(bytes->at(0), use.allocated, use.peak, use.total, use.freed);
    }
    const auto live = use.allocations - use.frees;
    for (auto* count : {&stats.allocation, &stats.active}) set(count->at(0), live, live, use.allocations, use.frees);
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {
    TORCH_CHECK_NOT_IMPLEMENTED(false, "remote_accelerator counts from the start of the process");
  }
  void resetPeakStats(c10::DeviceIndex device) override { reset_peak(device); }
  // No `override`: the base class has it in later releases only.
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) { return host().memory_info(device); }

 private:
  template <typename Stat>
  static void set(Stat& stat, int64_t current, int64_t peak, int64_t allocated, int64_t freed) {
    stat.current = current;
    stat.peak = peak;
    stat.allocated = allocated;
    stat.freed = freed;
  }
#endif
};

}  // namespace

c10::Allocator* allocator() {
  static RemoteAllocator instance;
  return &instance;
}

}  // namespace genie
