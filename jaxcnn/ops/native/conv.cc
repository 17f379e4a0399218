// Convolution and its two gradients, as one XLA custom call for CPU: by oneDNN, in shares for XLA's threads; depthwise
// ones mostly by loops of our own.
//
// A call is described by one array of integers (`Call`), written by form.py. It is also the key under which the
// prepared primitive is kept.

#include <algorithm>
#include <cmath>
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
constexpr int64_t kLeastRows = 3;             // times the window, in a piece of a plane
constexpr int64_t kLeastCells = 512;         // that a kernel gradient sums, so that another sum costs little beside it

// A part of a call, computed in one go.
struct Piece {
  std::shared_ptr<const Plan> plan;
  int64_t offsets[kParts];  // of its arrays, in values
};

using Share = std::vector<Piece>;  // of one thread, or of a team of oneDNN's own

// Leaves the team's size as the piece needs it.
Piece PieceOf(const Call& call, int64_t threads, int64_t inputs_offset, int64_t outputs_offset) {
  TeamSize::Set(threads);
  return {PlanFor(call, threads), {inputs_offset, 0, outputs_offset}};
}

// Some examples of a call.
Piece Examples(Call call, int64_t first, int64_t last) {
  call.batch = last - first;
  return PieceOf(call, 1, first * call.steps[kInputs][0], first * call.steps[kOutputs][0]);
}

int64_t RowsOf(const Call& call) { return call.wanted == kInputs ? call.sizes[0] : call.results[0]; }

int64_t Extent(const Call& call) { return (call.taps[0] - 1) * call.dilation[0] + 1; }

// Some rows, cells along the first spatial axis, of one example: of the result, or of the outputs of which it is the
// kernel gradient. What they read of the other array overlaps with what their neighbors do.
Piece Rows(Call call, int64_t example, int64_t first, int64_t last) {
  const int64_t stride = call.strides[0], extent = Extent(call), low = call.low[0];
  int64_t begin, end;  // of the other array's rows
  if (call.wanted == kInputs) {
    begin = std::max<int64_t>(0, (first + low - extent + stride) / stride);
    end = std::min(call.results[0], (last - 1 + low) / stride + 1);
    call.low[0] = low + first - begin * stride;
    call.high[0] = std::max<int64_t>(0, (end - 1) * stride + extent - low - last);
    call.sizes[0] = last - first;
    call.results[0] = end - begin;
  } else {
    begin = first * stride - low;
    end = (last - 1) * stride - low + extent;
    call.low[0] = std::max<int64_t>(0, -begin);
    call.high[0] = std::max<int64_t>(0, end - call.sizes[0]);
    begin = std::max<int64_t>(begin, 0);
    end = std::min(end, call.sizes[0]);
    call.sizes[0] = end - begin;
    call.results[0] = last - first;
  }
  call.batch = 1;
  const Sizes &inputs = call.steps[kInputs], &outputs = call.steps[kOutputs];
  const int64_t input_row = call.wanted == kInputs ? first : begin, output_row = call.wanted == kInputs ? begin : first;
  return PieceOf(call, 1, example * inputs[0] + input_row * inputs[2], example * outputs[0] + output_row * outputs[2]);
}

// Whether a call can be divided into so many rows: each piece has cells of both arrays, and few are read twice.
bool HasRows(const Call& call, int64_t pieces) {
  const int64_t rows = RowsOf(call) / pieces, read = call.wanted == kInputs ? rows : rows * call.strides[0];
  return read >= kLeastRows * Extent(call) && call.strides[0] <= Extent(call) &&
         std::max(call.low[0], call.high[0]) < Extent(call);
}

// How often a cache holds what is reordered for one example. A kernel gradient also reads and writes its sums.
double CachesOf(const Plan& plan, const Call& call) {
  size_t bytes = 0;
  for (const Part part : {kInputs, kOutputs})
    if (plan.arrays[part].reordered) bytes += plan.arrays[part].own.get_size();
  const size_t sums = call.wanted == kKernel ? plan.arrays[kKernel].own.get_size() : 0;
  return static_cast<double>(bytes) / call.batch / std::max(kCache, kSums * sums);
}

// The pieces in which one thread computes some rows of some examples.
Share Pieces(const Call& call, double caches, int64_t first, int64_t last, int64_t first_row, int64_t last_row) {
  Share share;
  const int64_t rows = last_row - first_row, all = RowsOf(call), examples = last - first;
  const int64_t cuts = std::min<int64_t>(std::ceil(caches * rows / all), rows);
  if (rows == all && (cuts <= 1 || !HasRows(call, cuts))) {
    const int64_t size = caches > 0 ? std::clamp<int64_t>(1 / caches, 1, examples) : examples;
    const int64_t pieces = (examples + size - 1) / size;
    for (int64_t piece = 0; piece < pieces; ++piece)
      share.push_back(Examples(call, first + examples * piece / pieces, first + examples * (piece + 1) / pieces));
    return share;
  }
  const int64_t pieces = cuts > 1 && HasRows(call, cuts * all / rows) ? cuts : 1;
  for (int64_t example = first; example < last; ++example)
    for (int64_t piece = 0; piece < pieces; ++piece)
      share.push_back(Rows(call, example, first_row + rows * piece / pieces, first_row + rows * (piece + 1) / pieces));
  return share;
}

// A share for each of so many threads, of the examples or, where there are too few, of their rows; or one for a team,
// where there are too few of both, and where the sum of as many kernel gradients would take long.
std::vector<Share> Shares(const Call& call, int64_t threads) {
  const Piece whole = PieceOf(call, threads, 0, 0);
  int64_t cells = call.batch;
  for (int64_t size : call.results) cells *= size;
  const bool by_rows = call.batch < threads;
  if (threads == 1 && whole.plan->arrays[kInputs].reordered + whole.plan->arrays[kOutputs].reordered == 0)
    return {{whole}};
  if ((by_rows && !HasRows(call, threads)) || (call.wanted == kKernel && cells < kLeastCells * threads))
    return {{whole}};
  const double caches = CachesOf(*whole.plan, call);
  std::vector<Share> shares;
  for (int64_t index = 0; index < threads; ++index) {
    const auto at = [&](int64_t count, int64_t share) { return count * share / threads; };
    const int64_t rows = RowsOf(call);
    shares.push_back(by_rows ? Pieces(call, caches, 0, call.batch, at(rows, index), at(rows, index + 1))
                             : Pieces(call, caches, at(call.batch, index), at(call.batch, index + 1), 0, rows));
  }
  const auto& kernel = shares.front().front().plan->arrays[kKernel].own;
  for (const Share& share : shares)
    for (const Piece& piece : share)
      if (piece.plan->arrays[kKernel].own != kernel) return {{PieceOf(call, threads, 0, 0)}};
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
    users[part] = static_cast<char*>(arrays[part]) + piece.offsets[part] * size;
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

// Whether a call goes by the loops of depthwise.h: where its arrays are planes, and where oneDNN has no such loops.
bool IsOurs(const Call& call, int64_t threads) {
  if (!IsDepthwise(call)) return false;
  try {
    return ArePlanes(call) || PieceOf(call, threads, 0, 0).plan->implementation.find("dw") == std::string::npos;
  } catch (const dnnl::error&) {
    return true;
  }
}

void Execute(ffi::ThreadPool& pool, const Call& call, void* const* arrays) {
  const TeamSize kept;
  const int64_t threads = Parts(pool, call.devices, call.Products() / kLeastProducts);
  if (IsOurs(call, threads)) return RunDepthwise(pool, call, threads, arrays);
  const auto shares = Shares(call, threads);
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
    TeamSize one;
    if (parts > 1) one.Set(1);
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
    Execute(pool, Call(Key(call.begin(), call.end())), parts);
    return ffi::Error::Success();
  } catch (const std::exception& error) {
    return ffi::Error(ffi::ErrorCode::kInternal, std::string("oneDNN: ") + error.what());
  }
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxcnn_conv, Handle,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<ffi::Span<const int64_t>>("call"));

// The name of the implementation of a call, oneDNN's or ours; or an empty string if there is none.
extern "C" const char* jaxcnn_onednn_implementation(const int64_t* call, int64_t length) {
  thread_local std::string name;
  const TeamSize kept;
  try {
    const Call described(Key(call, call + length));
    const int64_t threads = Cores(described.devices);
    name = IsOurs(described, threads) ? kDepthwise : Shares(described, threads).front().front().plan->implementation;
  } catch (const std::exception&) {
    name.clear();
  }
  return name.c_str();
}

extern "C" const char* jaxcnn_onednn_version() {
  static const std::string version = std::to_string(dnnl_version()->major) + "." +
                                     std::to_string(dnnl_version()->minor) + "." +
                                     std::to_string(dnnl_version()->patch);
  return version.c_str();
}

// The minor version of XLA's foreign function interface that this is compiled for; the major is 0.
extern "C" int jaxcnn_ffi_minor() {
  static_assert(XLA_FFI_API_MAJOR == 0);
  return XLA_FFI_API_MINOR;
}

// Whether this processor multiplies bfloat16 by itself; elsewhere oneDNN emulates that, slowly.
extern "C" int jaxcnn_onednn_bfloat16() {
  const int wanted = dnnl_cpu_isa_avx512_core_bf16;
  return (dnnl_get_effective_cpu_isa() & wanted) == wanted;
}
