// The loops of depthwise.h.
//
// Each plane, the cells of one channel of one example, is copied between borders of zeros. With strides s, its cells are
// divided among s phases in each axis, so that neighbors for a tap are neighbors in memory. In that grid, of which all
// phases have the same pitch, the tap t of the output with the flat index i is the cell i + at[t]: in any number of axes
// and with any stride and dilation, convolution is one sum
//
//     y[i] = sum_t w[t] x[i + at[t]],    x'[j] = sum_t w[t] e[j - at[t]],    w'[t] = sum_i e[i] x[i + at[t]],
//
// computed also for the few i behind the end of a row, where errors are zero and outputs are left out.

#include "depthwise.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "loops.h"
#include "plan.h"
#include "scratch.h"
#include "threads.h"
#include "types.h"

namespace {

namespace ffi = xla::ffi;

typedef float Vector __attribute__((vector_size(64), aligned(4)));  // of floats at any address
constexpr int64_t kLanes = sizeof(Vector) / sizeof(float);
constexpr int64_t kTogether = 16;  // channels that are reordered together: a line of cache
constexpr int64_t kMargin = 8 * kLanes;  // behind an array that is read and written by whole vectors

// out[i] = sum_t weights[t] in[i + at[t]]
template <int kVectors>
INLINED void FilterBlock(const float* in, const int64_t* at, const float* weights, int64_t taps, float* out) {
  Vector sums[kVectors] = {};
  for (int64_t t = 0; t < taps; ++t) {
    const Vector* cells = reinterpret_cast<const Vector*>(in + at[t]);
    for (int v = 0; v < kVectors; ++v) sums[v] += weights[t] * cells[v];
  }
  for (int v = 0; v < kVectors; ++v) reinterpret_cast<Vector*>(out)[v] = sums[v];
}

FOR_EACH_PROCESSOR void Filter(const float* in, const int64_t* at, const float* weights, int64_t taps, int64_t length,
                               float* out) {
  int64_t i = 0;
  for (; i + 8 * kLanes <= length; i += 8 * kLanes) FilterBlock<8>(in + i, at, weights, taps, out + i);
  for (; i + 2 * kLanes <= length; i += 2 * kLanes) FilterBlock<2>(in + i, at, weights, taps, out + i);
  for (; i < length; i += kLanes) FilterBlock<1>(in + i, at, weights, taps, out + i);
}

// sums[t] += sum_i errors[i] in[i + at[t]], lane by lane
template <int kTaps>
INLINED void SumBlock(const float* in, const int64_t* at, const float* errors, int64_t length, Vector* sums) {
  Vector totals[kTaps];
  for (int t = 0; t < kTaps; ++t) totals[t] = sums[t];
  for (int64_t i = 0; i < length; i += kLanes) {
    const Vector error = *reinterpret_cast<const Vector*>(errors + i);
    for (int t = 0; t < kTaps; ++t) totals[t] += error * *reinterpret_cast<const Vector*>(in + i + at[t]);
  }
  for (int t = 0; t < kTaps; ++t) sums[t] = totals[t];
}

FOR_EACH_PROCESSOR void KernelSums(const float* in, const int64_t* at, int64_t taps, const float* errors,
                                   int64_t length, Vector* sums) {
  int64_t t = 0;
  for (; t + 9 <= taps; t += 9) SumBlock<9>(in, at + t, errors, length, sums + t);
  for (; t + 3 <= taps; t += 3) SumBlock<3>(in, at + t, errors, length, sums + t);
  for (; t < taps; ++t) SumBlock<1>(in, at + t, errors, length, sums + t);
}

// Some cells in a row.
struct Row {
  int64_t plane, padded, count;  // where they are in a plane and in its grid
};

template <int kCount>
INLINED void CopySome(const float* from, float* to, int64_t* at) {
  std::memcpy(to + *at, from + *at, kCount * sizeof(float));
  *at += kCount;
}

INLINED void CopyRow(const float* __restrict from, int64_t count, float* __restrict to) {
  int64_t i = 0;
  while (i + 16 <= count) CopySome<16>(from, to, &i);
  if (count & 8) CopySome<8>(from, to, &i);
  if (count & 4) CopySome<4>(from, to, &i);
  if (count & 2) CopySome<2>(from, to, &i);
  if (count & 1) CopySome<1>(from, to, &i);
}
template <class From, class To>
INLINED void CopyRow(const From* __restrict from, int64_t count, To* __restrict to) {
  for (int64_t i = 0; i < count; ++i) Narrow(Wide(from[i]), to + i);
}

// Copies rows of a plane, in which their cells are so far apart, into its grid.
template <class T>
FOR_EACH_PROCESSOR void Pack(const Row* rows, int64_t count, int64_t step, const T* plane, float* padded) {
  for (const Row* row = rows; row < rows + count; ++row) {
    const T* from = plane + row->plane;
    float* to = padded + row->padded;
    if (step == 1) {
      CopyRow(from, row->count, to);
    } else if (step == 2) {
      for (int64_t i = 0; i < row->count; ++i) to[i] = Wide(from[2 * i]);
    } else {
      for (int64_t i = 0; i < row->count; ++i) to[i] = Wide(from[step * i]);
    }
  }
}

// The way back.
template <class T>
FOR_EACH_PROCESSOR void Unpack(const Row* rows, int64_t count, int64_t step, const float* padded, T* plane) {
  for (const Row* row = rows; row < rows + count; ++row) {
    const float* from = padded + row->padded;
    T* to = plane + row->plane;
    if (step == 1) {
      CopyRow(from, row->count, to);
    } else if (step == 2) {
      for (int64_t i = 0; i < row->count; ++i) Narrow(from[i], to + 2 * i);
    } else {
      for (int64_t i = 0; i < row->count; ++i) Narrow(from[i], to + step * i);
    }
  }
}

// Axes are depth, height and width, the first ones of size 1 where there are fewer.
struct Axes {
  int64_t of[3];

  Axes(const Sizes& sizes, int64_t fill) {
    const size_t missing = 3 - sizes.size();
    for (size_t axis = 0; axis < 3; ++axis) of[axis] = axis < missing ? fill : sizes[axis - missing];
  }
  int64_t operator[](int axis) const { return of[axis]; }
  int64_t Product() const { return of[0] * of[1] * of[2]; }
};

// How a plane lies between its borders.
struct Grid {
  Axes sizes, results, taps, strides, dilation, low, pitch;
  int64_t phases;             // how many there are
  int64_t phase;              // cells of one
  int64_t length;             // from the first output to behind the last
  bool whole = true;          // whether some window may read every cell
  std::vector<int64_t> at;    // where each tap looks: in its phase ...
  std::vector<int64_t> of;    // ... which is this one
  std::vector<int64_t> tap;   // the place of each tap in a kernel
  std::vector<Row> inputs, outputs;

  explicit Grid(const Call& call)
      : sizes(call.sizes, 1), results(call.results, 1), taps(call.taps, 1), strides(call.strides, 1),
        dilation(call.dilation, 1), low(call.low, 0), pitch(call.sizes, 1) {
    for (int axis = 0; axis < 3; ++axis)
      pitch.of[axis] = results[axis] + (taps[axis] - 1) * dilation[axis] / strides[axis];
    phases = strides.Product();
    phase = pitch.Product();
    length = Flat(results[0] - 1, results[1] - 1, results[2] - 1) + 1;
    const Axes steps({call.steps[kKernel].begin() + 2, call.steps[kKernel].end()}, 0);
    ForEach(taps, [&](int64_t a, int64_t b, int64_t c) {
      const int64_t z = a * dilation[0], y = b * dilation[1], x = c * dilation[2];
      at.push_back(Flat(z / strides[0], y / strides[1], x / strides[2]));
      of.push_back(Phase(z, y, x));
      tap.push_back(a * steps[0] + b * steps[1] + c * steps[2]);
    });
    int64_t cells = 0;
    ForEach({{sizes[0], sizes[1], std::min(strides[2], sizes[2])}, 1}, [&](int64_t z, int64_t y, int64_t x) {
      const int64_t pz = z + low[0], py = y + low[1], px = x + low[2], first = px / strides[2];
      if (pz / strides[0] >= pitch[0] || py / strides[1] >= pitch[1]) return;
      const int64_t count = std::min((sizes[2] - x + strides[2] - 1) / strides[2], pitch[2] - first);
      if (count <= 0) return;
      inputs.push_back({(z * sizes[1] + y) * sizes[2] + x,
                        Phase(pz, py, px) * phase + Flat(pz / strides[0], py / strides[1], first), count});
      cells += count;
    });
    whole = cells == sizes.Product();
    ForEach({{results[0], results[1], 1}, 1}, [&](int64_t z, int64_t y, int64_t) {
      outputs.push_back({(z * results[1] + y) * results[2], Flat(z, y, 0), results[2]});
    });
  }

  // Where each tap looks in all phases.
  std::vector<int64_t> InAllPhases() const {
    std::vector<int64_t> places(at);
    for (size_t t = 0; t < places.size(); ++t) places[t] += of[t] * phase;
    return places;
  }

 private:
  template <class Body>
  static void ForEach(const Axes& counts, Body body) {
    for (int64_t z = 0; z < counts[0]; ++z)
      for (int64_t y = 0; y < counts[1]; ++y)
        for (int64_t x = 0; x < counts[2]; ++x) body(z, y, x);
  }
  int64_t Flat(int64_t z, int64_t y, int64_t x) const { return (z * pitch[1] + y) * pitch[2] + x; }
  int64_t Phase(int64_t z, int64_t y, int64_t x) const {
    return (z % strides[0] * strides[1] + y % strides[1]) * strides[2] + x % strides[2];
  }
};

// One call, whose operands and result have these types.
template <class T, class R>
class Depthwise {
 public:
  Depthwise(const Call& call, void* const* arrays) : call_(call), grid_(call), arrays_(arrays) {}

  // What threads divide; a kernel gradient is summed over examples by one of them.
  int64_t Units() const { return call_.wanted == kKernel ? call_.groups : call_.batch * call_.groups; }

  void Compute(int64_t first, int64_t last) {
    if (call_.wanted == kOutputs) Outputs(first, last);
    if (call_.wanted == kInputs) Inputs(first, last);
    if (call_.wanted == kKernel) Kernel(first, last);
  }

 private:
  int64_t Maps() const { return call_.outputs / call_.groups; }
  int64_t Taps() const { return grid_.at.size(); }
  int64_t Padded() const { return grid_.phases * grid_.phase + kMargin; }

  template <class Value>
  Value* Plane(Part part, int64_t example, int64_t channel) const {
    return static_cast<Value*>(arrays_[part]) + example * call_.steps[part][0] + channel * call_.steps[part][1];
  }
  template <class Value>
  Value* Weights(int64_t output) const {
    return static_cast<Value*>(arrays_[kKernel]) + output * call_.steps[kKernel][0];
  }

  void PackInputs(int64_t example, int64_t channel, float* padded) const {
    Pack(grid_.inputs.data(), grid_.inputs.size(), grid_.strides[2], Plane<T>(kInputs, example, channel), padded);
  }
  void PackErrors(int64_t example, int64_t output, float* padded) const {
    Pack(grid_.outputs.data(), grid_.outputs.size(), 1, Plane<T>(kOutputs, example, output), padded);
  }

  // Memory for floats, of which the first ones are zeros.
  float* Buffer(int64_t zeros, int64_t others) {
    thread_local Scratch scratch;
    float* buffer = reinterpret_cast<float*>(scratch.Get((zeros + others) * sizeof(float)));
    std::fill_n(buffer, zeros, 0.0f);
    return buffer;
  }

  void Outputs(int64_t first, int64_t last) {
    float* padded = Buffer(Padded(), grid_.length + kMargin);
    float* found = padded + Padded();
    const auto at = grid_.InAllPhases();
    std::vector<float> weights(Taps());
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t example = unit / call_.groups, channel = unit % call_.groups;
      PackInputs(example, channel, padded);
      for (int64_t output = channel * Maps(); output < (channel + 1) * Maps(); ++output) {
        for (int64_t t = 0; t < Taps(); ++t) weights[t] = Wide(Weights<T>(output)[grid_.tap[t]]);
        Filter(padded, at.data(), weights.data(), Taps(), grid_.length, found);
        Unpack(grid_.outputs.data(), grid_.outputs.size(), 1, found, Plane<R>(kOutputs, example, output));
      }
    }
  }

  void Inputs(int64_t first, int64_t last) {
    const int64_t reach = *std::max_element(grid_.at.begin(), grid_.at.end());
    const int64_t span = reach + grid_.phase + kMargin;  // of one map's errors
    float* errors = Buffer(Maps() * span, Padded());
    float* sums = errors + Maps() * span;
    std::vector<int64_t> at, places, begins;  // of each phase's taps: where they look, which they are, the first one
    for (int64_t phase = 0; phase < grid_.phases; ++phase) {
      begins.push_back(at.size());
      for (int64_t map = 0; map < Maps(); ++map)
        for (int64_t t = 0; t < Taps(); ++t)
          if (grid_.of[t] == phase) {
            at.push_back(map * span + reach - grid_.at[t]);
            places.push_back(map * call_.steps[kKernel][0] + grid_.tap[t]);
          }
    }
    begins.push_back(at.size());
    std::vector<float> weights(at.size());
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t example = unit / call_.groups, channel = unit % call_.groups;
      for (int64_t map = 0; map < Maps(); ++map)
        PackErrors(example, channel * Maps() + map, errors + map * span + reach);
      for (size_t i = 0; i < at.size(); ++i) weights[i] = Wide(Weights<T>(channel * Maps())[places[i]]);
      for (int64_t phase = 0; phase < grid_.phases; ++phase)  // in order, as each overwrites a little of the next
        Filter(errors, at.data() + begins[phase], weights.data() + begins[phase], begins[phase + 1] - begins[phase],
               grid_.phase, sums + phase * grid_.phase);
      R* plane = Plane<R>(kInputs, example, channel);
      if (!grid_.whole) std::memset(plane, 0, grid_.sizes.Product() * sizeof(R));
      Unpack(grid_.inputs.data(), grid_.inputs.size(), grid_.strides[2], sums, plane);
    }
  }

  void Kernel(int64_t first, int64_t last) {
    float* padded = Buffer(Padded() + grid_.length + kMargin, 0);
    float* errors = padded + Padded();
    const auto at = grid_.InAllPhases();
    std::vector<Vector> sums(Maps() * Taps());
    for (int64_t channel = first; channel < last; ++channel) {
      std::fill(sums.begin(), sums.end(), Vector{});
      for (int64_t example = 0; example < call_.batch; ++example) {
        PackInputs(example, channel, padded);
        for (int64_t map = 0; map < Maps(); ++map) {
          PackErrors(example, channel * Maps() + map, errors);
          KernelSums(padded, at.data(), Taps(), errors, grid_.length, sums.data() + map * Taps());
        }
      }
      for (size_t i = 0; i < sums.size(); ++i) {
        float total = 0;
        for (int64_t lane = 0; lane < kLanes; ++lane) total += sums[i][lane];
        Narrow(total, Weights<R>(channel * Maps() + i / Taps()) + grid_.tap[i % Taps()]);
      }
    }
  }

  const Call& call_;
  const Grid grid_;
  void* const* arrays_;
};

// Calls `body(first, last)` for some of so many units, on so many threads.
template <class Body>
void Divide(ffi::ThreadPool& pool, int64_t threads, int64_t units, const Body& body) {
  const int64_t parts = std::min(threads, units);
  ForEachPart(pool, parts, [&](int64_t part) { body(units * part / parts, units * (part + 1) / parts); });
}

// The steps of planes.
Sizes Dense(const Sizes& sizes, int64_t channels) {
  Sizes steps(sizes.size() + 2);
  int64_t step = 1;
  for (size_t axis = sizes.size(); axis-- > 0; step *= sizes[axis]) steps[axis + 2] = step;
  steps[1] = step;
  steps[0] = step * channels;
  return steps;
}

template <class T, class R>
void ComputePlanes(ffi::ThreadPool& pool, const Call& call, int64_t threads, void* const* arrays) {
  Depthwise<T, R> depthwise(call, arrays);
  Divide(pool, threads, depthwise.Units(), [&](int64_t first, int64_t last) { depthwise.Compute(first, last); });
}

// Some channels of one example, or for a kernel gradient of all, between two reorders.
template <class T, class R>
void ComputeReordered(const Call& call, int64_t example, int64_t first, int64_t last, void* const* arrays) {
  thread_local Scratch scratch[kParts];
  const int64_t maps = call.outputs / call.groups, kernel_size = call.wanted == kKernel ? sizeof(R) : sizeof(T);
  Call some = call;
  some.batch = call.wanted == kKernel ? call.batch : 1;
  some.channels = some.groups = last - first;
  some.outputs = some.channels * maps;
  void* planes[kParts];
  planes[kKernel] = static_cast<char*>(arrays[kKernel]) + first * maps * call.steps[kKernel][0] * kernel_size;
  const auto reorder = [&](Part part, bool back) {
    const Sizes& sizes = part == kInputs ? call.sizes : call.results;
    const int64_t channels = part == kInputs ? some.channels : some.outputs, channel = part == kInputs ? first : first * maps;
    Sizes dims{some.batch, channels};
    dims.insert(dims.end(), sizes.begin(), sizes.end());
    some.steps[part] = Dense(sizes, channels);
    const auto type = TypeOf(call, part);
    const Operand array = Between({dims, type, call.steps[part]}, {dims, type, some.steps[part]}, call.wanted == part);
    const int64_t offset = example * call.steps[part][0] + channel * call.steps[part][1];
    char* user = static_cast<char*>(arrays[part]) + offset * dnnl::memory::data_type_size(type);
    planes[part] = array.reordered ? scratch[part].Get(array.own.get_size()) : user;
    if (array.reordered && back == (call.wanted == part)) Reorder(array, back, user, planes[part]);
  };
  for (const Part part : {kInputs, kOutputs}) reorder(part, false);
  Depthwise<T, R> depthwise(some, planes);
  depthwise.Compute(0, depthwise.Units());
  if (call.wanted != kKernel) reorder(static_cast<Part>(call.wanted), true);
  for (Scratch& kept : scratch) kept.Trim();
}

template <class T, class R>
void RunAs(ffi::ThreadPool& pool, const Call& call, int64_t threads, void* const* arrays) {
  if (ArePlanes(call)) return ComputePlanes<T, R>(pool, call, threads, arrays);
  const int64_t blocks = (call.groups + kTogether - 1) / kTogether, examples = call.wanted == kKernel ? 1 : call.batch;
  Divide(pool, threads, blocks * examples, [&](int64_t first, int64_t last) {
    omp_set_num_threads(1);
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t channel = unit % blocks * kTogether;
      ComputeReordered<T, R>(call, unit / blocks, channel, std::min(channel + kTogether, call.groups), arrays);
    }
  });
}

}  // namespace

bool IsDepthwise(const Call& call) {
  const auto crops = [](const Sizes& padding) { return *std::min_element(padding.begin(), padding.end()) < 0; };
  return call.groups > 1 && call.groups == call.channels && !crops(call.low) && !crops(call.high);
}

bool ArePlanes(const Call& call) {
  const auto are = [](const Sizes& sizes, const Sizes& steps) {
    const Sizes dense = Dense(sizes, 1);
    for (size_t axis = 0; axis < sizes.size(); ++axis)
      if (sizes[axis] > 1 && steps[axis + 2] != dense[axis + 2]) return false;
    return true;
  };
  return are(call.sizes, call.steps[kInputs]) && are(call.results, call.steps[kOutputs]);
}

void RunDepthwise(ffi::ThreadPool& pool, const Call& call, int64_t threads, void* const* arrays) {
  if (call.operand_type == 0 && call.result_type == 0) return RunAs<float, float>(pool, call, threads, arrays);
  if (call.operand_type == 0) return RunAs<float, Bfloat16>(pool, call, threads, arrays);
  if (call.result_type == 0) return RunAs<Bfloat16, float>(pool, call, threads, arrays);
  RunAs<Bfloat16, Bfloat16>(pool, call, threads, arrays);
}
