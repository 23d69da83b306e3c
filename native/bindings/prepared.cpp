#include "prepared.h"

#include "prepared/prepared.h"

#include <torch/csrc/utils/pybind.h>

namespace py = pybind11;

namespace genie {
namespace {

py::tuple tell(const Geometry& g) {
  return py::make_tuple(static_cast<int>(g.dtype), static_cast<int>(g.flags), g.offset,
                        std::vector<int64_t>(g.size.begin(), g.size.end()),
                        std::vector<int64_t>(g.stride.begin(), g.stride.end()));
}

Geometry parse_geometry(const py::handle& item) {
  const auto fields = item.cast<py::sequence>();
  Geometry g;
  const auto dtype = fields[0].cast<int>();
  if (!is_dtype(dtype)) throw py::value_error("unknown dtype");
  g.dtype = static_cast<at::ScalarType>(dtype);
  g.flags = fields[1].cast<uint8_t>();
  g.offset = fields[2].cast<int64_t>();
  g.size = fields[3].cast<std::vector<int64_t>>();
  g.stride = fields[4].cast<std::vector<int64_t>>();
  if (g.size.size() != g.stride.size()) throw py::value_error("sizes without strides");
  return g;
}

// (made here, kept, bound), inputs, made, outputs, written, symbols
py::tuple tell_form(const Prepared& prepared) {
  const auto& form = prepared.form();
  const auto& program = prepared.program();
  py::list inputs, made, outputs;
  for (const auto& one : form.inputs) inputs.append(py::make_tuple(one.first, one.slot, tell(one.geometry)));
  for (const auto& one : form.made) made.append(py::make_tuple(one.slot, one.nbytes));
  for (const auto& one : form.outputs) outputs.append(py::make_tuple(static_cast<int>(one.kind), one.index, tell(one.geometry)));
  const std::vector<bool> made_here(program.made_here.begin(), program.made_here.end());
  const std::vector<bool> kept(program.kept.begin(), program.kept.end());
  return py::make_tuple(py::make_tuple(made_here, kept, program.bound), inputs, made, outputs, form.written, form.symbols);
}

Form parse_form(const py::sequence& told) {
  Form form;
  for (const auto& item : told[1].cast<py::sequence>()) {
    const auto fields = item.cast<py::sequence>();
    form.inputs.push_back({fields[0].cast<size_t>(), fields[1].cast<int64_t>(), parse_geometry(fields[2])});
  }
  form.made.clear();
  for (const auto& item : told[2].cast<py::sequence>()) {
    const auto fields = item.cast<py::sequence>();
    form.made.push_back({fields[0].cast<uint32_t>(), fields[1].cast<size_t>()});
  }
  for (const auto& item : told[3].cast<py::sequence>()) {
    const auto fields = item.cast<py::sequence>();
    form.outputs.push_back({static_cast<Form::Output::Kind>(fields[0].cast<uint8_t>()), fields[1].cast<size_t>(),
                            parse_geometry(fields[2])});
  }
  form.written = told[4].cast<std::vector<size_t>>();
  form.symbols = told[5].cast<std::vector<int64_t>>();
  return form;
}

std::unique_ptr<Prepared> load(int device, const py::sequence& told) {
  const auto slots = told[0].cast<py::sequence>();
  auto program = std::make_shared<Program>();
  for (const bool made : slots[0].cast<std::vector<bool>>()) program->made_here.push_back(made);
  for (const bool kept : slots[1].cast<std::vector<bool>>()) program->kept.push_back(kept);
  program->bound = slots[2].cast<std::vector<uint32_t>>();
  auto form = parse_form(told);
  program->symbols = static_cast<uint32_t>(form.symbols.size());
  return std::make_unique<Prepared>(device, std::move(program), std::move(form));
}

}  // namespace

void bind_prepared(py::module_& m) {
  py::class_<Reservation>(m, "Reservation").def("release", &Reservation::release);
  py::class_<Prepared>(m, "Prepared")
      .def("take", &Prepared::take)
      .def("fits", &Prepared::fits)
      .def("run", &Prepared::run)
      .def("form", &tell_form)
      .def_property_readonly("program", [](const Prepared& prepared) { return prepared.program().id; });
  m.def("reserve_trace", &Reservation::of);
  m.def("prepare", &Prepared::of_trace);
  m.def("load_prepared", &load);
  m.def("materialize", &materialize_all);
}

}  // namespace genie
