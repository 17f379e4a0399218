// Depthwise convolution, each channel's cells side by side in memory: by loops of our own, as oneDNN has none for it.
#pragma once

#include "call.h"
#include "xla/ffi/api/ffi.h"

constexpr const char* kDepthwise = "planes";  // the name of this implementation

// Whether a call is one: each group has one channel, and the spatial axes of images and outputs lie side by side.
bool IsDepthwise(const Call& call);

// Computes it on so many threads.
void RunDepthwise(xla::ffi::ThreadPool& pool, const Call& call, int64_t threads, void* const* arrays);
