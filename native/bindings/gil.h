// Python's lock, let go of for a while.
#pragma once

#include <Python.h>

#include <cxxabi.h>
#include <unistd.h>

namespace genie {

// For a thread that Python ends by unwinding its stack, as it does up to 3.13 with one that asks for the
// lock while the interpreter finalizes. Destructors on its way would end the process in std::terminate.
[[noreturn]] inline void stay() {
  for (;;) ::pause();
}

// As pybind11's gil_scoped_release, but the thread stays once there is no interpreter to return to.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() {
    try {
      PyEval_RestoreThread(state_);
    } catch (const abi::__forced_unwind&) {
      stay();
    }
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace genie
