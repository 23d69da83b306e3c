#include "unboxed.h"

#include "core/recorder.h"

#include <ATen/core/boxing/impl/boxing.h>
#include <ATen/core/op_registration/infer_schema.h>
#include <ATen/ops/gelu_ops.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace genie {
namespace {

template <typename Result, typename First, typename Second>
Second second_of(Result (*)(First, Second));

// A string's C++ type in ops: c10's own view up to 2.5 or so, then the standard one.
using Text = decltype(second_of(static_cast<at::_ops::gelu::schema*>(nullptr)));

template <typename T>
const T& plain(const T& value) {
  return value;
}
inline std::string_view plain(const Text& text) { return {text.data(), text.size()}; }

template <typename Result>
struct Take {
  static Result from(Results& flat) { return std::move(flat[0]); }
};

template <typename... Each>
struct Take<std::tuple<Each...>> {
  static std::tuple<Each...> from(Results& flat) { return each(flat, std::index_sequence_for<Each...>()); }
  template <size_t... index>
  static std::tuple<Each...> each(Results& flat, std::index_sequence<index...>) {
    return {std::move(flat[index])...};
  }
};

template <typename First, typename... Rest>
First first_of(First first, Rest&&...) {
  return first;
}

template <typename Function>
class Unboxed;

template <typename Result, typename... Args>
class Unboxed<Result(Args...)> final : public c10::OperatorKernel {
 public:
  explicit Unboxed(OpInfo& info) : info_(info) {}

  Result operator()(Args... args) {
    constexpr bool kInPlace = std::is_lvalue_reference_v<Result>;
    auto& call = scratch();
    call.begin(info_);
    size_t arg = 0;
    (call.add(info_, arg++, plain(args)), ...);
    call.end(info_);
    Results flat;
    if (!record_known(call, !kInPlace, flat)) return boxed(std::forward<Args>(args)...);
    if constexpr (kInPlace) {
      return first_of<Args...>(std::forward<Args>(args)...);
    } else {
      return Take<Result>::from(flat);
    }
  }

 private:
  Result boxed(Args... args) {
    static const auto recorder = c10::BoxedKernel::makeFromFunction<&record>();
    return c10::impl::BoxedKernelWrapper<Result(Args...)>::call(
        recorder, info_.op, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), std::forward<Args>(args)...);
  }

  OpInfo& info_;
};

// A size may be symbolic in a schema; the dispatcher hands a kernel of plain integers its value.
std::string type_name(const c10::Argument& argument) {
  auto name = argument.real_type()->str();
  for (auto at = name.find("SymInt"); at != std::string::npos; at = name.find("SymInt")) name.replace(at, 6, "int");
  return name;
}

bool same_types(const std::vector<c10::Argument>& left, const std::vector<c10::Argument>& right) {
  const auto same = [](const auto& a, const auto& b) { return type_name(a) == type_name(b); };
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), same);
}

bool is_written(const c10::Argument& argument) {
  return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
}

// Writes to nothing, or to its first argument, which it returns.
bool writes_as(const c10::FunctionSchema& schema, bool in_place) {
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    if (is_written(schema.arguments()[i]) != (in_place && i == 0)) return false;
  }
  return true;
}

template <typename Function>
bool fits(const c10::OperatorHandle& op) {
  using Result = typename c10::guts::infer_function_traits_t<Function>::return_type;
  static const auto inferred = c10::inferFunctionSchemaFlattenedReturns<Function>();
  const auto& schema = op.schema();
  if (!same_types(inferred.arguments(), schema.arguments()) || !same_types(inferred.returns(), schema.returns())) return false;
  if (!writes_as(schema, std::is_lvalue_reference_v<Result>)) return false;
  try {
    static_cast<void>(op.typed<Function>());  // two C++ types may have one name in a schema
    return true;
  } catch (const c10::Error&) {
    return false;
  }
}

template <typename Function>
bool tie(const c10::OperatorHandle& op, OpInfo& info) {
  if (!fits<Function>(op)) return false;
  static auto* handles = new std::vector<c10::RegistrationHandleRAII>();
  handles->push_back(c10::Dispatcher::singleton().registerImpl(
      op.operator_name(), c10::DispatchKey::PrivateUse1,
      c10::KernelFunction::makeFromUnboxedFunctor<false, Unboxed<Function>>(std::make_unique<Unboxed<Function>>(info)),
      c10::impl::CppSignature::make<Function>(), nullptr, "unboxed recorder"));
  return true;
}

template <typename... Functions>
bool tie_first(const c10::OperatorHandle& op, OpInfo& info) {
  return (tie<Functions>(op, info) || ...);
}

using R = at::Tensor;
using R2 = std::tuple<R, R>;
using R3 = std::tuple<R, R, R>;
using W = at::Tensor&;
using T = const at::Tensor&;
using OT = const Optional<at::Tensor>&;
using TL = const at::ITensorListRef&;
using S = const at::Scalar&;
using L = at::IntArrayRef;
using OL = at::OptionalIntArrayRef;
using I = int64_t;
using B = bool;
using D = at::ScalarType;
using OD = Optional<at::ScalarType>;
using OM = Optional<at::MemoryFormat>;
}  // namespace

bool register_unboxed(const c10::OperatorHandle& op) {
  auto& info = op_info(op);
  if (info.uploads_indices || info.bumps_versions) return false;
  return tie_first<
      // elementwise, products, comparisons, reductions of all
      R(T), R(T, T), R(T, T, T), R(T, S), R(T, S, S), R(T, T, S), R(T, T, S, S), R(T, T, T, S), R(T, T, T, S, S), R(T, OD),
      R(T, Text), R(T, T, Text), R(T, OM),
      // the same in place
      W(W), W(W, T), W(W, S), W(W, T, T), W(W, T, S), W(W, T, T, S), W(W, T, T, S, S),
      // along dimensions
      R(T, OL, B, OD), R(T, L, B), R(T, I, B), R(T, Optional<I>, B), R2(T, I, B), R(T, T, I, D), R(T, I, OD), R(TL, I),
      // layers
      R3(T, L, OT, OT, double), R(T, T, I, B, B), R(T, T, I, I, B), R(T, T, OT, L, L, L, B, L, I),
      R3(T, OT, OT, OT, OT, B, double, double), R2(T, L, L, L, L, B), R2(T, T, OT, I, I), R(T, T, T, OT, I, I, T)>(op, info);
}

}  // namespace genie
