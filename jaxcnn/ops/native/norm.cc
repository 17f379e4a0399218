// Batch normalization in training, with the shortcut and ReLU that may follow, as XLA custom calls for CPU: those parts
// of the rule in norm.py that read whole arrays, each in one pass over memory.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "loops.h"
#include "threads.h"
#include "types.h"

namespace {

namespace ffi = xla::ffi;

constexpr int64_t kLanes = 128;       // to which rows of few channels are folded
constexpr int64_t kLeast = 64 << 10;  // numbers that are worth waking a thread for
constexpr int64_t kChunk = 16 << 10;  // numbers that are summed in float32, before sums go on in float64

enum Row : int64_t { kMean, kFactor, kBias, kShift, kSlope };  // of the numbers that a call is given for each channel

// An array `(*batch, C)` as lines of lanes. Several rows of few channels are one line, so that every loop over lanes is
// long; lane l is of channel l mod C.
struct Lines {
  int64_t channels, lanes, lines = 1;

  explicit Lines(ffi::AnyBuffer::Dimensions sizes) : channels(sizes.back()), lanes(channels) {
    for (size_t axis = 0; axis + 1 < sizes.size(); ++axis) lines *= sizes[axis];
    while (lines % 2 == 0 && 2 * lanes <= kLanes) {
      lines /= 2;
      lanes *= 2;
    }
  }

  // Rows of one number for each channel, as rows of one number for each lane.
  std::vector<float> Spread(const float* numbers, int64_t rows) const {
    std::vector<float> spread(rows * lanes);
    for (int64_t at = 0; at < rows * lanes; ++at) spread[at] = numbers[at / lanes * channels + at % lanes % channels];
    return spread;
  }

  int64_t PartsFor(const ffi::ThreadPool& pool, int64_t devices) const {
    return Parts(pool, devices, lines * lanes / kLeast);
  }

  // Calls `body(part, first, last)` for chunks of lines that stay in a core's cache, those of a part in order.
  template <class Body>
  void ForEachChunk(ffi::ThreadPool& pool, int64_t parts, Body body) const {
    const int64_t step = std::max<int64_t>(4, kChunk / lanes);
    ForEachPart(pool, parts, [&](int64_t part) {
      const int64_t end = lines * (part + 1) / parts;
      for (int64_t first = lines * part / parts; first < end; first += step)
        body(part, first, std::min(first + step, end));
    });
  }
};

INLINED float Normalized(float x, float mean, float factor, float bias) { return (x - mean) * factor + bias; }

template <class T>
FOR_EACH_PROCESSOR void Add(const T* __restrict x, int64_t lines, int64_t lanes, float* __restrict sums) {
  for (int64_t i = 0; i < lines; ++i, x += lanes)
    for (int64_t l = 0; l < lanes; ++l) sums[l] += Wide(x[l]);
}

template <class T>
FOR_EACH_PROCESSOR void AddSquares(const T* __restrict x, const float* __restrict means, int64_t lines, int64_t lanes,
                                   float* __restrict sums) {
  for (int64_t i = 0; i < lines; ++i, x += lanes)
    for (int64_t l = 0; l < lanes; ++l) sums[l] += (Wide(x[l]) - means[l]) * (Wide(x[l]) - means[l]);
}

template <class T, bool kShortcut, bool kRelu>
FOR_EACH_PROCESSOR void Normalize(const T* __restrict x, const T* __restrict shortcut, const float* __restrict numbers,
                                  int64_t lines, int64_t lanes, T* __restrict y) {
  const float *mean = numbers + kMean * lanes, *factor = numbers + kFactor * lanes, *bias = numbers + kBias * lanes;
  for (int64_t i = 0; i < lines; ++i, x += lanes, y += lanes) {
    for (int64_t l = 0; l < lanes; ++l) {
      float z = Normalized(Wide(x[l]), mean[l], factor[l], bias[l]);
      if (kShortcut) z += Wide(shortcut[l]);
      if (kRelu) z = z < 0 ? 0 : z;  // keeps a NaN
      Narrow(z, y + l);
    }
    if (kShortcut) shortcut += lanes;
  }
}

// What ReLU lets pass of an error: told by y where it is at hand, else by computing it again.
template <class T, bool kRelu, bool kOutputs>
INLINED float Passed(T error, T x, const T* y, float mean, float factor, float bias) {
  if (!kRelu) return Wide(error);
  return WideIf((kOutputs ? Wide(*y) : Normalized(Wide(x), mean, factor, bias)) > 0, error);
}

template <class T, bool kRelu, bool kOutputs>
FOR_EACH_PROCESSOR void AddErrors(const T* __restrict errors, const T* __restrict x, const T* __restrict y,
                                  const float* __restrict numbers, int64_t lines, int64_t lanes, T* __restrict passed,
                                  float* __restrict sums, float* __restrict moments) {
  const float *mean = numbers + kMean * lanes, *factor = numbers + kFactor * lanes, *bias = numbers + kBias * lanes;
  for (int64_t i = 0; i < lines; ++i, errors += lanes, x += lanes) {
    for (int64_t l = 0; l < lanes; ++l) {
      const float error = Passed<T, kRelu, kOutputs>(errors[l], x[l], y + l, mean[l], factor[l], bias[l]);
      if (kOutputs) Narrow(error, passed + l);
      sums[l] += error;
      moments[l] += error * (Wide(x[l]) - mean[l]);
    }
    if (kOutputs) y += lanes, passed += lanes;
  }
}

template <class T, bool kRelu>
FOR_EACH_PROCESSOR void SendBack(const T* __restrict errors, const T* __restrict x, const float* __restrict numbers,
                                 int64_t lines, int64_t lanes, T* __restrict gradients) {
  const float *mean = numbers + kMean * lanes, *factor = numbers + kFactor * lanes, *bias = numbers + kBias * lanes;
  const float *shift = numbers + kShift * lanes, *slope = numbers + kSlope * lanes;
  for (int64_t i = 0; i < lines; ++i, errors += lanes, x += lanes, gradients += lanes)
    for (int64_t l = 0; l < lanes; ++l) {
      const float error = Passed<T, kRelu, false>(errors[l], x[l], nullptr, mean[l], factor[l], bias[l]);
      Narrow(factor[l] * error - shift[l] - slope[l] * (Wide(x[l]) - mean[l]), gradients + l);
    }
}

// Count, mean and sum of squared deviations of some numbers; two of them merge into that of all their numbers
// (Chan, Golub & LeVeque 1979).
struct Moments {
  double count = 0, mean = 0, squares = 0;

  void Merge(const Moments& other) {
    if (other.count == 0) return;
    const double all = count + other.count, apart = other.mean - mean;
    squares += other.squares + apart * apart * count * other.count / all;
    mean += apart * other.count / all;
    count = all;
  }
};

template <class T>
void FindMoments(ffi::ThreadPool& pool, const T* x, const Lines& all, int64_t parts, float* mean, float* variance) {
  std::vector<std::vector<Moments>> found(parts, std::vector<Moments>(all.lanes));
  all.ForEachChunk(pool, parts, [&](int64_t part, int64_t first, int64_t last) {
    thread_local std::vector<float> sums, squares;
    const float count = last - first;
    sums.assign(all.lanes, 0);
    squares.assign(all.lanes, 0);
    Add(x + first * all.lanes, last - first, all.lanes, sums.data());
    for (float& sum : sums) sum /= count;
    AddSquares(x + first * all.lanes, sums.data(), last - first, all.lanes, squares.data());
    for (int64_t l = 0; l < all.lanes; ++l) found[part][l].Merge({count, sums[l], squares[l]});
  });
  for (int64_t c = 0; c < all.channels; ++c) {
    Moments whole;
    for (const auto& own : found)
      for (int64_t l = c; l < all.lanes; l += all.channels) whole.Merge(own[l]);
    mean[c] = static_cast<float>(whole.mean);
    variance[c] = static_cast<float>(whole.squares / whole.count);
  }
}

template <class T, bool kRelu, bool kOutputs>
void SumErrors(ffi::ThreadPool& pool, const T* errors, const T* x, const T* y, const float* numbers, const Lines& all,
               int64_t parts, T* passed, float* sum, float* moment) {
  const auto spread = all.Spread(numbers, kBias + 1);
  std::vector<std::vector<double>> found(parts, std::vector<double>(2 * all.lanes));
  all.ForEachChunk(pool, parts, [&](int64_t part, int64_t first, int64_t last) {
    thread_local std::vector<float> sums;
    sums.assign(2 * all.lanes, 0);
    const int64_t at = first * all.lanes;
    AddErrors<T, kRelu, kOutputs>(errors + at, x + at, kOutputs ? y + at : y, spread.data(), last - first, all.lanes,
                                  kOutputs ? passed + at : passed, sums.data(), sums.data() + all.lanes);
    for (int64_t l = 0; l < 2 * all.lanes; ++l) found[part][l] += sums[l];
  });
  for (int64_t c = 0; c < all.channels; ++c) {
    double both[2] = {0, 0};
    for (const auto& own : found)
      for (int64_t l = c; l < 2 * all.lanes; l += all.channels) both[l >= all.lanes] += own[l];
    sum[c] = static_cast<float>(both[0]);
    moment[c] = static_cast<float>(both[1]);
  }
}

using Array = ffi::AnyBuffer;
using Result = ffi::Result<ffi::AnyBuffer>;
using Numbers = ffi::Buffer<ffi::F32>;

ffi::Error HandleMoments(ffi::ThreadPool pool, Array x, ffi::Result<Numbers> mean, ffi::Result<Numbers> variance,
                         int64_t devices) {
  return ForType(x, [&](auto type) {
    const Lines all(x.dimensions());
    FindMoments(pool, Data(x, type), all, all.PartsFor(pool, devices), mean->typed_data(), variance->typed_data());
  });
}

// An array of no elements is one that does not take part.
ffi::Error HandleNormalize(ffi::ThreadPool pool, Array x, Array shortcut, Numbers numbers, Result y, bool relu,
                           int64_t devices) {
  const Lines all(x.dimensions());
  return ForType(x, [&](auto type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const bool added = shortcut.element_count() > 0;
    const auto loop = added ? (relu ? Normalize<T, true, true> : Normalize<T, true, false>)
                            : (relu ? Normalize<T, false, true> : Normalize<T, false, false>);
    const auto spread = all.Spread(numbers.typed_data(), kBias + 1);
    all.ForEachChunk(pool, all.PartsFor(pool, devices), [&](int64_t, int64_t first, int64_t last) {
      const int64_t at = first * all.lanes;
      loop(Data(x, type) + at, Data(shortcut, type) + (added ? at : 0), spread.data(), last - first, all.lanes,
           Data(*y, type) + at);
    });
  });
}

ffi::Error HandleSums(ffi::ThreadPool pool, Array errors, Array x, Array y, Numbers numbers, Result passed,
                      ffi::Result<Numbers> sum, ffi::Result<Numbers> moment, bool relu, int64_t devices) {
  return ForType(x, [&](auto type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const auto loop = y.element_count() > 0 ? SumErrors<T, true, true>
                      : relu                ? SumErrors<T, true, false>
                                            : SumErrors<T, false, false>;
    const Lines all(x.dimensions());
    loop(pool, Data(errors, type), Data(x, type), Data(y, type), numbers.typed_data(), all,
         all.PartsFor(pool, devices), Data(*passed, type), sum->typed_data(), moment->typed_data());
  });
}

ffi::Error HandleGradient(ffi::ThreadPool pool, Array errors, Array x, Numbers numbers, Result gradient, bool relu,
                          int64_t devices) {
  const Lines all(x.dimensions());
  return ForType(x, [&](auto type) {
    using T = std::remove_pointer_t<decltype(type)>;
    const auto loop = relu ? SendBack<T, true> : SendBack<T, false>;
    const auto spread = all.Spread(numbers.typed_data(), kSlope + 1);
    all.ForEachChunk(pool, all.PartsFor(pool, devices), [&](int64_t, int64_t first, int64_t last) {
      const int64_t at = first * all.lanes;
      loop(Data(errors, type) + at, Data(x, type) + at, spread.data(), last - first, all.lanes,
           Data(*gradient, type) + at);
    });
  });
}

// A loop over one array, or two, with numbers for each channel.
auto Elementwise() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Array>()
      .Arg<Array>()
      .Arg<Numbers>()
      .Ret<Array>()
      .Attr<bool>("relu")
      .Attr<int64_t>("devices");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxcnn_norm_moments, HandleMoments,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Ret<Numbers>()
                                  .Ret<Numbers>()
                                  .Attr<int64_t>("devices"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxcnn_norm_normalize, HandleNormalize, Elementwise());

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxcnn_norm_sums, HandleSums,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Numbers>()
                                  .Ret<Array>()
                                  .Ret<Numbers>()
                                  .Ret<Numbers>()
                                  .Attr<bool>("relu")
                                  .Attr<int64_t>("devices"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxcnn_norm_gradient, HandleGradient, Elementwise());
