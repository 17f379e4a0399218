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

#include <algorithm>
#include <cstring>

#include "loops.h"
#include "scratch.h"
#include "threads.h"
#include "types.h"

namespace {

namespace ffi = xla::ffi;

typedef float Vector __attribute__((vector_size(64), aligned(4)));  // of floats at any address
constexpr int64_t kLanes = sizeof(Vector) / sizeof(float);
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

// sums[t] += sum_i errors[i] in[i + at[t]]
template <int kTaps>
INLINED void SumBlock(const float* in, const int64_t* at, const float* errors, int64_t length, float* sums) {
  Vector totals[kTaps] = {};
  for (int64_t i = 0; i < length; i += kLanes) {
    const Vector error = *reinterpret_cast<const Vector*>(errors + i);
    for (int t = 0; t < kTaps; ++t) totals[t] += error * *reinterpret_cast<const Vector*>(in + i + at[t]);
  }
  for (int t = 0; t < kTaps; ++t) {
    float total = 0;
    for (int64_t lane = 0; lane < kLanes; ++lane) total += totals[t][lane];
    sums[t] += total;
  }
}

FOR_EACH_PROCESSOR void KernelSums(const float* in, const int64_t* at, int64_t taps, const float* errors,
                                   int64_t length, float* sums) {
  int64_t t = 0;
  for (; t + 9 <= taps; t += 9) SumBlock<9>(in, at + t, errors, length, sums + t);
  for (; t + 3 <= taps; t += 3) SumBlock<3>(in, at + t, errors, length, sums + t);
  for (; t < taps; ++t) SumBlock<1>(in, at + t, errors, length, sums + t);
}

template <class From, class To>
FOR_EACH_PROCESSOR void Copy(const From* __restrict from, int64_t from_step, int64_t count, To* __restrict to,
                             int64_t to_step) {
  if (from_step == 1 && to_step == 1) {
    for (int64_t i = 0; i < count; ++i) Narrow(Wide(from[i]), to + i);
  } else if (from_step == 2) {
    for (int64_t i = 0; i < count; ++i) Narrow(Wide(from[2 * i]), to + i);
  } else if (to_step == 2) {
    for (int64_t i = 0; i < count; ++i) Narrow(Wide(from[i]), to + 2 * i);
  } else {
    for (int64_t i = 0; i < count; ++i) Narrow(Wide(from[i * from_step]), to + i * to_step);
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
  int64_t phase;               // cells of one
  int64_t length;              // from the first output to behind the last
  std::vector<int64_t> at;     // where each tap looks: in its phase ...
  std::vector<int64_t> phases; // ... which is this one

  explicit Grid(const Call& call)
      : sizes(call.sizes, 1), results(call.results, 1), taps(call.taps, 1), strides(call.strides, 1),
        dilation(call.dilation, 1), low(call.low, 0), pitch(call.sizes, 1) {
    for (int axis = 0; axis < 3; ++axis)
      pitch.of[axis] = results[axis] + (taps[axis] - 1) * dilation[axis] / strides[axis];
    phase = pitch.Product();
    length = Flat(results[0] - 1, results[1] - 1, results[2] - 1) + 1;
    for (int64_t a = 0; a < taps[0]; ++a)
      for (int64_t b = 0; b < taps[1]; ++b)
        for (int64_t c = 0; c < taps[2]; ++c) {
          const int64_t z = a * dilation[0], y = b * dilation[1], x = c * dilation[2];
          at.push_back(Flat(z / strides[0], y / strides[1], x / strides[2]));
          phases.push_back(Phase(z, y, x));
        }
  }

  int64_t Flat(int64_t z, int64_t y, int64_t x) const { return (z * pitch[1] + y) * pitch[2] + x; }
  int64_t Phase(int64_t z, int64_t y, int64_t x) const {
    return (z % strides[0] * strides[1] + y % strides[1]) * strides[2] + x % strides[2];
  }

  // Calls `body(place in the plane, step there, count, place in the grid)` for all cells that some window may read.
  template <class Body>
  void ForEachRun(Body body) const {
    for (int64_t z = 0; z < sizes[0]; ++z) {
      const int64_t pz = z + low[0];
      if (pz / strides[0] >= pitch[0]) break;
      for (int64_t y = 0; y < sizes[1]; ++y) {
        const int64_t py = y + low[1];
        if (py / strides[1] >= pitch[1]) break;
        for (int64_t x = 0; x < std::min(strides[2], sizes[2]); ++x) {
          const int64_t px = x + low[2], first = px / strides[2];
          const int64_t count = std::min((sizes[2] - x + strides[2] - 1) / strides[2], pitch[2] - first);
          if (count > 0)
            body((z * sizes[1] + y) * sizes[2] + x, strides[2], count,
                 Phase(pz, py, px) * phase + Flat(pz / strides[0], py / strides[1], first));
        }
      }
    }
  }
  int64_t PlanesPhases() const { return strides.Product(); }
};

template <class T>
void Pack(const Grid& grid, const T* plane, float* padded) {
  grid.ForEachRun([&](int64_t from, int64_t step, int64_t count, int64_t to) {
    Copy(plane + from, step, count, padded + to, 1);
  });
}

// Cells that no window reads have no place in the grid, and become zero.
template <class T>
void Unpack(const Grid& grid, const float* padded, T* plane) {
  std::memset(plane, 0, grid.sizes.Product() * sizeof(T));
  grid.ForEachRun([&](int64_t to, int64_t step, int64_t count, int64_t from) {
    Copy(padded + from, 1, count, plane + to, step);
  });
}

// The outputs among the cells of a phase.
template <class From, class To>
void CopyResults(const Grid& grid, const From* from, bool is_plane, To* to) {
  for (int64_t z = 0; z < grid.results[0]; ++z)
    for (int64_t y = 0; y < grid.results[1]; ++y) {
      const int64_t dense = (z * grid.results[1] + y) * grid.results[2], padded = grid.Flat(z, y, 0);
      Copy(from + (is_plane ? dense : padded), 1, grid.results[2], to + (is_plane ? padded : dense), 1);
    }
}

// One call, whose operands and result have these types.
template <class T, class R>
class Depthwise {
 public:
  Depthwise(const Call& call, void* const* arrays) : call_(call), grid_(call), arrays_(arrays) {}

  void Run(ffi::ThreadPool& pool, int64_t threads) {
    // a kernel gradient is summed over examples by one thread
    const int64_t units = call_.wanted == kKernel ? call_.groups : call_.batch * call_.groups;
    const int64_t parts = std::min(threads, units);
    ForEachPart(pool, parts, [&](int64_t part) {
      const int64_t first = units * part / parts, last = units * (part + 1) / parts;
      if (call_.wanted == kOutputs) Outputs(first, last);
      if (call_.wanted == kInputs) Inputs(first, last);
      if (call_.wanted == kKernel) Kernel(first, last);
    });
  }

 private:
  int64_t Maps() const { return call_.outputs / call_.groups; }
  int64_t Taps() const { return grid_.at.size(); }

  template <class Value>
  Value* Plane(Part part, int64_t example, int64_t channel) const {
    return static_cast<Value*>(arrays_[part]) + example * call_.steps[part][0] + channel * call_.steps[part][1];
  }

  // The place of a tap of an output's kernel.
  int64_t TapPlace(int64_t output, int64_t tap) const {
    const Sizes& steps = call_.steps[kKernel];
    int64_t place = output * steps[0];
    for (size_t axis = call_.taps.size(); axis-- > 0; tap /= call_.taps[axis])
      place += tap % call_.taps[axis] * steps[axis + 2];
    return place;
  }

  // Zeros for a padded plane and for so many planes of errors, and what is not zeroed.
  float* Buffer(int64_t zeros, int64_t others) {
    thread_local Scratch scratch;
    float* buffer = reinterpret_cast<float*>(scratch.Get((zeros + others) * sizeof(float)));
    std::fill_n(buffer, zeros, 0.0f);
    return buffer;
  }

  void Outputs(int64_t first, int64_t last) {
    const int64_t padded_length = grid_.PlanesPhases() * grid_.phase + kMargin, taps = Taps();
    float* padded = Buffer(padded_length, grid_.length + kMargin);
    float* found = padded + padded_length;
    std::vector<int64_t> at(taps);
    std::vector<float> weights(taps);
    for (int64_t t = 0; t < taps; ++t) at[t] = grid_.phases[t] * grid_.phase + grid_.at[t];
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t example = unit / call_.groups, channel = unit % call_.groups;
      Pack(grid_, Plane<T>(kInputs, example, channel), padded);
      for (int64_t output = channel * Maps(); output < (channel + 1) * Maps(); ++output) {
        for (int64_t t = 0; t < taps; ++t) weights[t] = Wide(static_cast<T*>(arrays_[kKernel])[TapPlace(output, t)]);
        Filter(padded, at.data(), weights.data(), taps, grid_.length, found);
        CopyResults(grid_, found, false, Plane<R>(kOutputs, example, output));
      }
    }
  }

  void Inputs(int64_t first, int64_t last) {
    const int64_t reach = *std::max_element(grid_.at.begin(), grid_.at.end());
    const int64_t errors_length = reach + grid_.phase + kMargin, phases = grid_.PlanesPhases();
    float* errors = Buffer(Maps() * errors_length, phases * grid_.phase + kMargin);
    float* sums = errors + Maps() * errors_length;
    std::vector<int64_t> at;
    std::vector<std::pair<int64_t, int64_t>> places;  // map and tap
    std::vector<int64_t> begins;                      // of each phase's taps
    for (int64_t phase = 0; phase < phases; ++phase) {
      begins.push_back(at.size());
      for (int64_t map = 0; map < Maps(); ++map)
        for (int64_t t = 0; t < Taps(); ++t)
          if (grid_.phases[t] == phase) {
            at.push_back(map * errors_length + reach - grid_.at[t]);
            places.emplace_back(map, t);
          }
    }
    begins.push_back(at.size());
    std::vector<float> weights(at.size());
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t example = unit / call_.groups, channel = unit % call_.groups;
      for (int64_t map = 0; map < Maps(); ++map)
        CopyResults(grid_, Plane<T>(kOutputs, example, channel * Maps() + map), true,
                    errors + map * errors_length + reach);
      for (size_t i = 0; i < at.size(); ++i)
        weights[i] = Wide(static_cast<T*>(arrays_[kKernel])[TapPlace(channel * Maps() + places[i].first, places[i].second)]);
      for (int64_t phase = 0; phase < phases; ++phase)  // in order, as each overwrites a little of the next
        Filter(errors, at.data() + begins[phase], weights.data() + begins[phase], begins[phase + 1] - begins[phase],
               grid_.phase, sums + phase * grid_.phase);
      Unpack(grid_, sums, Plane<R>(kInputs, example, channel));
    }
  }

  void Kernel(int64_t first, int64_t last) {
    const int64_t padded_length = grid_.PlanesPhases() * grid_.phase + kMargin, taps = Taps();
    float* padded = Buffer(padded_length + grid_.length + kMargin, Maps() * taps);
    float* errors = padded + padded_length;
    float* sums = errors + grid_.length + kMargin;
    std::vector<int64_t> at(taps);
    for (int64_t t = 0; t < taps; ++t) at[t] = grid_.phases[t] * grid_.phase + grid_.at[t];
    for (int64_t channel = first; channel < last; ++channel) {
      std::fill_n(sums, Maps() * taps, 0.0f);
      for (int64_t example = 0; example < call_.batch; ++example) {
        Pack(grid_, Plane<T>(kInputs, example, channel), padded);
        for (int64_t map = 0; map < Maps(); ++map) {
          CopyResults(grid_, Plane<T>(kOutputs, example, channel * Maps() + map), true, errors);
          KernelSums(padded, at.data(), taps, errors, grid_.length, sums + map * taps);
        }
      }
      for (int64_t map = 0; map < Maps(); ++map)
        for (int64_t t = 0; t < taps; ++t)
          Narrow(sums[map * taps + t],
                 static_cast<R*>(arrays_[kKernel]) + TapPlace(channel * Maps() + map, t));
    }
  }

  const Call& call_;
  const Grid grid_;
  void* const* arrays_;
};

bool ArePlanes(const Sizes& sizes, const Sizes& steps) {
  int64_t step = 1;
  for (size_t axis = sizes.size(); axis-- > 0; step *= sizes[axis])
    if (sizes[axis] > 1 && steps[axis + 2] != step) return false;
  return true;
}

}  // namespace

bool IsDepthwise(const Call& call) {
  const auto crops = [](const Sizes& padding) { return *std::min_element(padding.begin(), padding.end()) < 0; };
  return call.groups > 1 && call.groups == call.channels && !crops(call.low) && !crops(call.high) && ArePlanes(call.sizes, call.steps[kInputs]) &&
         ArePlanes(call.results, call.steps[kOutputs]);
}

void RunDepthwise(ffi::ThreadPool& pool, const Call& call, int64_t threads, void* const* arrays) {
  if (call.operand_type == 0 && call.result_type == 0) return Depthwise<float, float>(call, arrays).Run(pool, threads);
  if (call.operand_type == 0) return Depthwise<float, Bfloat16>(call, arrays).Run(pool, threads);
  if (call.result_type == 0) return Depthwise<Bfloat16, float>(call, arrays).Run(pool, threads);
  Depthwise<Bfloat16, Bfloat16>(call, arrays).Run(pool, threads);
}
