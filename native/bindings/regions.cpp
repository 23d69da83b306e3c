#include "regions.h"

#include "regions/control.h"

namespace py = pybind11;

namespace genie {
namespace {

// An int, a str, a tensor (its whole value), (number, name) of a region, or a list of such.
ControlArg parse(const py::handle& item) {
  ControlArg arg;
  if (py::isinstance<py::int_>(item)) {
    arg.number = item.cast<int64_t>();
  } else if (py::isinstance<py::str>(item)) {
    arg.kind = ControlArg::Text;
    arg.text = item.cast<std::string>();
  } else if (py::isinstance<py::tuple>(item)) {
    const auto region = item.cast<std::pair<int64_t, std::string>>();
    arg.kind = ControlArg::Region;
    arg.number = region.first;
    arg.text = region.second;
  } else if (py::isinstance<py::list>(item)) {
    arg.kind = ControlArg::List;
    for (const auto& inner : item.cast<py::list>()) arg.items.push_back(parse(inner));
  } else {
    arg.kind = ControlArg::Whole;
    arg.tensor = item.cast<at::Tensor>();
  }
  return arg;
}

std::vector<ControlArg> parse_all(const py::list& items) {
  std::vector<ControlArg> args;
  for (const auto& item : items) args.push_back(parse(item));
  return args;
}

PseudoOp op_of(const std::string& name) {
  for (const auto op : {kCond, kWhileLoop, kRepeat}) {
    if (name == pseudo_name(op)) return op;
  }
  throw py::value_error("no control flow: " + name);
}

}  // namespace

void bind_regions(py::module_& m) {
  m.def("begin_control", &begin_control, py::call_guard<py::gil_scoped_release>());
  m.def("make_placeholder", &make_placeholder);
  m.def("hoist", &hoist, py::call_guard<py::gil_scoped_release>());
  m.def("end_region", &end_region, py::call_guard<py::gil_scoped_release>());
  m.def("record_control", [](int device, const std::string& op, const py::list& args, const std::vector<at::Tensor>& outputs) {
    const auto parsed = parse_all(args);
    const py::gil_scoped_release release;
    record_control(device, op_of(op), parsed, outputs);
  });
  m.def("ask_control", [](int device, const std::string& op, const py::list& args) {
    const auto parsed = parse_all(args);
    const py::gil_scoped_release release;
    return ask_control(device, op_of(op), parsed);
  });
  m.def("abandon_control", &abandon_control, py::call_guard<py::gil_scoped_release>());
  m.def("in_region", &in_region);
}

}  // namespace genie
