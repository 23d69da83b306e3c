// A point in a device's work, and the executor's clock there.
#pragma once

#include <ATen/ATen.h>

namespace genie {

struct DeviceEvent {
  int device = 0;
  at::Tensor time;  // int64, 0-dim, on the device: nanoseconds of the executor's clock; undefined without timing
};

// Notes that the work of `device` has come this far; nothing is sent.
void record_event(DeviceEvent& event, int device, bool timing);
// Returns when the work before the event is done.
void await_event(const DeviceEvent& event);
// Milliseconds on the executor between two events with timing.
double elapsed_ms(const DeviceEvent& from, const DeviceEvent& to);

}  // namespace genie
