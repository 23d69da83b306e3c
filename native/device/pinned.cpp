#include "pinned.h"

#include "core/compat.h"

#include <c10/core/CPUAllocator.h>

#include <cstring>
#include <map>
#include <mutex>

namespace genie {
namespace {

// Start and length of each block that is out.
class Blocks {
 public:
  static Blocks& instance() {
    static auto* blocks = new Blocks();
    return *blocks;
  }
  void add(const void* start, size_t nbytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    blocks_[reinterpret_cast<uintptr_t>(start)] = nbytes;
  }
  void remove(const void* start) {
    const std::lock_guard<std::mutex> lock(mutex_);
    blocks_.erase(reinterpret_cast<uintptr_t>(start));
  }
  bool contains(const void* address) {
    const auto at = reinterpret_cast<uintptr_t>(address);
    const std::lock_guard<std::mutex> lock(mutex_);
    auto after = blocks_.upper_bound(at);
    if (after == blocks_.begin()) return false;
    --after;
    return at == after->first || at - after->first < after->second;
  }

 private:
  std::mutex mutex_;
  std::map<uintptr_t, size_t> blocks_;
};

struct Block {
  at::DataPtr memory;
};

void drop(void* context) {
  const std::unique_ptr<Block> block(static_cast<Block*>(context));
  Blocks::instance().remove(block->memory.get());
}

class PinnedAllocator final : public c10::Allocator {
 public:
  at::DataPtr allocate(size_t nbytes) GENIE_ALLOCATE_CONST override {
    auto block = std::make_unique<Block>(Block{c10::GetCPUAllocator()->allocate(nbytes)});
    void* start = block->memory.get();
    if (start != nullptr) Blocks::instance().add(start, nbytes);
    return {start, block.release(), &drop, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
#if GENIE_HAS_COPY_DATA
  void copy_data(void* to, const void* from, std::size_t count) const override { std::memcpy(to, from, count); }
#endif
};

}  // namespace

c10::Allocator* pinned_allocator() {
  static PinnedAllocator instance;
  return &instance;
}

bool is_pinned(const void* address) { return Blocks::instance().contains(address); }

}  // namespace genie
