// The device as PyTorch sees it: its index, guard, hooks and generators.
#pragma once

#include "value.h"

namespace genie {

int current_device();
void set_current_device(int index);

Value* default_generator_value(int device);
Value* generator_value(const at::Generator& generator);

// Throws for an index that no executor backs.
void check_device(int index);

void register_device();

// Has anybody asked how many devices there are, as autograd does to start a thread for each?
bool autograd_may_run();

}  // namespace genie
