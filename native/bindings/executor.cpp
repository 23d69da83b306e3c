#include "executor.h"

#include "replay/rewrite.h"

#include <limits>
#include <memory>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace py = pybind11;

namespace genie {
namespace {

struct HostBytes {
  at::Tensor tensor;  // contiguous, on the CPU
};

TensorRef parse_tensor(const py::handle& item) {
  const auto fields = item.cast<py::sequence>();
  TensorRef ref;
  ref.slot = fields[0].cast<uint32_t>();
  ref.geometry.dtype = static_cast<at::ScalarType>(fields[1].cast<int8_t>());
  ref.geometry.flags = fields[2].cast<uint8_t>();
  const auto numbers = fields[3].cast<std::vector<int64_t>>();
  if (numbers.size() % 2 != 1) throw py::value_error("a tensor needs an offset, sizes and strides");
  const size_t rank = numbers.size() / 2;
  ref.geometry.offset = numbers[0];
  ref.geometry.size.append(numbers.begin() + 1, numbers.begin() + 1 + static_cast<std::ptrdiff_t>(rank));
  ref.geometry.stride.append(numbers.begin() + 1 + static_cast<std::ptrdiff_t>(rank), numbers.end());
  ref.symbols = fields[4].cast<std::vector<std::pair<uint32_t, uint32_t>>>();
  return ref;
}

ReplayArg parse_arg(const py::handle& item, int depth = 0) {
  if (depth > 3) throw py::value_error("arguments are nested too deeply");
  const auto fields = item.cast<py::sequence>();
  const auto kind = fields[0].cast<int>();
  if (kind < 0 || kind > ReplayArg::ImplicitGenerator) throw py::value_error("unknown kind of argument");
  ReplayArg arg;
  arg.kind = static_cast<ReplayArg::Kind>(kind);
  switch (arg.kind) {
    case ReplayArg::Tensor:
    case ReplayArg::Generator:
    case ReplayArg::ImplicitGenerator:
    case ReplayArg::IntSymbol:
    case ReplayArg::DoubleSymbol:
      arg.index = fields[1].cast<uint32_t>();
      break;
    case ReplayArg::Int:
      arg.constant = fields[1].cast<int64_t>();
      break;
    case ReplayArg::Double:
      arg.constant = fields[1].cast<double>();
      break;
    case ReplayArg::Bool:
      arg.constant = fields[1].cast<bool>();
      break;
    case ReplayArg::String:
      arg.constant = fields[1].cast<std::string>();
      break;
    case ReplayArg::ScalarTensor:
      arg.dtype = static_cast<at::ScalarType>(fields[2].cast<int8_t>());
      arg.wrapped = fields[3].cast<bool>();
      [[fallthrough]];
    case ReplayArg::List:
    case ReplayArg::Complex:
      for (const auto& inner : fields[1].cast<py::sequence>()) arg.items.push_back(parse_arg(inner, depth + 1));
      break;
    default:
      break;
  }
  return arg;
}

ReplayOp parse_op(const py::handle& item) {
  const auto fields = item.cast<py::sequence>();
  ReplayOp op;
  op.name = fields[0].cast<std::string>();
  for (const auto& arg : fields[1].cast<py::sequence>()) op.args.push_back(parse_arg(arg));
  for (const auto& entry : fields[2].cast<py::sequence>()) {
    const auto output = entry.cast<py::sequence>();
    ReplayOutput parsed;
    const auto kind = output[0].cast<int>();
    if (kind < 0 || kind > ReplayOutput::Undefined) throw py::value_error("unknown kind of output");
    parsed.kind = static_cast<ReplayOutput::Kind>(kind);
    if (parsed.kind == ReplayOutput::New) {
      parsed.slot = output[1].cast<uint32_t>();
      parsed.tensor = output[2].cast<uint32_t>();
    }
    op.outputs.push_back(parsed);
  }
  if (fields.size() > 3) op.modes = fields[3].cast<uint16_t>();
  if (!is_dtype(static_cast<int>(op.modes & 0xff))) throw py::value_error("unknown dtype");
  return op;
}

constexpr uint32_t kMaxSlots = 1 << 24;

void define(Replayer& replayer, int64_t id, uint32_t slots, uint32_t symbols, std::vector<uint32_t> bound,
            const std::vector<uint32_t>& kept, const py::sequence& tensors, const py::sequence& ops, bool tail, const std::string& name) {
  if (slots > kMaxSlots || symbols > kMaxSlots) throw py::value_error("program too large");
  auto program = std::make_unique<ReplayProgram>();
  program->id = id;
  program->slots = slots;
  program->symbols = symbols;
  program->tail = tail;
  program->bound = std::move(bound);
  program->kept.assign(slots, 0);
  for (const auto slot : kept) {
    if (slot >= slots) throw py::value_error("slot out of range");
    program->kept[slot] = 1;
  }
  for (const auto& item : tensors) program->tensors.push_back(parse_tensor(item));
  for (const auto& item : ops) program->ops.push_back(parse_op(item));
  if (program->tail && program->ops.empty()) throw py::value_error("a tail without ops");
  replayer.define(std::move(program), name);
}

void define_rewrite(Replayer& replayer, int64_t id, uint32_t slots, const py::sequence& tensors, const py::sequence& ops,
                    const std::vector<int64_t>& origins, const std::vector<size_t>& once,
                    std::vector<std::pair<uint32_t, int64_t>> guards, double tolerance) {
  if (slots > kMaxSlots) throw py::value_error("program too large");
  auto rewrite = std::make_unique<Rewrite>();
  rewrite->guards = std::move(guards);
  rewrite->tolerance = tolerance;
  auto& program = rewrite->program;
  program.id = id;
  program.slots = slots;
  for (const auto& item : tensors) program.tensors.push_back(parse_tensor(item));
  for (const auto& item : ops) program.ops.push_back(parse_op(item));
  if (origins.size() != program.ops.size()) throw py::value_error("an origin for each op");
  for (size_t i = 0; i < origins.size(); ++i) program.ops[i].origin = origins[i];
  for (const auto index : once) {
    if (index >= program.ops.size()) throw py::value_error("op out of range");
    program.ops[index].once = true;
  }
  replayer.define_rewrite(std::move(rewrite));
}

// Per rewrite: program, state, why it was refused, error, seconds of the program and of the rewrite.
py::list rewrites(const Replayer& replayer) {
  static const char* states[] = {"unchecked", "accepted", "refused"};
  py::list found;
  for (const auto& [id, program] : replayer.programs()) {
    if (const auto* r = program->rewrite.get()) {
      found.append(py::make_tuple(id, states[r->state], r->reason, r->error, r->seconds_before, r->seconds_after));
    }
  }
  return found;
}

std::vector<std::string> lacking_ops(const std::string& device) {
  const auto key = backend_key(c10::Device(device).type());
  std::vector<std::string> lacking;
  for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (name.name.rfind("aten::", 0) != 0) continue;
    const auto op = c10::Dispatcher::singleton().findSchema(name);
    if (op && !op->hasComputedKernelForDispatchKey(key)) lacking.push_back(c10::toString(name));
  }
  return lacking;
}

bool has_op(const std::string& text, const std::string& device) {
  const auto dot = text.find('.', text.find("::"));
  const auto op = c10::Dispatcher::singleton().findSchema(
      {text.substr(0, dot), dot == std::string::npos ? "" : text.substr(dot + 1)});
  return op && op->hasComputedKernelForDispatchKey(backend_key(c10::Device(device).type()));
}

// An executor frees and allocates the same tensors at every step. By default each of its threads
// has a heap of 64 MiB pieces that go back to the kernel and come again as pages to be cleared.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

void return_freed_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace

void bind_executor(py::module_& m) {
  static py::object replay_error = py::reinterpret_steal<py::object>(
      PyErr_NewExceptionWithDoc("genie_core._native.ReplayError",
                                "An op failed on the executor: args are (kind, message, op, program, index).",
                                PyExc_RuntimeError, nullptr));
  m.attr("ReplayError") = replay_error;
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const ReplayError& error) {
      const auto& f = error.failure();
      PyErr_SetObject(replay_error.ptr(), py::make_tuple(f.kind, f.message, f.op, f.program, f.index).ptr());
    } catch (const c10::ValueError& error) {
      PyErr_SetString(PyExc_ValueError, error.what_without_backtrace());
    } catch (const c10::Error& error) {
      PyErr_SetString(PyExc_RuntimeError, error.what_without_backtrace());
    }
  });

  py::class_<HostBytes>(m, "HostBytes", py::buffer_protocol()).def_buffer([](HostBytes& bytes) {
    return py::buffer_info(static_cast<uint8_t*>(bytes.tensor.data_ptr()), static_cast<py::ssize_t>(bytes.tensor.nbytes()), true);
  });

  py::class_<Replayer>(m, "ValueStore")
      .def(py::init([](const std::string& device) {
             auto parsed = c10::Device(device);
             if (!parsed.is_cpu() && !parsed.has_index()) parsed.set_index(0);
             return std::make_unique<Replayer>(parsed);
           }),
           py::arg("device"))
      .def("define", &define, py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg("name") = "")
      .def("define_rewrite", &define_rewrite)
      .def("forget",
           [](Replayer& replayer, const std::vector<int64_t>& programs) {
             for (const auto id : programs) replayer.forget(id);
           })
      .def("run",
           [](Replayer& replayer, const py::bytes& payload) -> py::object {
             const auto view = static_cast<std::string_view>(payload);
             Optional<std::string> reply;
             {
               const py::gil_scoped_release release;
               reply = replayer.run(view);
             }
             return reply ? py::object(py::bytes(*reply)) : py::none();
           })
      .def("put",
           [](Replayer& replayer, uint64_t id, const py::buffer& data) {
             const auto info = data.request();
             const py::gil_scoped_release release;
             replayer.store().put(id, info.ptr, static_cast<size_t>(info.size * info.itemsize));
           })
      .def("read",
           [](Replayer& replayer, uint64_t id, int dtype, const std::vector<int64_t>& size,
              const std::vector<int64_t>& stride, int64_t offset, uint8_t flags) {
             Geometry view;
             TORCH_CHECK_VALUE(is_dtype(dtype), "unknown dtype");
             view.dtype = static_cast<at::ScalarType>(dtype);
             view.flags = flags;
             view.offset = offset;
             view.size = size;
             view.stride = stride;
             const py::gil_scoped_release release;
             return HostBytes{replayer.store().read(id, view)};
           })
      .def("free",
           [](Replayer& replayer, const std::vector<uint64_t>& ids) {
             for (const auto id : ids) replayer.store().erase(id);
           })
      .def("synchronize", [](Replayer& replayer) { replayer.store().synchronize(); }, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("live_values", [](Replayer& replayer) { return replayer.store().size(); })
      .def_property_readonly("live_bytes", [](Replayer& replayer) { return replayer.store().nbytes(); })
      .def_property_readonly("rewrites", &rewrites)
      .def_property_readonly("restrided", &Replayer::restrided);
  m.def("lacking_ops", &lacking_ops, py::arg("device"));
  m.def("keep_freed_memory", &keep_freed_memory);
  m.def("return_freed_memory", &return_freed_memory, py::call_guard<py::gil_scoped_release>());
  m.def("has_op", &has_op, py::arg("name"), py::arg("device"));
}

}  // namespace genie
