#include "client.h"

#include "core/device.h"
#include "core/mark.h"
#include "core/modes.h"
#include "core/recorder.h"
#include "device/attach.h"
#include "kernels/meta.h"
#include "kernels/ops.h"
#include "leave.h"
#include "untraced.h"

#include <torch/csrc/DynamicTypes.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/Dtype.h>
#include <torch/csrc/jit/python/pybind_utils.h>

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <thread>

namespace py = pybind11;

namespace genie {
namespace {

std::atomic<int> device_count{0};
std::array<std::atomic<int>, kMaxDevices> executor_types{};

// A Python error that may cross threads that do not hold the GIL.
[[noreturn]] void rethrow(py::error_already_set& error) {
  error.restore();
  python_error persistent;
  persistent.persist();
  throw persistent;
}

template <typename Body>
auto with_python(Body&& body) {
  const py::gil_scoped_acquire gil;
  const Untraced untraced;
  try {
    return body();
  } catch (py::error_already_set& error) {
    rethrow(error);
  }
}

struct Specs {
  std::unique_ptr<Signature> signature;
};

// A call at its signature's first sight, as the genie_infer_outputs hook sees it.
struct OpCall {
  OpInfo* info;
  torch::jit::Stack arguments;
  int device;

  std::string name() const { return info->name; }

  // The op's own meta kernel; None when it has none or refuses, for then the executor knows best.
  py::object infer_meta() const {
    auto specs = std::make_shared<Specs>();
    {
      const py::gil_scoped_release release;
      try {
        specs->signature = infer_with_meta(*info, arguments);
      } catch (const std::exception&) {
        // Not implemented, data-dependent, or the user's mistake: all are told apart over there.
      }
    }
    PyErr_Clear();  // a meta kernel in Python leaves its error behind in 2.1
    return specs->signature ? py::cast(specs) : py::none();
  }

  // Have the executor say what the outputs look like, and believe it for this signature from then on.
  static std::shared_ptr<Specs> ask_once() {
    return std::make_shared<Specs>(Specs{genie::ask_once()});
  }

  // (args, kwargs) as the op takes them, the user's own tensors.
  py::tuple python_arguments() const { return split(*info, arguments); }

  static py::tuple split(const OpInfo& info, const torch::jit::Stack& stack) {
    const auto& schema = info.op.schema();
    py::list args;
    py::dict kwargs;
    for (size_t i = 0; i < schema.arguments().size(); ++i) {
      auto value = torch::jit::toPyObject(stack[i]);
      if (schema.arguments()[i].kwarg_only()) {
        kwargs[py::str(schema.arguments()[i].name())] = value;
      } else {
        args.append(value);
      }
    }
    return py::make_tuple(py::tuple(args), kwargs);
  }
};

// Output specs that a Python plugin gave: (dtype, size, stride, offset, alias) each.
std::unique_ptr<Signature> from_python(const OpInfo& info, const py::sequence& specs) {
  auto signature = std::make_unique<Signature>();
  for (const auto& item : specs) {
    OutputSpec spec;
    const int alias = item.attr("alias").cast<int>();
    if (alias >= 0) {
      spec.kind = OutputSpec::Alias;
      spec.operand = alias;
    }
    spec.geometry.dtype = reinterpret_cast<THPDtype*>(item.attr("dtype").ptr())->scalar_type;
    spec.geometry.size = item.attr("size").cast<std::vector<int64_t>>();
    spec.geometry.stride = item.attr("stride").cast<std::vector<int64_t>>();
    spec.geometry.offset = item.attr("offset").cast<int64_t>();
    spec.nbytes = extent_of(spec.geometry);
    signature->outputs.push_back(spec);
  }
  const auto& returns = info.op.schema().returns();
  if (returns.size() == 1 && returns[0].type()->kind() == c10::TypeKind::ListType) {
    signature->returns.push_back(static_cast<int>(signature->outputs.size()));
  } else {
    TORCH_CHECK(returns.size() == signature->outputs.size(), info.name, ": ", returns.size(), " outputs expected, ",
                signature->outputs.size(), " inferred");
    signature->returns.assign(returns.size(), -1);
  }
  return signature;
}

class PythonHost final : public Host {
 public:
  explicit PythonHost(py::object dispatcher) : dispatcher_(std::move(dispatcher)) {}

  std::unique_ptr<Signature> infer(OpInfo& info, const torch::jit::Stack& call, int device) override {
    return with_python([&] {
      const auto answer = dispatcher_.attr("infer")(std::make_shared<OpCall>(OpCall{&info, call, device}), device);
      if (py::isinstance<Specs>(answer)) return std::move(answer.cast<std::shared_ptr<Specs>>()->signature);
      if (!answer.is_none() && !py::isinstance<py::bool_>(answer)) return from_python(info, answer);
      auto signature = std::make_unique<Signature>();
      signature->kind = answer.is_none() ? Signature::AskExecutor : Signature::Fallback;
      return signature;
    });
  }

  std::string flush(int device, FlushReason reason) override {
    return with_python([&] {
      const auto reply = dispatcher_.attr("flush")(device, static_cast<int>(reason));
      return reply.is_none() ? std::string() : reply.cast<std::string>();
    });
  }

  void read(int device, uint64_t id, const Geometry& view, void* target, size_t nbytes) override {
    with_python([&] {
      dispatcher_.attr("read")(device, id, static_cast<int>(view.dtype),
                               std::vector<int64_t>(view.size.begin(), view.size.end()),
                               std::vector<int64_t>(view.stride.begin(), view.stride.end()), view.offset, view.flags,
                               py::memoryview::from_memory(target, static_cast<py::ssize_t>(nbytes)));
    });
  }

  void put(int device, uint64_t id, const void* data, size_t nbytes) override {
    with_python([&] {
      dispatcher_.attr("put")(device, id, py::memoryview::from_memory(data, static_cast<py::ssize_t>(nbytes)));
    });
  }

  void synchronize(int device) override {
    with_python([&] { dispatcher_.attr("synchronize")(device); });
  }

  std::pair<size_t, size_t> memory_info(int device) override {
    return with_python([&] { return dispatcher_.attr("memory_info")(device).cast<std::pair<size_t, size_t>>(); });
  }

  void release_memory() override {
    with_python([&] { dispatcher_.attr("release_memory")(); });
  }

  void fallback(OpInfo& info, torch::jit::Stack* stack, int device) override {
    with_python([&] {
      const size_t first = stack->size() - info.args.size();
      const torch::jit::Stack arguments(stack->begin() + static_cast<std::ptrdiff_t>(first), stack->end());
      const auto call = OpCall::split(info, arguments);
      const auto result = dispatcher_.attr("fallback")(info.name, call[0], call[1], device);
      torch::jit::drop(*stack, info.args.size());
      const auto& returns = info.op.schema().returns();
      if (returns.size() == 1) {
        stack->push_back(torch::jit::toIValue(result, returns[0].type()));
      } else if (returns.size() > 1) {
        const auto items = result.cast<py::sequence>();
        for (size_t i = 0; i < returns.size(); ++i) stack->push_back(torch::jit::toIValue(items[i], returns[i].type()));
      }
    });
  }

  uint32_t origin() override {
    return with_python([&] { return dispatcher_.attr("origin")().cast<uint32_t>(); });
  }

  int device_count() override { return genie::device_count.load(std::memory_order_relaxed); }

  c10::DeviceType executor_type(int device) override {
    return static_cast<c10::DeviceType>(executor_types[device].load(std::memory_order_relaxed));
  }

  void lock(CoreMutex& mutex) override {
    if (Py_IsInitialized() && PyGILState_Check()) {
      const py::gil_scoped_release release;
      mutex.lock();
    } else {
      mutex.lock();
    }
  }

  void pause() override {
    const auto moment = std::chrono::microseconds(20);
    if (PyGILState_Check()) {
      const py::gil_scoped_release release;
      std::this_thread::sleep_for(moment);
    } else {
      std::this_thread::sleep_for(moment);
    }
  }

 private:
  py::object dispatcher_;
};

// ---- a program, told to Python ---------------------------------------------------------------

// Reads a program's ops back from their streams. Numbers that were lifted become (symbol, value).
class ProgramReader {
 public:
  explicit ProgramReader(const Sealed& sealed) : program_(*sealed.program), forward_(sealed.forward) {}

  py::list ops() {
    py::list result;
    for (op_ = 0; op_ < program_.signatures.size(); ++op_) result.append(read_op());
    return result;
  }

 private:
  py::tuple read_op() {
    const auto& signature = *program_.signatures[op_];
    structure_ = signature.structure.data();
    literal_ = program_.op_literal[op_];
    value_ = program_.op_literal[op_] + static_cast<uint32_t>(signature.literals.size());
    slot_ = program_.op_slot[op_];
    const uint64_t head = *structure_++;
    const uint64_t modes = signature.op != nullptr ? *structure_++ : kDefaultModes;
    const auto* end = signature.structure.data() + signature.structure.size();
    py::list args;
    while (structure_ < end) args.append(read_arg());
    py::list outputs;
    for (const auto& spec : signature.outputs) outputs.append(read_output(spec));
    const auto origin = op_ < program_.origins.size() ? program_.origins[op_] : 0;
    return py::make_tuple(signature.op != nullptr ? signature.op->name : pseudo_name(head), args, outputs, origin, modes, mark());
  }

  // (context, in a backward?, program and index of the forward op or None)
  py::tuple mark() {
    const auto& mark = program_.marks[op_];
    const auto forward = op_ < forward_.size() ? forward_[op_] : OpRef();
    const auto link = forward.program < 0 ? py::object(py::none()) : py::make_tuple(forward.program, forward.index);
    return py::make_tuple(mark.context, mark.evaluates != 0, link);
  }

  py::object number(uint32_t position) {
    const py::int_ value(program_.literals[position]);
    if (program_.symbol[position] < 0) return value;
    return py::make_tuple(program_.symbol[position], value);
  }

  py::list geometry(size_t rank) {
    py::list numbers;
    for (size_t i = 0; i < 2 * rank + 1; ++i) numbers.append(number(literal_++));
    return numbers;
  }

  py::object read_double(uint32_t position) {
    if (program_.symbol[position] >= 0) return py::make_tuple(6, program_.symbol[position]);
    double value = 0;
    std::memcpy(&value, &program_.literals[position], sizeof value);
    return py::make_tuple(5, value);
  }

  py::object read_int(uint32_t position) {
    if (program_.symbol[position] >= 0) return py::make_tuple(4, program_.symbol[position], program_.literals[position]);
    return py::make_tuple(3, program_.literals[position]);
  }

  py::object read_arg() {
    const uint64_t item = *structure_++;
    const uint64_t payload = item >> 8;
    switch (static_cast<Tag>(item & 0xff)) {
      case Tag::None:
        return py::make_tuple(0);
      case Tag::Tensor:
        return py::make_tuple(1, program_.slots[slot_++], payload & 0xff, payload >> 16 & 0xff, geometry(payload >> 8 & 0xff));
      case Tag::Generator:
        return py::make_tuple(2, program_.slots[slot_++]);
      case Tag::ImplicitGenerator:
        return py::make_tuple(13, program_.slots[slot_++]);
      case Tag::Int:
        return read_int(literal_++);
      case Tag::IntValue:
        return read_int(value_++);
      case Tag::Double:
        return read_double(value_++);
      case Tag::DoubleLiteral:
        return read_double(literal_++);
      case Tag::Bool:
        return py::make_tuple(7, payload != 0);
      case Tag::Enum:
        return py::make_tuple(3, static_cast<int64_t>(payload), true);
      case Tag::String:
        return py::make_tuple(8, read_string(payload));
      case Tag::IntList: {
        py::list items;
        for (uint64_t i = 0; i < payload; ++i) items.append(read_int(literal_++));
        return py::make_tuple(9, items);
      }
      case Tag::List: {
        py::list items;
        for (uint64_t i = 0; i < payload; ++i) items.append(read_arg());
        return py::make_tuple(9, items);
      }
      case Tag::Device:
        return py::make_tuple(10);
      case Tag::ScalarTensor: {
        const auto dtype = static_cast<at::ScalarType>(payload & 0xff);
        py::list words;
        words.append(read_int(value_++));
        words.append(c10::elementSize(dtype) > 8 ? read_int(value_++) : py::object(py::make_tuple(3, 0)));
        return py::make_tuple(11, words, payload & 0xff, (payload >> 16 & kWrapped) != 0);
      }
      case Tag::Complex: {
        py::list parts;
        parts.append(read_arg());
        parts.append(read_arg());
        return py::make_tuple(12, parts);
      }
    }
    throw std::logic_error("unknown tag");
  }

  std::string read_string(size_t length) {
    std::string text;
    for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
      const uint64_t bytes = *structure_++;
      text.append(reinterpret_cast<const char*>(&bytes), std::min(sizeof bytes, length - i));
    }
    return text;
  }

  py::tuple read_output(const OutputSpec& spec) {
    if (spec.kind == OutputSpec::Alias) return py::make_tuple(1, spec.operand);
    if (spec.kind == OutputSpec::Undefined) return py::make_tuple(2);
    const auto& g = spec.geometry;
    return py::make_tuple(0, program_.slots[slot_++], static_cast<int>(g.dtype), static_cast<int>(g.flags),
                          geometry(g.size.size()));
  }

  const Program& program_;
  const std::vector<OpRef>& forward_;
  size_t op_ = 0;
  const uint64_t* structure_ = nullptr;
  uint32_t literal_ = 0, value_ = 0, slot_ = 0;
};

py::list kept_slots(const Program& program) {
  py::list result;
  for (uint32_t slot = 0; slot < program.kept.size(); ++slot) {
    if (program.kept[slot]) result.append(slot);
  }
  return result;
}

// Of a program's first sight, (slot, id, uploaded?) of each value that it binds.
py::list bound_values(const Sealed& sealed) {
  py::list result;
  for (size_t i = 0; i < sealed.values.size(); ++i) {
    result.append(py::make_tuple(sealed.program->bound[i], sealed.values[i].id, sealed.values[i].uploaded));
  }
  return result;
}

// ---- the device, for Python ------------------------------------------------------------------

int count_devices() { return device_count.load(); }

void register_with_torch() {
  register_device();
#if GENIE_COUNTS_BY_GUARD
  // The guard counts all devices that there may be, for autograd starts a thread for each once and for all.
  py::module_::import("torch._C").attr("_accelerator_deviceCount") = py::cpp_function(&count_devices);
#endif
}

Optional<Sealed> seal_released(int device, bool waits, bool asks) {
  const py::gil_scoped_release release;
  return seal(device, waits, asks);
}

py::dict counters_dict(int device) {
  const auto c = counters(device);
  py::dict result;
  result["ops"] = c.ops;
  result["signature_hits"] = c.signature_hits;
  result["signature_misses"] = c.signature_misses;
  result["programs_built"] = c.programs_built;
  result["program_hits"] = c.program_hits;
  result["host_reads"] = c.host_reads;
  return result;
}

}  // namespace

void bind_client(py::module_& m) {
  py::class_<Specs, std::shared_ptr<Specs>>(m, "Specs");
  py::class_<OpCall, std::shared_ptr<OpCall>>(m, "OpCall")
      .def_property_readonly("name", &OpCall::name)
      .def_readonly("device", &OpCall::device)
      .def("infer_meta", &OpCall::infer_meta)
      .def("ask_once", [](const OpCall&) { return OpCall::ask_once(); })
      .def("arguments", &OpCall::python_arguments);
  py::class_<Sealed>(m, "Sealed")
      .def_property_readonly("program", [](const Sealed& s) { return s.program ? s.program->id : 0; })
      .def_readonly("is_new", &Sealed::is_new)
      .def_readonly("ops", &Sealed::ops)
      .def_readonly("tail", &Sealed::tail)
      .def_readonly("freed", &Sealed::freed)
      .def_readonly("forgotten", &Sealed::forgotten)
      .def_property_readonly("payload", [](const Sealed& s) { return py::bytes(s.payload); })
      .def_property_readonly("slots", [](const Sealed& s) { return s.program->kept.size(); })
      .def_property_readonly("symbols", [](const Sealed& s) { return s.program->symbols; })
      .def_property_readonly("bound", [](const Sealed& s) { return s.program->bound; })
      .def_property_readonly("values", &bound_values)
      .def_property_readonly("kept", [](const Sealed& s) { return kept_slots(*s.program); })
      .def("export_ops", [](const Sealed& s) { return ProgramReader(s).ops(); });

  m.def("register_device", &register_with_torch, "Registers the device with PyTorch; once per process.");
  m.def("register_ops", &register_ops, "Ties PyTorch's operators to the device; at its first use.");
  m.def("settle_autograd",
        [](int64_t milliseconds) {
          const py::gil_scoped_release release;  // threads that start need it
          settle_autograd(std::chrono::milliseconds(milliseconds));
        });
  m.def("keep_ended_threads", &keep_ended_threads);
  m.def("set_host", [](py::object dispatcher) {
    auto host = std::make_unique<PythonHost>(std::move(dispatcher));
    const py::gil_scoped_release release;
    set_host(std::move(host));
  });
  m.def("set_device_count", [](int count) {
    if (count > kMaxDevices) throw py::value_error("at most " + std::to_string(kMaxDevices) + " devices in one process");
    device_count = count;
  });
  m.def("set_executor_type", [](int device, const std::string& type) {
    executor_types.at(device) = static_cast<int>(c10::Device(type).type());
  });
  m.def("device_count", &count_devices);
  m.def("check_device", &check_device, "Raises for an index that is not there.");
  m.def("current_device", &current_device);
  m.def("set_current_device", &set_current_device);
  m.def("exchange_device", [](int index) {
    const int previous = current_device();
    if (index >= 0) set_current_device(index);
    return previous;
  });
  m.def("refuse_after_fork", &refuse_after_fork);
  m.def("is_forked", &is_forked);
  m.def("exchange_context", &exchange_context);
  m.def("memory_use", [](int device) {
    const auto use = memory_use(device);
    return std::map<std::string, int64_t>{{"allocated", use.allocated},     {"peak", use.peak},   {"total", use.total},
                                          {"freed", use.freed}, {"allocations", use.allocations}, {"frees", use.frees}};
  });
  m.def("reset_peak", &reset_peak);
  m.def("seal", &seal_released);
  m.def("collect_freed", &collect_freed);
  m.def("forget_program", &forget_program);
  m.def("cut_program", &cut_program);
  m.def("limit_programs", &limit_programs);
  m.def("counters", &counters_dict);
  m.def("boxed_ops", [](int device) { return counters(device).boxed; });
  m.def("reset_counters", &reset_counters);
  m.def("value_id", [](const at::Tensor& tensor) -> uint64_t {
    if (!tensor.device().is_privateuseone() || !tensor.has_storage()) return 0;
    return value_of(*tensor.unsafeGetTensorImpl())->id;
  });
  m.def("dtype_of", [](int code) {
    if (!is_dtype(code)) throw py::value_error("no such dtype");
    return py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(torch::getTHPDtype(static_cast<at::ScalarType>(code))));
  });
  m.def("dtype_code", [](const py::handle& dtype) {
    if (!THPDtype_Check(dtype.ptr())) throw py::type_error("a torch.dtype is needed");
    return static_cast<int>(reinterpret_cast<THPDtype*>(dtype.ptr())->scalar_type);
  });
  m.def("default_generator", [](int device) { return at::globalContext().defaultGenerator(c10::Device(c10::kPrivateUse1, static_cast<c10::DeviceIndex>(device))); });
}

}  // namespace genie
