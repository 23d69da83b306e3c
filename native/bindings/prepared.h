// Prepared programs, for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace genie {
void bind_prepared(pybind11::module_& m);
}
