// genie_core._native: thin glue between the core and Python.
#include "client.h"
#include "executor.h"

PYBIND11_MODULE(_native, m) {
  m.doc() = "Genie's native core: the device, the recorder and the replay.";
  genie::bind_client(m);
  genie::bind_executor(m);
  m.def("build_info", [] {
    pybind11::dict info;
    info["torch"] = GENIE_TORCH_STRING;
    info["compiler"] = __VERSION__;
    info["cxx"] = static_cast<long>(__cplusplus);
    info["abi"] = _GLIBCXX_USE_CXX11_ABI;
    return info;
  });
}
