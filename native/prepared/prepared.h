// A program that is run again without recording its ops: its inputs are bound to other values.
#pragma once

#include "core/state.h"

#include <memory>
#include <utility>
#include <vector>

namespace genie {

using Tensors = std::vector<at::Tensor>;

// A device's trace that one thread has for itself: others wait before they record.
class Reservation {
 public:
  // Null while ops of others wait to be sent.
  static std::unique_ptr<Reservation> of(int device);
  ~Reservation() { release(); }
  void release();
  int device() const { return device_; }
  // Is the trace whole, and was nothing read that its ops may depend on?
  bool is_whole() const;

 private:
  explicit Reservation(int device);
  int device_;
  uint32_t epoch_;
  uint64_t host_reads_;
  bool held_ = true;
};

// Where the values of a run go, in a program whose ends are free.
struct Form {
  struct Input {
    size_t first = 0;  // of the inputs on the same storage
    int64_t slot = -1;  // -1: the program does not read it
    Geometry geometry;
  };
  struct Made {
    uint32_t slot = 0;
    size_t nbytes = 0;
  };
  struct Output {
    enum Kind : uint8_t { Itself, OnInput, OnMade };
    Kind kind = Itself;
    size_t index = 0;  // of the input, or in `made`
    Geometry geometry;
  };
  std::vector<Input> inputs;
  std::vector<Made> made;
  std::vector<Output> outputs;
  std::vector<size_t> written;  // inputs
  std::vector<int64_t> symbols;
};

class Prepared {
 public:
  // The open trace, which makes `outputs` of `inputs` and writes to those inputs that `written` counts.
  // Null where it depends on anything else, such as other values.
  static std::unique_ptr<Prepared> of_trace(const Reservation& trace, const Tensors& inputs, const Tensors& outputs,
                                            std::vector<size_t> written);
  // A program that came from elsewhere, under a number of its own. Throws ValueError for a form that does
  // not fit.
  Prepared(int device, std::shared_ptr<Program> program, Form form);
  ~Prepared();

  // Takes the program that the trace became.
  void take(const Sealed& sealed);
  // Do the inputs lie as the first ones did, those on one storage that shared one?
  bool fits(const Tensors& inputs) const;
  // A run on inputs that fit, to be sent after what was recorded before; and its outputs.
  std::pair<Sealed, Tensors> run(const Tensors& inputs);

  const Form& form() const { return form_; }
  const Program& program() const { return *program_; }

 private:
  explicit Prepared(int device) : device_(device) {}
  void describe_inputs(const Tensors& inputs, const Trace& trace);
  bool describe_output(const at::Tensor& output, const Tensors& inputs, const Trace& trace);
  bool knows_all(const Trace& trace) const;
  void check_form() const;
  Trace bind(const Tensors& inputs, const std::vector<c10::Storage>& storages, Value& nobody) const;
  Sealed seal(const Tensors& inputs, const std::vector<c10::Storage>& storages);

  int device_;
  std::shared_ptr<Program> program_;
  Form form_;
};

// With no lock held: has the trace make the memory that is not made yet, and the generator. Was there any?
bool materialize_all(const Tensors& tensors, int device);

}  // namespace genie
