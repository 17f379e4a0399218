// The loops of depthwise.h: threads divide the planes.

#include "depthwise.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "plan.h"
#include "planes.h"
#include "scratch.h"
#include "threads.h"
#include "types.h"

namespace {

namespace ffi = xla::ffi;

constexpr int64_t kTogether = 16;  // channels that are reordered together: a line of cache

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
    const int64_t channels = part == kInputs ? some.channels : some.outputs;
    const int64_t channel = part == kInputs ? first : first * maps;
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
    const TeamSize one(1);
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
