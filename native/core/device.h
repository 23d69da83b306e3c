// The thread's device, and the generators.
#pragma once

#include "value.h"

namespace genie {

int current_device();
void set_current_device(int index);  // throws for an index that no executor backs
void put_current_device(int index) noexcept;

const at::Generator& default_generator(int device);
at::Generator new_generator(int device);
Value* default_generator_value(int device);
Value* generator_value(const at::Generator& generator);

// Throws for an index that no executor backs.
void check_device(int index);

}  // namespace genie
