// Convolution and its two gradients, as one XLA custom call for CPU: by oneDNN, in shares for XLA's threads; depthwise ones
// with channels first by loops of our own.
//
// A call is described by one array of integers (`Call`), written by form.py. It is also the key under which the
// prepared primitive is kept.

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "call.h"
#include "depthwise.h"
#include "loops.h"
#include "plan.h"
#include "scratch.h"
#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;

constexpr int64_t kLeastProducts = 1 << 21;  // that are worth waking a thread for
constexpr int64_t kLeastSums = 64 << 10;     // the same
constexpr size_t kCache = 1 << 20;           // bytes in the part of a core's cache that holds what is reordered
constexpr size_t kSums = 4;                  // bytes that a kernel gradient reads for each byte of sums of its own
constexpr int64_t kLeastCells = 512;         // that a kernel gradient sums, so that another sum costs little beside it

// Some of a call's examples, computed in one go.
struct Piece {
  std::shared_ptr<const Plan> plan;
  int64_t first;  // example
};

using Share = std::vector<Piece>;  // of one thread, or of a team of oneDNN's own

Piece Whole(const Key& key, int64_t threads) {
  omp_set_num_threads(static_cast<int>(threads));  // of this thread alone
  return {PlanFor(key, threads), 0};
}

// How many examples of so many are computed in one go: as many as a core's cache holds where they are reordered.
int64_t PieceOf(const Plan& plan, bool sums, int64_t examples) {
  size_t bytes = 0;
  for (const Part part : {kInputs, kOutputs})
    if (plan.arrays[part].reordered) bytes += plan.arrays[part].own.get_size() / examples;
  if (bytes == 0) return examples;
  const size_t kernel = sums ? plan.arrays[kKernel].own.get_size() : 0;
  static const size_t cache = std::getenv("JAXCNN_CHUNK") ? atoll(std::getenv("JAXCNN_CHUNK")) : kCache;
  return std::clamp<int64_t>(std::max<int64_t>(cache, kSums * kernel) / bytes, 1, examples);
}

// A share for each of so many threads; or one for a team, where there are too few examples for that, and where the sum
// of as many kernel gradients would take long or be rounded.
std::vector<Share> Shares(const Key& key, const Call& call, int64_t threads) {
  int64_t cells = call.batch;
  for (int64_t size : call.results) cells *= size;
  const bool sums = call.wanted == kKernel;
  if (call.batch < threads || (sums && (cells < kLeastCells * threads || call.result_type != 0)))
    return {{Whole(key, threads)}};
  std::vector<Share> shares;
  Key part = key;
  for (int64_t index = 0; index < threads; ++index) {
    const int64_t first = call.batch * index / threads, examples = call.batch * (index + 1) / threads - first;
    part[kBatch] = examples;
    const int64_t size = PieceOf(*Whole(part, 1).plan, sums, examples), pieces = (examples + size - 1) / size;
    Share share;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t begin = examples * piece / pieces;
      part[kBatch] = examples * (piece + 1) / pieces - begin;
      share.push_back({Whole(part, 1).plan, first + begin});
      const Share& other = shares.empty() ? share : shares.front();
      if (share.back().plan->arrays[kKernel].own != other.front().plan->arrays[kKernel].own)
        return {{Whole(key, threads)}};
    }
    shares.push_back(std::move(share));
  }
  return shares;
}

FOR_EACH_PROCESSOR void AddTo(float* __restrict sums, const float* __restrict terms, int64_t length) {
  for (int64_t at = 0; at < length; ++at) sums[at] += terms[at];
}

// Computes one piece; the kernel is in oneDNN's layout, images and outputs are the user's.
void RunPiece(const Call& call, const Piece& piece, void* const* arrays, void* kernel) {
  thread_local Scratch scratch[kParts];
  const Part images[] = {kInputs, kOutputs};
  void* users[kParts];
  void* own[kParts];
  own[kKernel] = kernel;
  for (const Part part : images) {
    const Operand& array = piece.plan->arrays[part];
    const auto size = dnnl::memory::data_type_size(array.user.get_data_type());
    users[part] = static_cast<char*>(arrays[part]) + piece.first * call.steps[part][0] * size;
    own[part] = array.reordered ? scratch[part].Get(array.own.get_size()) : users[part];
    if (array.reordered && part != call.wanted) Reorder(array, false, users[part], own[part]);
  }
  Run(*piece.plan, call.wanted, own);
  for (const Part part : images) {
    const Operand& array = piece.plan->arrays[part];
    if (array.reordered && part == call.wanted) Reorder(array, true, users[part], own[part]);
    scratch[part].Trim();
  }
}

void Execute(ffi::ThreadPool& pool, const Key& key, void* const* arrays) {
  const Call call(key);
  const int64_t threads = Parts(pool, call.devices, call.Products() / kLeastProducts);
  if (IsDepthwise(call)) return RunDepthwise(pool, call, threads, arrays);
  const auto shares = Shares(key, call, threads);
  const int64_t parts = shares.size();
  const Operand& kernel = shares.front().front().plan->arrays[kKernel];
  const bool sums = call.wanted == kKernel;
  const size_t kernel_bytes = Aligned(kernel.own.get_size());
  const int64_t length = kernel.own.get_size() / sizeof(float);
  thread_local Scratch kernels;
  char* own = kernels.Get(kernel_bytes * (sums ? parts : 1));
  char* first = kernel.reordered ? own : static_cast<char*>(arrays[kKernel]);
  if (kernel.reordered && !sums) Reorder(kernel, false, arrays[kKernel], own);
  ForEachPart(pool, parts, [&](int64_t part) {
    if (parts > 1) omp_set_num_threads(1);
    thread_local Scratch terms;
    char* target = sums && part > 0 ? own + part * kernel_bytes : first;
    for (const Piece& piece : shares[part]) {
      const bool adds = sums && &piece != &shares[part].front();
      RunPiece(call, piece, arrays, adds ? terms.Get(kernel_bytes) : target);
      if (adds) AddTo(reinterpret_cast<float*>(target), reinterpret_cast<const float*>(terms.Get(0)), length);
    }
    terms.Trim();
  });
  if (sums && parts > 1) {
    const int64_t pieces = std::min(parts, 1 + length / kLeastSums);
    ForEachPart(pool, pieces, [&](int64_t piece) {
      const int64_t at = length * piece / pieces, end = length * (piece + 1) / pieces;
      for (int64_t part = 1; part < parts; ++part)
        AddTo(reinterpret_cast<float*>(first) + at, reinterpret_cast<const float*>(own + part * kernel_bytes) + at,
              end - at);
    });
  }
  if (kernel.reordered && sums) Reorder(kernel, true, arrays[kKernel], own);
  kernels.Trim();
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer first, ffi::AnyBuffer second,
                  ffi::Result<ffi::AnyBuffer> result, ffi::Span<const int64_t> call) {
  try {
    void* parts[] = {first.untyped_data(), second.untyped_data(), nullptr};
    for (int64_t part = kOutputs; part > call[0]; --part) std::swap(parts[part], parts[part - 1]);
    parts[call[0]] = result->untyped_data();
    Execute(pool, Key(call.begin(), call.end()), parts);
    return ffi::Error::Success();
  } catch (const std::exception& error) {
    return ffi::Error(ffi::ErrorCode::kInternal, std::string("oneDNN: ") + error.what());
  }
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxcnn_onednn_conv, Handle,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<ffi::Span<const int64_t>>("call"));

// The name of the implementation of a call, oneDNN's or ours; or an empty string if there is none.
extern "C" const char* jaxcnn_onednn_implementation(const int64_t* call, int64_t length) {
  thread_local std::string name;
  try {
    const Key key(call, call + length);
    const Call described(key);
    name = IsDepthwise(described) ? kDepthwise
                                  : Shares(key, described, Cores(described.devices)).front().front().plan->implementation;
  } catch (const std::exception&) {
    name.clear();
  }
  return name.c_str();
}

// Whether this processor multiplies bfloat16 by itself; elsewhere oneDNN emulates that, slowly.
extern "C" int jaxcnn_onednn_bfloat16() {
  const int wanted = dnnl_cpu_isa_avx512_core_bf16;
  return (dnnl_get_effective_cpu_isa() & wanted) == wanted;
}
