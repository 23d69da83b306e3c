// The device as PyTorch sees it: guard, hooks, allocator, profiler.
#pragma once

namespace genie {

void register_device();

// Has anybody asked how many devices there are, as autograd does to start a thread for each?
bool autograd_may_run();

}  // namespace genie
