// Max-pooling with switches, and the way back, as XLA custom calls for CPU: (1) and (2) of switches.py, to the bit but
// for the order of sums. Loops of our own: oneDNN's max-pooling takes no notice of a NaN.
//
// A call is described by one array of integers, written by pool.py.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "loops.h"
#include "threads.h"
#include "types.h"

namespace {

namespace ffi = xla::ffi;

// What a call says; axes are depth, height and width, the first ones of size 1 where there are fewer.
struct Sizes {
  int64_t devices, batch, channels;
  int64_t sizes[3], taps[3], results[3], strides[3], dilation[3], low[3];
};

constexpr int64_t kLeast = 64 << 10;  // inputs that are worth waking a thread for
constexpr uint8_t kNoWinner = std::numeric_limits<uint8_t>::max() - 1;  // the switch of a window of padding alone

// The outputs of a row that look at a cell of the input through the tap `c`: those from `first` to before `last`, the
// first one at the cell `start`.
struct Seen {
  int64_t first, last, start;

  Seen(const Sizes& pool, int64_t c) {
    const int64_t offset = c * pool.dilation[2] - pool.low[2], stride = pool.strides[2], reach = pool.sizes[2] - offset;
    first = offset < 0 ? (stride - 1 - offset) / stride : 0;
    last = std::min(pool.results[2], reach > 0 ? (reach + stride - 1) / stride : 0);
    start = first * stride + offset;
  }

  int64_t Count() const { return std::max<int64_t>(last - first, 0); }
};

// Everything static about a call.
struct Pool : Sizes {
  std::vector<Seen> seen;  // by each tap of a row

  explicit Pool(ffi::Span<const int64_t> call) {
    std::memcpy(static_cast<Sizes*>(this), call.begin(), sizeof(Sizes));
    for (int64_t c = 0; c < taps[2]; ++c) seen.emplace_back(*this, c);
  }

  // Where channels are one, the cells of a row make the vectors. Those that one tap looks at are neighbors once the row
  // is split into phases, by the cells' number modulo the stride.
  bool Splits() const { return channels == 1 && strides[2] > 1; }
  int64_t PhaseLength() const { return (sizes[2] + strides[2] - 1) / strides[2]; }
  int64_t InPhase(int64_t cell) const { return cell % strides[2] * PhaseLength() + cell / strides[2]; }
};

template <class T>
FOR_EACH_PROCESSOR void Split(const T* __restrict row, int64_t length, int64_t stride, int64_t phase_length,
                              T* __restrict phases) {
  if (stride == 2) {
    for (int64_t u = 0; u < length / 2; ++u) {
      phases[u] = row[2 * u];
      phases[phase_length + u] = row[2 * u + 1];
    }
    if (length % 2) phases[length / 2] = row[length - 1];
    return;
  }
  for (int64_t phase = 0; phase < stride; ++phase)
    for (int64_t u = 0, cell = phase; cell < length; ++u, cell += stride) phases[phase * phase_length + u] = row[cell];
}

FOR_EACH_PROCESSOR void Merge(const float* __restrict phases, int64_t length, int64_t stride, int64_t phase_length,
                              float* __restrict row) {
  if (stride == 2) {
    for (int64_t u = 0; u < length / 2; ++u) {
      row[2 * u] = phases[u];
      row[2 * u + 1] = phases[phase_length + u];
    }
    if (length % 2) row[length - 1] = phases[length / 2];
    return;
  }
  for (int64_t phase = 0; phase < stride; ++phase)
    for (int64_t u = 0, cell = phase; cell < length; ++u, cell += stride) row[cell] = phases[phase * phase_length + u];
}

// In each of `cells` cells, `step` values apart, takes what is larger, or the first NaN.
template <class T>
FOR_EACH_PROCESSOR void Win(const T* __restrict values, int64_t step, int64_t cells, int64_t channels, uint8_t tap,
                            float* __restrict best, uint8_t* __restrict switches) {
  for (int64_t x = 0; x < cells; ++x, values += step, best += channels, switches += channels) {
    for (int64_t c = 0; c < channels; ++c) {
      const float value = Wide(values[c]);
      const bool wins = !(value <= best[c]) & (best[c] == best[c]);
      best[c] = wins ? value : best[c];
      switches[c] = wins ? tap : switches[c];
    }
  }
}

// From each of `cells` outputs, adds the errors whose switches name this tap to cells that are `step` values apart.
template <class T>
FOR_EACH_PROCESSOR void Send(const T* __restrict errors, const uint8_t* __restrict switches, uint8_t tap,
                             int64_t cells, int64_t channels, int64_t step, float* __restrict sums) {
  for (int64_t x = 0; x < cells; ++x, errors += channels, switches += channels, sums += step)
    for (int64_t c = 0; c < channels; ++c) sums[c] += WideIf(switches[c] == tap, errors[c]);
}

FOR_EACH_PROCESSOR void Round(const float* __restrict wide, int64_t length, Bfloat16* __restrict narrow) {
  for (int64_t at = 0; at < length; ++at) Narrow(wide[at], narrow + at);
}

uint8_t Number(const Pool& pool, int64_t a, int64_t b, int64_t c) {
  return static_cast<uint8_t>((a * pool.taps[1] + b) * pool.taps[2] + c);
}

// The row of outputs `(n, z, y)`; the taps come in row-major order.
template <class T>
void PoolRow(const Pool& pool, const T* inputs, int64_t n, int64_t z, int64_t y, float* best, uint8_t* switches) {
  const int64_t length = pool.results[2] * pool.channels;
  thread_local std::vector<T> phases;
  std::fill_n(best, length, -std::numeric_limits<float>::infinity());
  std::fill_n(switches, length, kNoWinner);
  bool first_row = true;  // of taps that look at the input
  for (int64_t a = 0; a < pool.taps[0]; ++a) {
    const int64_t iz = z * pool.strides[0] + a * pool.dilation[0] - pool.low[0];
    if (iz < 0 || iz >= pool.sizes[0]) continue;
    for (int64_t b = 0; b < pool.taps[1]; ++b) {
      const int64_t iy = y * pool.strides[1] + b * pool.dilation[1] - pool.low[1];
      if (iy < 0 || iy >= pool.sizes[1]) continue;
      const T* row = inputs + ((n * pool.sizes[0] + iz) * pool.sizes[1] + iy) * pool.sizes[2] * pool.channels;
      if (first_row) {  // each output's first tap wins for now, even if it is -inf
        for (int64_t c = pool.taps[2] - 1; c >= 0; --c) {
          const Seen& seen = pool.seen[c];
          std::fill_n(switches + seen.first * pool.channels, seen.Count() * pool.channels, Number(pool, a, b, c));
        }
        first_row = false;
      }
      if (pool.Splits()) {
        phases.resize(pool.strides[2] * pool.PhaseLength());
        Split(row, pool.sizes[2], pool.strides[2], pool.PhaseLength(), phases.data());
      }
      for (int64_t c = 0; c < pool.taps[2]; ++c) {
        const Seen& seen = pool.seen[c];
        const uint8_t tap = Number(pool, a, b, c);
        if (pool.channels == 1) {
          const T* values = pool.Splits() ? phases.data() + pool.InPhase(seen.start) : row + seen.start;
          if (seen.Count() > 0) Win(values, 0, 1, seen.Count(), tap, best + seen.first, switches + seen.first);
        } else {
          Win(row + seen.start * pool.channels, pool.strides[2] * pool.channels, seen.Count(), pool.channels, tap,
              best + seen.first * pool.channels, switches + seen.first * pool.channels);
        }
      }
    }
  }
}

// The output, along one axis, that looks at a cell through a tap; -1 if none does.
int64_t Looking(const Pool& pool, int axis, int64_t cell, int64_t tap) {
  const int64_t ahead = cell + pool.low[axis] - tap * pool.dilation[axis];
  if (ahead < 0 || ahead % pool.strides[axis] != 0) return -1;
  const int64_t output = ahead / pool.strides[axis];
  return output < pool.results[axis] ? output : -1;
}

// The row of inputs `(n, z, y)`.
template <class T>
void RouteRow(const Pool& pool, const T* errors, const uint8_t* switches, int64_t n, int64_t z, int64_t y,
              float* row_sums) {
  thread_local std::vector<float> phases;
  float* sums = row_sums;
  if (pool.Splits()) {
    phases.assign(pool.strides[2] * pool.PhaseLength(), 0.0f);
    sums = phases.data();
  } else {
    std::fill_n(sums, pool.sizes[2] * pool.channels, 0.0f);
  }
  for (int64_t a = 0; a < pool.taps[0]; ++a) {
    const int64_t oz = Looking(pool, 0, z, a);
    if (oz < 0) continue;
    for (int64_t b = 0; b < pool.taps[1]; ++b) {
      const int64_t oy = Looking(pool, 1, y, b);
      if (oy < 0) continue;
      const int64_t row = ((n * pool.results[0] + oz) * pool.results[1] + oy) * pool.results[2] * pool.channels;
      for (int64_t c = 0; c < pool.taps[2]; ++c) {
        const Seen& seen = pool.seen[c];
        const int64_t at = row + seen.first * pool.channels;
        const uint8_t tap = Number(pool, a, b, c);
        if (pool.channels == 1) {
          const int64_t cell = pool.Splits() ? pool.InPhase(seen.start) : seen.start;
          if (seen.Count() > 0) Send(errors + at, switches + at, tap, 1, seen.Count(), 0, sums + cell);
        } else {
          Send(errors + at, switches + at, tap, seen.Count(), pool.channels, pool.strides[2] * pool.channels,
               sums + seen.start * pool.channels);
        }
      }
    }
  }
  if (pool.Splits()) Merge(sums, pool.sizes[2], pool.strides[2], pool.PhaseLength(), row_sums);
}

// Calls `row` for every row `(n, z, y)` of these sizes.
template <class Row>
void ForEachRow(ffi::ThreadPool& threads, const Pool& pool, const int64_t* sizes, Row row) {
  const int64_t rows = pool.batch * sizes[0] * sizes[1];
  const int64_t inputs = pool.batch * pool.sizes[0] * pool.sizes[1] * pool.sizes[2] * pool.channels;
  const int64_t parts = Parts(threads, pool.devices, inputs / kLeast);
  ForEachPart(threads, parts, [&](int64_t part) {
    for (int64_t r = rows * part / parts; r < rows * (part + 1) / parts; ++r)
      row(r, r / (sizes[0] * sizes[1]), r / sizes[1] % sizes[0], r % sizes[1]);
  });
}

// A row is computed in float32: where it lies, or aside, and then rounded.
template <class Row>
void Compute(int64_t, float* row, Row compute) {
  compute(row);
}

template <class Row>
void Compute(int64_t length, Bfloat16* row, Row compute) {
  thread_local std::vector<float> wide;
  wide.resize(length);
  compute(wide.data());
  Round(wide.data(), length, row);
}

template <class T>
void PoolAll(ffi::ThreadPool& threads, const Pool& pool, const T* inputs, T* best, uint8_t* switches) {
  const int64_t length = pool.results[2] * pool.channels;
  ForEachRow(threads, pool, pool.results, [&](int64_t row, int64_t n, int64_t z, int64_t y) {
    Compute(length, best + row * length,
            [&](float* found) { PoolRow(pool, inputs, n, z, y, found, switches + row * length); });
  });
}

template <class T>
void RouteAll(ffi::ThreadPool& threads, const Pool& pool, const T* errors, const uint8_t* switches, T* sums) {
  const int64_t length = pool.sizes[2] * pool.channels;
  ForEachRow(threads, pool, pool.sizes, [&](int64_t row, int64_t n, int64_t z, int64_t y) {
    Compute(length, sums + row * length, [&](float* found) { RouteRow(pool, errors, switches, n, z, y, found); });
  });
}

ffi::Error MaxPool(ffi::ThreadPool threads, ffi::AnyBuffer inputs, ffi::Result<ffi::AnyBuffer> pooled,
                   ffi::Result<ffi::Buffer<ffi::U8>> switches, ffi::Span<const int64_t> call) {
  return ForType(inputs, [&](auto type) {
    PoolAll(threads, Pool(call), Data(inputs, type), Data(*pooled, type), switches->typed_data());
  });
}

ffi::Error Route(ffi::ThreadPool threads, ffi::AnyBuffer errors, ffi::Buffer<ffi::U8> switches,
                 ffi::Result<ffi::AnyBuffer> sums, ffi::Span<const int64_t> call) {
  return ForType(errors, [&](auto type) {
    RouteAll(threads, Pool(call), Data(errors, type), switches.typed_data(), Data(*sums, type));
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxcnn_max_pool, MaxPool,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::Buffer<ffi::U8>>()
                                  .Attr<ffi::Span<const int64_t>>("call"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxcnn_max_route, Route,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::Buffer<ffi::U8>>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<ffi::Span<const int64_t>>("call"));
