// The client's side: the host that the recorder calls, and what the dispatcher needs of a trace.
#pragma once

#include <torch/csrc/utils/pybind.h>

namespace genie {
void bind_client(pybind11::module_& m);
}
