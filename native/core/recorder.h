// The boxed kernel that catches every op of the device, and the state of each device's trace.
#pragma once

#include "host.h"
#include "output.h"

#include "program/program.h"

namespace genie {

struct Counters {
  uint64_t ops = 0;
  uint64_t signature_hits = 0;
  uint64_t signature_misses = 0;
  uint64_t programs_built = 0;
  uint64_t program_hits = 0;
  uint64_t host_reads = 0;  // reads answered from host-known values
  uint64_t boxed = 0;       // ops that were recorded from a stack
};

// Where a call is written; the calling thread's, until its next op.
CallWriter& scratch();
// Records a call whose outputs are known, without a stack. False, and nothing done, if it has to go the
// long way of `record`. `aliases`: are outputs that are operands wanted, too?
bool record_known(const CallWriter& call, bool aliases, Results& flat);

// Records one op: the fallback of PrivateUse1 and the kernel of most composite ops.
void record(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

// Steps of the core's own.
void resize_storage(const c10::Storage& storage, size_t nbytes);
void record_seed(Value* generator, uint64_t seed);
void record_set_state(Value* generator, const at::Tensor& state);
at::Tensor record_get_state(Value* generator);

// Takes the trace of a device, with the frees since the last flush. Called with no lock held.
// `waits`: the caller is going to wait for the executor. Nothing while the trace ends with a question of
// another thread (`asks`: the question is the caller's): that thread is about to seal it.
Optional<Sealed> seal(int device, bool waits, bool asks);
// Ids of values that were dropped since the last flush, if no trace is open that may name them.
std::vector<uint64_t> collect_freed(int device);

// Undoes the learning of a program that could not be sent.
void forget_program(int device, uint32_t id);
// Has traces that begin like a program end after so many of its ops.
void cut_program(int device, uint32_t id, size_t ops);
// How many programs of a device are remembered, at least 1.
void limit_programs(int device, size_t limit);

// Before a read: makes sure that the executor will know the value.
void materialize(Value* value);
// Declares that `value` is sent as a whole from the host; false if it already exists over there.
bool claim_upload(Value* value);
void set_shadow(Value* value, c10::Storage shadow);
c10::Storage shadow_of(Value* value);

Counters counters(int device);
void reset_counters(int device);
}  // namespace genie
