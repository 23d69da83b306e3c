// The far side: a session's values and programs.
#pragma once

#include <torch/csrc/utils/pybind.h>

namespace genie {
void bind_executor(pybind11::module_& m);
}
