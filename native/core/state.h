// What the client's side of a device knows, and the lock that guards all of it.
#pragma once

#include "recorder.h"

#include "program/run_log.h"
#include "regions/control.h"

#include <ATen/record_function.h>

#include <array>

namespace genie {

struct DeviceState {
  Trace trace;
  ProgramTable programs;
  Counters counters;
  RunLog log;
};

inline SignatureCache& signatures() {
  static auto* cache = new SignatureCache();
  return *cache;
}

inline DeviceState& state(int device) {
  static auto* all = new std::array<DeviceState, kMaxDevices>();
  return all->at(device);
}

class CoreLock {
 public:
  CoreLock() {
    if (!mutex().try_lock()) host().lock(mutex());
  }
  ~CoreLock() { mutex().unlock(); }
  CoreLock(const CoreLock&) = delete;
  CoreLock& operator=(const CoreLock&) = delete;

 private:
  static CoreMutex& mutex() {
    static CoreMutex instance;
    return instance;
  }
};

// The lock, once no other thread waits for the outputs of the open trace's last op, behind which nothing
// may be recorded, or has the trace for itself. The wait is short; a trace is sealed before its reply is awaited.
class TraceLock {
 public:
  explicit TraceLock(int device) {
    check_fork();
    lock_.emplace();
    while (is_taken(state(device).trace)) {
      lock_.reset();
      host().pause();
      lock_.emplace();
    }
  }
  void release() { lock_.reset(); }

 private:
  static bool is_taken(const Trace& trace) {
    const bool of_another = trace.owner != 0 && trace.owner != at::RecordFunction::currentThreadId();
    return trace.tail || of_another || !may_record(trace);
  }
  Optional<CoreLock> lock_;
};

}  // namespace genie
