// genie_core._native: thin glue between the core and Python.
#include "client.h"
#include "executor.h"
#include "prepared.h"
#include "regions.h"

#include "core/compat.h"

PYBIND11_MODULE(_native, m) {
  m.doc() = "Genie's native core: the device, the recorder and the replay.";
  genie::bind_client(m);
  genie::bind_executor(m);
  genie::bind_prepared(m);
  genie::bind_regions(m);
  m.def("build_info", [] {
    pybind11::dict info;
    info["torch"] = GENIE_TORCH_STRING;
    info["compiler"] = __VERSION__;
    info["cxx"] = static_cast<long>(__cplusplus);
    info["autocast"] = GENIE_AUTOCAST != 0;
    info["abi"] = _GLIBCXX_USE_CXX11_ABI;
    return info;
  });
}
