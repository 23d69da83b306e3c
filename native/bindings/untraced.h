// Python, called from native code that Dynamo does not see.
#pragma once

#include <pybind11/pybind11.h>

namespace genie {

// While Python is called from native code: Dynamo, which watches frames that it could not compile as a
// whole, would trace what is called here and compile that.
class Untraced {
 public:
  Untraced() : before_(set_eval_frame()(pybind11::none())) {}
  ~Untraced() { set_eval_frame()(before_); }
  Untraced(const Untraced&) = delete;
  Untraced& operator=(const Untraced&) = delete;

 private:
  static const pybind11::object& set_eval_frame() {
    static const auto* function = new pybind11::object(  // outlives the interpreter
        pybind11::module_::import("torch").attr("_C").attr("_dynamo").attr("eval_frame").attr("set_eval_frame"));
    return *function;
  }
  pybind11::object before_;
};

}  // namespace genie
