// The end of the process, as far as autograd is concerned.
#pragma once

#include <chrono>

namespace genie {

// Returns once every device thread of autograd waits for work and holds nothing of Python's, or after
// `limit`. A backward returns before its thread lets go of the task, and threads that it started may
// be waiting for the GIL still: either would end in std::terminate once the interpreter finalizes.
void settle_autograd(std::chrono::milliseconds limit);

}  // namespace genie
