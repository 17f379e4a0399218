// A plane, the cells of one channel of one example, and the sums over its windows. For depthwise.cc alone.
//
// It is copied between borders of zeros. With strides s, its cells are divided among s phases in each axis, so that
// neighbors for a tap are neighbors in memory. In that grid, of which all phases have the same pitch, the tap t of the
// output with the flat index i is the cell i + at[t]: in any number of axes and with any stride and dilation,
// convolution is one sum
//
//     y[i] = sum_t w[t] x[i + at[t]],    x'[j] = sum_t w[t] e[j - at[t]],    w'[t] = sum_i e[i] x[i + at[t]],
//
// computed also for the few i behind the end of a row, where errors are zero and outputs are left out.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "call.h"
#include "loops.h"
#include "types.h"

namespace {

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

}  // namespace
