// The core's locks: free of contention they cost one exchange and one store.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace genie {

// For sections of some nanoseconds.
class SpinLock {
 public:
  bool try_lock() noexcept { return !held_.exchange(true, std::memory_order_acquire); }
  void lock() noexcept {
    while (!try_lock()) std::this_thread::yield();
  }
  void unlock() noexcept { held_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> held_{false};
};

// For sections of an op, or of a flush; a thread that waits for long sleeps meanwhile.
class CoreMutex {
 public:
  bool try_lock() noexcept { return lock_.try_lock(); }
  void lock() noexcept {
    constexpr int kYields = 64;
    for (int tries = 0; !try_lock(); ++tries) {
      if (tries < kYields) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(20));
      }
    }
  }
  void unlock() noexcept { lock_.unlock(); }

 private:
  SpinLock lock_;
};

}  // namespace genie
