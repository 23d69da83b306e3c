// Everything that differs between the supported PyTorch releases (2.1.2 and up), in one place.
// GENIE_TORCH is major * 100 + minor, set by setup.py from the torch that is built against.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/intrusive_ptr.h>

#include <memory>
#include <type_traits>

#ifndef GENIE_TORCH
#error "GENIE_TORCH is not set: build through setup.py"
#endif

// c10::Allocator::allocate lost its const, and copy_data became pure virtual, in 2.3.
#if GENIE_TORCH >= 203
#define GENIE_ALLOCATE_CONST
#define GENIE_HAS_COPY_DATA 1
#else
#define GENIE_ALLOCATE_CONST const
#define GENIE_HAS_COPY_DATA 0
#endif

// c10::optional became an alias of std::optional in 2.4 or so, and is going away since.
#if GENIE_TORCH >= 204
#include <optional>
namespace genie {
template <typename T>
using Optional = std::optional<T>;
inline constexpr auto nullopt = std::nullopt;
}  // namespace genie
#else
#include <c10/util/Optional.h>
namespace genie {
template <typename T>
using Optional = c10::optional<T>;
inline constexpr auto nullopt = c10::nullopt;
}  // namespace genie
#endif

// Hooks of a PrivateUse1 device: which of them exist.
#define GENIE_HOOKS_CONTEXT (GENIE_TORCH >= 203)   // hasPrimaryContext, pinned allocator, resize
#define GENIE_HOOKS_DEVICE (GENIE_TORCH >= 204)    // deviceCount and the device setters
#define GENIE_HOOKS_PINNED (GENIE_TORCH >= 205)    // isPinnedPtr
#define GENIE_HOOKS_INIT (GENIE_TORCH >= 206)      // init; isPinnedPtr and friends are const
#define GENIE_HOOKS_BUILT (GENIE_TORCH >= 207)     // isBuilt, isAvailable, getNewGenerator

// Guard of a device: which virtuals exist.
#define GENIE_GUARD_NEW_STREAM (GENIE_TORCH >= 204)  // getNewStream, synchronizeEvent, elapsedTime
#define GENIE_GUARD_SYNC_DEVICE (GENIE_TORCH >= 206)
#define GENIE_GUARD_CAPABILITY (GENIE_TORCH >= 211)

// c10::DeviceAllocator, which torch.accelerator asks for statistics.
#define GENIE_DEVICE_ALLOCATOR (GENIE_TORCH >= 209)

// autocast's lists of ops, for backends outside of torch.
#define GENIE_AUTOCAST (GENIE_TORCH >= 206)

// scaled_dot_product_attention asks a per-device stub which kernel to use since 2.3 (as an op before).
#define GENIE_SDP_STUB (GENIE_TORCH >= 206)

// Before 2.2 the CPU's flash attention is the overload that CUDA has, ints among its results.
#define GENIE_SDP_SHARED_FLASH (GENIE_TORCH < 202)

// torch.func's wrappers hide that a tensor is PrivateUse1's in 2.1 and 2.6, no longer in 2.13: composite
// ops get AutogradOther's key.
#define GENIE_FUNC_HIDES_KEY (GENIE_TORCH < 213)

// torch.accelerator.device_count asks the guard in 2.6, the device's module in 2.13.
#define GENIE_COUNTS_BY_GUARD (GENIE_TORCH >= 206 && GENIE_TORCH < 213)

// Compressed sparse layouts have a dispatch key for each backend since 2.4 or so.
#define GENIE_SPARSE_CSR_KEY (GENIE_TORCH >= 206)

// PrivateUse1HooksInterface::getDefaultGenerator became const when the interface got its base class.
#if GENIE_TORCH >= 205
#define GENIE_HOOK_CONST const
#else
#define GENIE_HOOK_CONST
#endif

// The graph of autograd's nodes got a header of its own when they became intrusive.
#if __has_include(<torch/csrc/autograd/node.h>)
#define GENIE_NODE_HEADER <torch/csrc/autograd/node.h>
#else
#define GENIE_NODE_HEADER <torch/csrc/autograd/function.h>
#endif

// A node of autograd's graph is held by shared_ptr, in 2.13 and 2.15 by intrusive_ptr.
namespace genie {
template <typename Node>
auto make_node() {
  if constexpr (std::is_base_of_v<c10::intrusive_ptr_target, Node>) {
    return c10::make_intrusive<Node>();
  } else {
    return std::make_shared<Node>();
  }
}
}  // namespace genie
