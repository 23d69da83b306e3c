// Page-locked host memory in name: nothing here needs it, but user code asks for it and checks.
#pragma once

#include <c10/core/Allocator.h>

namespace genie {

c10::Allocator* pinned_allocator();
bool is_pinned(const void* address);

}  // namespace genie
