// Steps that are no ops: what makes values, and where in the user's code a trace is.
#pragma once

#include "state.h"

namespace genie {

struct PseudoCall {
  CallWriter writer;
  explicit PseudoCall(PseudoOp op) { writer.structure.push_back(op); }
  PseudoCall& value(Value* operand) {
    writer.structure.push_back(word(Tag::Generator));
    writer.operands.push_back({nullptr, operand, true});
    return *this;
  }
  PseudoCall& literal(int64_t number) {
    writer.structure.push_back(word(Tag::Int));
    writer.literals.push_back(number);
    return *this;
  }
  PseudoCall& number(int64_t bits) {
    writer.structure.push_back(word(Tag::IntValue));
    writer.values.push_back(bits);
    return *this;
  }
};

// With the lock held. `makes_value`: its output is a new value.
Signature* pseudo_signature(const CallWriter& writer, bool makes_value);

// With the lock held: the open trace makes `value`, which the executor has not.
void make_value(Trace& trace, Value* value, const c10::TensorImpl* tensor = nullptr);

inline void append(Trace& trace, Signature* signature, const CallWriter& call, const Mark& mark = {}) {
  for (const auto& operand : call.operands) {
    if (!operand.value->materialized) make_value(trace, operand.value, operand.tensor);
  }
  trace.append(signature, call, mark);
  if (trace.control) note_writes(trace, call);
}

// Records a step that makes nothing.
void record_pseudo(int device, PseudoCall& call);

// What was appended last, and whether no known program begins so.
struct Ground {
  bool is_new = false;
  size_t index = 0;
  uint32_t epoch = 0;
};

// With the lock held, after ops were appended behind the first `before`.
Ground survey(DeviceState& device, size_t before);

// On new ground, asks where in the user's code that is. Called with no lock held.
void note_origin(int device, const Ground& ground);

// Flushes with `call` as the last op and takes its outputs from the reply: with the lock held, then without.
Ground pose_question(Signature* signature, const CallWriter& call);
std::vector<c10::IValue> await_answer(Signature* signature, const CallWriter& call, const Ground& ground);
std::vector<c10::IValue> ask_executor(Signature* signature, const CallWriter& call);  // both

}  // namespace genie
