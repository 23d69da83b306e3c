// What an executor holds for one session: values by id, with the failure that spoilt them, if any.
#pragma once

#include "slack.h"

#include <ATen/core/Generator.h>

#include <memory>
#include <string>
#include <unordered_map>

namespace genie {

// An op that failed; every value that would have depended on it carries it.
struct Failure {
  std::string kind;  // the Python exception that eager would raise
  std::string message;
  std::string op;
  int64_t program = -1;
  int64_t index = -1;
};
using FailurePtr = std::shared_ptr<const Failure>;

class ReplayError : public std::runtime_error {
 public:
  explicit ReplayError(FailurePtr failure) : std::runtime_error(failure->message), failure_(std::move(failure)) {}
  const Failure& failure() const { return *failure_; }

 private:
  FailurePtr failure_;
};

// All of a storage.
at::Tensor bytes_of(const c10::Storage& storage);

struct StoredValue {
  c10::Storage storage;
  at::Generator generator;
  FailurePtr failure;
  Optional<Slack> slack;  // its elements are further apart than its geometry says

  // Puts the elements where the geometry says. A storage of its own: others may go on with the old one.
  void pack();
};

class ValueStore {
 public:
  explicit ValueStore(c10::Device device) : device_(device) {}

  c10::Device device() const { return device_; }
  void put(uint64_t id, const void* data, size_t nbytes);
  // A contiguous CPU copy of the view. Throws ReplayError if the value is spoilt.
  at::Tensor read(uint64_t id, const Geometry& view) const;
  void erase(uint64_t id) { values_.erase(id); }
  void set(uint64_t id, StoredValue value) { values_[id] = std::move(value); }
  StoredValue* find(uint64_t id);
  void synchronize() const;

  c10::Storage allocate(size_t nbytes) const;
  at::Generator make_generator(uint64_t seed) const;

  size_t size() const { return values_.size(); }
  size_t nbytes() const;

 private:
  c10::Device device_;
  std::unordered_map<uint64_t, StoredValue> values_;
};

}  // namespace genie
