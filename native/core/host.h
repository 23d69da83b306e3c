// What the core asks of the layer above it, on first sights and at flushes. Implemented by the
// bindings, which take the GIL; the core never holds its lock while it calls any of these.
#pragma once

#include "program/trace.h"

#include <memory>
#include <string>
#include <utility>

namespace genie {

enum class FlushReason { Read, Sync, Size, UnknownShape };

class Host {
 public:
  virtual ~Host() = default;
  // First sight of a signature: its outputs, or that the executor must be asked, or run elsewhere.
  virtual std::unique_ptr<Signature> infer(OpInfo& info, const torch::jit::Stack& call, int device) = 0;
  // Sends what was recorded; for an unknown shape, returns the encoded outputs of the last op.
  virtual std::string flush(int device, FlushReason reason) = 0;
  // Reads a view of a value into `target`, contiguous.
  virtual void read(int device, uint64_t id, const Geometry& view, void* target, size_t nbytes) = 0;
  // Sends bytes as value `id`; may keep no reference to `data`.
  virtual void put(int device, uint64_t id, const void* data, size_t nbytes) = 0;
  virtual void synchronize(int device) = 0;
  // Free and total bytes of the executor's device.
  virtual std::pair<size_t, size_t> memory_info(int device) = 0;
  // Has every connected executor give back memory that nothing uses.
  virtual void release_memory() = 0;
  // Runs an op that the executor lacks, some other way; replaces the arguments on the stack.
  virtual void fallback(OpInfo& info, torch::jit::Stack* stack, int device) = 0;
  // The user's code that is recording now, as an id.
  virtual uint32_t origin() = 0;
  virtual int device_count() = 0;
  // The executor's device type: composite ops whose CPU form differs are recorded in that form.
  virtual c10::DeviceType executor_type(int device) = 0;
  // Waits for the core's lock without holding the GIL.
  virtual void lock(CoreMutex& mutex) = 0;
  // Sleeps a moment without holding the GIL.
  virtual void pause() = 0;
};

Host& host();
bool has_host();
void set_host(std::unique_ptr<Host> host);

}  // namespace genie
