// Depthwise convolution by loops of our own, for planes: each channel's cells lie side by side in memory.
#pragma once

#include "call.h"
#include "xla/ffi/api/ffi.h"

constexpr const char* kDepthwise = "planes";  // the name of this implementation

// Whether a call is one that the loops know; and whether images and outputs are planes already.
bool IsDepthwise(const Call& call);
bool ArePlanes(const Call& call);

// Computes it on so many threads; what is no plane is reordered, some channels at a time.
void RunDepthwise(xla::ffi::ThreadPool& pool, const Call& call, int64_t threads, void* const* arrays);
