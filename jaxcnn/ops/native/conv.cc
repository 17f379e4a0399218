// Convolution and its two gradients by oneDNN, as one XLA custom call for CPU.
//
// A call is described by one array of integers (`Call`), written by form.py. It is also the key under which the
// prepared primitive is kept.

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "oneapi/dnnl/dnnl.hpp"
#include "loops.h"
#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;
using dnnl::memory;
using Key = std::vector<int64_t>;

constexpr size_t kPlans = 512;              // primitives kept; the oldest goes first
constexpr size_t kKeptScratch = 64u << 20;  // bytes of scratch that a thread keeps between calls
constexpr int64_t kLeastProducts = 1 << 21;  // that are worth waking a thread for
constexpr int64_t kLeastSums = 64 << 10;     // the same
constexpr int64_t kLeastCells = 512;         // that a kernel gradient sums, so that another sum costs little beside it

// The three arrays of a convolution, in the order of a call's operands; the one that is wanted is its result.
enum Part : int64_t { kInputs, kKernel, kOutputs };

constexpr size_t kBatch = 5;  // the place of this field in a call

// The array that describes a call, field by field.
struct Call {
  int64_t wanted, operand_type, result_type, devices, groups, batch, channels, outputs;
  memory::dims sizes, taps, results, strides, dilation, low, high;

  explicit Call(const Key& key) {
    const int64_t* field = key.data();
    for (int64_t* target : {&wanted, &operand_type, &result_type, &devices, &groups, &batch, &channels, &outputs})
      *target = *field++;
    const size_t rank = (key.size() - 8) / 7;
    for (memory::dims* target : {&sizes, &taps, &results, &strides, &dilation, &low, &high}) {
      target->assign(field, field + rank);
      field += rank;
    }
    for (auto& gap : dilation) gap -= 1;  // oneDNN counts the gaps between taps
  }

  int64_t Products() const {
    int64_t count = batch * outputs * (channels / groups);
    for (int64_t size : results) count *= size;
    for (int64_t size : taps) count *= size;
    return count;
  }
};

memory::data_type Type(int64_t code) { return code == 0 ? memory::data_type::f32 : memory::data_type::bf16; }

memory::dims Joined(memory::dims head, const memory::dims& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

// `(N, *spatial, C)` in oneDNN's order of axes, `(N, C, *spatial)`.
memory::desc Images(int64_t batch, int64_t channels, const memory::dims& sizes, memory::data_type type) {
  using tag = memory::format_tag;
  const tag last[] = {tag::nwc, tag::nhwc, tag::ndhwc};
  return {Joined({batch, channels}, sizes), type, last[sizes.size() - 1]};
}

// `(*window, I, O)`, where the groups are the major part of O, in the order `([G], O, I, *window)`.
memory::desc Kernel(const Call& call, memory::data_type type, bool blocked) {
  using tag = memory::format_tag;
  const tag plain[] = {tag::wio, tag::hwio, tag::dhwio}, grouped[] = {tag::wigo, tag::hwigo, tag::dhwigo};
  const int64_t g = call.groups;
  memory::dims dims = Joined({call.outputs / g, call.channels / g}, call.taps);
  if (g > 1) dims.insert(dims.begin(), g);
  const size_t axes = call.taps.size() - 1;
  return {dims, type, blocked ? tag::any : g > 1 ? grouped[axes] : plain[axes]};
}

const dnnl::engine& Engine() {
  static const auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);  // never destroyed: threads may outlive main
  return *engine;
}

// A primitive with the descriptions of its three arrays, and the kernel's reorder between XLA's layout and oneDNN's.
struct Plan {
  dnnl::primitive conv, reorder;
  memory::desc images, kernel, own_kernel, results, scratch, reorder_scratch;
  std::string implementation;
  bool reordered = false;
};

dnnl::primitive_attr Attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // so that threads may share a primitive
  return attributes;
}

template <class Description>
void Take(Plan& plan, const Description& description) {
  plan.scratch = description.scratchpad_desc();
  plan.implementation = description.impl_info_str();
}

Plan MakePlan(const Call& call) {
  using namespace dnnl;
  const auto algorithm = algorithm::convolution_direct;
  const auto operand = Type(call.operand_type), result = Type(call.result_type);
  const auto images = [&](memory::data_type type) { return Images(call.batch, call.channels, call.sizes, type); };
  const auto results = [&](memory::data_type type) { return Images(call.batch, call.outputs, call.results, type); };
  const auto attributes = Attributes();
  Plan plan;
  plan.images = images(call.wanted == kInputs ? result : operand);
  plan.kernel = Kernel(call, call.wanted == kKernel ? result : operand, false);
  plan.results = results(call.wanted == kOutputs ? result : operand);
  const auto any = Kernel(call, call.wanted == kKernel ? result : operand, true);
  const auto hint = [&] {
    return convolution_forward::primitive_desc(Engine(), prop_kind::forward_training, algorithm, images(operand),
                                               Kernel(call, operand, true), results(operand), call.strides,
                                               call.dilation, call.low, call.high);
  };
  if (call.wanted == kOutputs) {
    convolution_forward::primitive_desc found(Engine(), prop_kind::forward_training, algorithm, plan.images, any,
                                              plan.results, call.strides, call.dilation, call.low, call.high,
                                              attributes);
    Take(plan, found);
    plan.own_kernel = found.weights_desc();
    plan.conv = convolution_forward(found);
  } else if (call.wanted == kInputs) {
    convolution_backward_data::primitive_desc found(Engine(), algorithm, plan.images, any, plan.results, call.strides,
                                                    call.dilation, call.low, call.high, hint(), attributes);
    Take(plan, found);
    plan.own_kernel = found.weights_desc();
    plan.conv = convolution_backward_data(found);
  } else {
    convolution_backward_weights::primitive_desc found(Engine(), algorithm, plan.images, any, plan.results,
                                                       call.strides, call.dilation, call.low, call.high, hint(),
                                                       attributes);
    Take(plan, found);
    plan.own_kernel = found.diff_weights_desc();
    plan.conv = convolution_backward_weights(found);
  }
  plan.reordered = plan.own_kernel != plan.kernel;
  if (plan.reordered) {
    const bool back = call.wanted == kKernel;
    reorder::primitive_desc found(Engine(), back ? plan.own_kernel : plan.kernel, Engine(),
                                  back ? plan.kernel : plan.own_kernel, attributes);
    plan.reorder_scratch = found.scratchpad_desc();
    plan.reorder = reorder(found);
  }
  return plan;
}

struct Hash {
  size_t operator()(const Key& key) const {
    size_t hash = 0;
    for (int64_t value : key) hash = hash * 1000003u + static_cast<size_t>(value);
    return hash;
  }
};

// The plans used last, by call and number of threads.
class Plans {
 public:
  std::shared_ptr<const Plan> Get(const Key& key, int threads) {
    Key full = key;
    full.push_back(threads);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      const auto found = places_.find(full);
      if (found != places_.end()) {
        order_.splice(order_.begin(), order_, found->second);
        return found->second->second;
      }
    }
    auto plan = std::make_shared<const Plan>(MakePlan(Call(key)));  // unlocked: it may take milliseconds
    std::lock_guard<std::mutex> lock(mutex_);
    if (places_.count(full) == 0) {
      order_.emplace_front(full, plan);
      places_[full] = order_.begin();
      if (order_.size() > kPlans) {
        places_.erase(order_.back().first);
        order_.pop_back();
      }
    }
    return plan;
  }

 private:
  using Order = std::list<std::pair<Key, std::shared_ptr<const Plan>>>;
  std::mutex mutex_;
  Order order_;
  std::unordered_map<Key, Order::iterator, Hash> places_;
};

Plans& AllPlans() {
  static auto* plans = new Plans;
  return *plans;
}

// Memory of one thread, kept from call to call, as fresh pages cost more than many a convolution.
class Scratch {
 public:
  ~Scratch() { std::free(data_); }
  char* Get(size_t bytes) {
    if (bytes > size_) {
      std::free(data_);
      size_ = (bytes + 4095) / 4096 * 4096;
      data_ = static_cast<char*>(std::aligned_alloc(4096, size_));
      if (data_ == nullptr) {
        size_ = 0;
        throw std::bad_alloc();
      }
    }
    return data_;
  }
  void Trim() {
    if (size_ > kKeptScratch) {
      std::free(data_);
      data_ = nullptr;
      size_ = 0;
    }
  }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

size_t Aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Some of a call's examples, computed by one thread; or all of them, by a team of oneDNN's own.
struct Share {
  std::shared_ptr<const Plan> plan;
  int64_t first;  // example
};

Share Whole(const Key& key, int64_t threads) {
  omp_set_num_threads(static_cast<int>(threads));  // of this thread alone
  return {AllPlans().Get(key, threads), 0};
}

// A share for each of so many threads; or one for a team, where there are too few examples for that, and where the sum
// of as many kernel gradients would take long or be rounded.
std::vector<Share> Shares(const Key& key, const Call& call, int64_t threads) {
  int64_t cells = call.batch;
  for (int64_t size : call.results) cells *= size;
  const bool sums = call.wanted == kKernel;
  if (call.batch < threads || (sums && (cells < kLeastCells * threads || Type(call.result_type) == Type(1))))
    return {Whole(key, threads)};
  std::vector<Share> shares;
  Key part = key;
  for (int64_t index = 0; index < threads; ++index) {
    const int64_t first = call.batch * index / threads;
    part[kBatch] = call.batch * (index + 1) / threads - first;
    shares.push_back({Whole(part, 1).plan, first});
    if (shares.back().plan->own_kernel != shares.front().plan->own_kernel) return {Whole(key, threads)};
  }
  return shares;
}

FOR_EACH_PROCESSOR void AddTo(float* __restrict sums, const float* __restrict terms, int64_t length) {
  for (int64_t at = 0; at < length; ++at) sums[at] += terms[at];
}

// The arguments' places are those of `Part`; the kernel is in oneDNN's own layout.
void Run(const Plan& plan, int64_t wanted, void* images, void* kernel, void* results) {
  thread_local dnnl::stream stream(Engine());
  thread_local Scratch scratch;
  std::unordered_map<int, memory> arguments = {
      {wanted == kInputs ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, memory(plan.images, Engine(), images)},
      {wanted == kKernel ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, memory(plan.own_kernel, Engine(), kernel)},
      {wanted == kOutputs ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, memory(plan.results, Engine(), results)},
      {DNNL_ARG_SCRATCHPAD, memory(plan.scratch, Engine(), scratch.Get(std::max<size_t>(plan.scratch.get_size(), 64)))},
  };
  plan.conv.execute(stream, arguments);
  stream.wait();
  scratch.Trim();
}

void Reorder(const Plan& plan, const memory::desc& from, void* source, const memory::desc& to, void* target) {
  thread_local dnnl::stream stream(Engine());
  thread_local Scratch scratch;
  void* work = scratch.Get(std::max<size_t>(plan.reorder_scratch.get_size(), 64));
  plan.reorder.execute(stream, {{DNNL_ARG_FROM, memory(from, Engine(), source)},
                                {DNNL_ARG_TO, memory(to, Engine(), target)},
                                {DNNL_ARG_SCRATCHPAD, memory(plan.reorder_scratch, Engine(), work)}});
  stream.wait();
}

void Execute(ffi::ThreadPool& pool, const Key& key, void* const* arrays) {
  const Call call(key);
  const int64_t threads = Parts(pool, call.devices, call.Products() / kLeastProducts);
  const auto shares = Shares(key, call, threads);
  const int64_t parts = shares.size();
  const Plan& plan = *shares.front().plan;
  const bool sums = call.wanted == kKernel;
  const size_t kernel_bytes = Aligned(plan.own_kernel.get_size());
  thread_local Scratch kernels;
  char* own = kernels.Get(std::max<size_t>(kernel_bytes * (sums ? parts : 1), 64));
  char* first = plan.reordered ? own : static_cast<char*>(arrays[kKernel]);
  if (plan.reordered && !sums) Reorder(plan, plan.kernel, arrays[kKernel], plan.own_kernel, own);
  ForEachPart(pool, parts, [&](int64_t part) {
    const Share& share = shares[part];
    if (parts > 1) omp_set_num_threads(1);
    const auto from = [&](Part array, const memory::desc& desc) {
      return static_cast<char*>(arrays[array]) + share.first * (desc.get_size() / desc.get_dims()[0]);
    };
    Run(*share.plan, call.wanted, from(kInputs, share.plan->images), sums && part > 0 ? own + part * kernel_bytes : first,
        from(kOutputs, share.plan->results));
  });
  if (sums && parts > 1) {
    const int64_t length = plan.own_kernel.get_size() / sizeof(float);
    const int64_t pieces = std::min(parts, 1 + length / kLeastSums);
    ForEachPart(pool, pieces, [&](int64_t piece) {
      const int64_t at = length * piece / pieces, end = length * (piece + 1) / pieces;
      for (int64_t part = 1; part < parts; ++part)
        AddTo(reinterpret_cast<float*>(first) + at, reinterpret_cast<const float*>(own + part * kernel_bytes) + at,
              end - at);
    });
  }
  if (plan.reordered && sums) Reorder(plan, plan.own_kernel, own, plan.kernel, arrays[kKernel]);
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

// The name of the implementation that oneDNN chooses for a call; or an empty string if it has none.
extern "C" const char* jaxcnn_onednn_implementation(const int64_t* call, int64_t length) {
  thread_local std::string name;
  try {
    const Key key(call, call + length);
    const Call described(key);
    name = Shares(key, described, Cores(described.devices)).front().plan->implementation;
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
