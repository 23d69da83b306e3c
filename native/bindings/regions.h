// Control flow, as the plugin that captures it sees it.
#pragma once

#include <torch/csrc/utils/pybind.h>

namespace genie {
void bind_regions(pybind11::module_& m);
}
