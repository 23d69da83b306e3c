// The end of the process, as far as other threads than the one that ends it are concerned.
#pragma once

#include <chrono>

namespace genie {

// Returns once every device thread of autograd waits for work and holds nothing of Python's, or after
// `limit`. A backward returns before its thread lets go of the task, and threads that it started may
// be waiting for the GIL still: either would end in std::terminate once the interpreter finalizes.
void settle_autograd(std::chrono::milliseconds limit);

// From now on a thread stays where it is that Python would end in std::terminate. Up to 3.13 Python ends
// one that asks for the interpreter's lock while it finalizes by unwinding its stack, and every binding,
// PyTorch's among them, asks for it in a destructor, which must not be unwound.
void keep_ended_threads();

}  // namespace genie
