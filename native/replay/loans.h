// What a run borrows from the process, and gives back: the default generator's state, the modes.
#pragma once

#include "replay.h"

#include <algorithm>
#include <mutex>
#include <shared_mutex>

namespace genie {

// Random ops without a generator argument draw from the process's default generator: lend it the
// session's state meanwhile.
class GeneratorLoan {
 public:
  explicit GeneratorLoan(at::Generator& generator)
      : lock_(mutex()), generator_(generator), shared_(at::globalContext().defaultGenerator(generator.device())) {
    saved_ = state(shared_);
    set(shared_, state(generator_));
  }
  ~GeneratorLoan() {
    set(generator_, state(shared_));
    set(shared_, saved_);
  }

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }
  static at::Tensor state(at::Generator& generator) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    return generator.get_state();
  }
  static void set(at::Generator& generator, const at::Tensor& state) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(state);
  }
  std::lock_guard<std::mutex> lock_;
  at::Generator& generator_;
  at::Generator shared_;
  at::Tensor saved_;
};

// The process's modes are those of the program's ops while it runs. Runs that need no change go side
// by side; one that does runs alone.
class ModesLoan {
 public:
  explicit ModesLoan(const ReplayProgram& program) {
    mutex().lock_shared();
    saved_ = current_modes();
    alone_ = std::any_of(program.modes.begin(), program.modes.end(), [&](uint64_t modes) { return modes != saved_; });
    if (!alone_) return;
    mutex().unlock_shared();
    mutex().lock();
    saved_ = current_modes();
  }
  ~ModesLoan() {
    if (alone_) {
      set_modes(saved_);
      mutex().unlock();
    } else {
      mutex().unlock_shared();
    }
  }
  ModesLoan(const ModesLoan&) = delete;
  ModesLoan& operator=(const ModesLoan&) = delete;
  void use(uint64_t modes) const {
    if (alone_ && modes != current_modes()) set_modes(modes);
  }

 private:
  static std::shared_mutex& mutex() {
    static std::shared_mutex instance;
    return instance;
  }
  uint64_t saved_ = kDefaultModes;
  bool alone_ = false;
};

}  // namespace genie
