#include "plan.h"

#include <algorithm>
#include <cstdlib>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "scratch.h"

namespace {

using dnnl::memory;
using tag = memory::format_tag;

constexpr size_t kPlans = 512;           // kept; the oldest goes first
constexpr int64_t kBlock = 16;           // channels in a block of oneDNN's layouts
constexpr int64_t kFew = 4;              // channels
constexpr int64_t kLeastColumns = 128;   // of a matrix, so that its products are fast

memory::data_type Type(int64_t code) { return code == 0 ? memory::data_type::f32 : memory::data_type::bf16; }

Sizes Joined(Sizes head, const Sizes& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

// An array as the user has it, with the axes in oneDNN's order: `(N, C, *spatial)`, and `([G], O, I, *window)`, where
// the groups are the major part of the user's O.
memory::desc Given(const Call& call, Part part) {
  const auto type = TypeOf(call, part);
  const Sizes& steps = call.steps[part];
  if (part == kInputs) return {Joined({call.batch, call.channels}, call.sizes), type, steps};
  if (part == kOutputs) return {Joined({call.batch, call.outputs}, call.results), type, steps};
  const int64_t g = call.groups, outputs = call.outputs / g;
  const Sizes sizes = Joined({outputs, call.channels / g}, call.taps);
  if (g == 1) return {sizes, type, steps};
  return {Joined({g}, sizes), type, Joined({outputs * steps[0]}, steps)};
}

// The layout that is left to oneDNN.
memory::desc Any(const memory::desc& array) { return {array.get_dims(), array.get_data_type(), tag::any}; }

// `(N, C, *spatial)` with the channels last in memory.
memory::desc ChannelsLast(const memory::desc& images) {
  const tag last[] = {tag::nwc, tag::nhwc, tag::ndhwc};
  return {images.get_dims(), images.get_data_type(), last[images.get_dims().size() - 3]};
}

// Whether two descriptions say the same; the step along an axis of size 1 says nothing.
bool Same(const memory::desc& a, const memory::desc& b) {
  if (a == b) return true;
  if (a.get_inner_nblks() != 0 || b.get_inner_nblks() != 0 || a.get_data_type() != b.get_data_type()) return false;
  const Sizes sizes = a.get_dims(), first = a.get_strides(), second = b.get_strides();
  if (sizes != b.get_dims() || sizes != a.get_padded_dims() || sizes != b.get_padded_dims()) return false;
  for (size_t axis = 0; axis < sizes.size(); ++axis)
    if (sizes[axis] > 1 && first[axis] != second[axis]) return false;
  return true;
}

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

// The primitive that computes in these layouts, of which `any` leaves one to oneDNN.
Plan PlanIn(const Call& call, const memory::desc& images, const memory::desc& kernel, const memory::desc& results) {
  using namespace dnnl;
  const auto algorithm = algorithm::convolution_direct;
  const auto attributes = Attributes();
  Sizes gaps = call.dilation;
  for (auto& gap : gaps) gap -= 1;  // oneDNN counts the cells between taps
  const auto hint = [&] {
    const auto operand = [&](const memory::desc& array) {
      const auto type = Type(call.operand_type);
      if (array.get_data_type() == type) return array;
      if (array.get_format_kind() == memory::format_kind::any) return memory::desc(array.get_dims(), type, tag::any);
      return memory::desc(array.get_dims(), type, array.get_strides());
    };
    return convolution_forward::primitive_desc(Engine(), prop_kind::forward_training, algorithm, operand(images),
                                               operand(kernel), operand(results), call.strides, gaps, call.low,
                                               call.high);
  };
  Plan plan;
  if (call.wanted == kOutputs) {
    convolution_forward::primitive_desc found(Engine(), prop_kind::forward_training, algorithm, images, kernel, results,
                                              call.strides, gaps, call.low, call.high, attributes);
    Take(plan, found);
    plan.arrays[kInputs].own = found.src_desc();
    plan.arrays[kKernel].own = found.weights_desc();
    plan.arrays[kOutputs].own = found.dst_desc();
    plan.conv = convolution_forward(found);
  } else if (call.wanted == kInputs) {
    convolution_backward_data::primitive_desc found(Engine(), algorithm, images, kernel, results, call.strides, gaps,
                                                    call.low, call.high, hint(), attributes);
    Take(plan, found);
    plan.arrays[kInputs].own = found.diff_src_desc();
    plan.arrays[kKernel].own = found.weights_desc();
    plan.arrays[kOutputs].own = found.diff_dst_desc();
    plan.conv = convolution_backward_data(found);
  } else {
    convolution_backward_weights::primitive_desc found(Engine(), algorithm, images, kernel, results, call.strides, gaps,
                                                       call.low, call.high, hint(), attributes);
    Take(plan, found);
    plan.arrays[kInputs].own = found.src_desc();
    plan.arrays[kKernel].own = found.diff_weights_desc();
    plan.arrays[kOutputs].own = found.diff_dst_desc();
    plan.conv = convolution_backward_weights(found);
  }
  return plan;
}

bool IsReference(const Plan& plan) { return plan.implementation.rfind("ref", 0) == 0; }

using Way = std::pair<memory::desc, memory::desc>;  // layouts to compute in, of inputs and outputs

// The ways to try, the best first, by measurement (two cores with AVX-512, oneDNN 3.2). Channels last are computed as
// they are. Else oneDNN's own layout, in blocks of 16 channels, is mostly the best and pays for the reorders; where
// channels fill no blocks, they are put last; a window of one cell, and errors of very few channels, are matrix
// products of the user's own arrays.
std::vector<Way> Ways(const Call& call, const memory::desc& images, const memory::desc& results) {
  const Way given{images, results}, last{ChannelsLast(images), ChannelsLast(results)};
  const bool first_is_last = Same(given.first, last.first), second_is_last = Same(given.second, last.second);
  if (first_is_last && second_is_last) return {last};
  const Way own{first_is_last ? last.first : Any(images), second_is_last ? last.second : Any(results)};
  if (call.groups > 1) return {own, last};
  const auto all_ones = [](const Sizes& sizes) { return *std::max_element(sizes.begin(), sizes.end()) == 1; };
  int64_t cells = 1;
  for (int64_t size : call.results) cells *= size;
  const bool few = call.channels <= kFew, point = all_ones(call.taps) && cells >= kLeastColumns;
  const bool forward = call.wanted == kOutputs && all_ones(call.strides), wide = call.operand_type == 0;
  if (call.wanted == kInputs ? (few && wide) || point : forward && point) return {given, own, last};
  if (!few && (call.channels % kBlock != 0 || call.outputs % kBlock != 0)) return {last, own};
  return {own, last};
}

Plan MakePlan(const Call& call) {
  const auto images = Given(call, kInputs), kernel = Given(call, kKernel), results = Given(call, kOutputs);
  const auto ways = Ways(call, images, results);
  // gradients of a kernel are sums over shares, and rounded at the end
  const memory::desc own_kernel(kernel.get_dims(), Type(call.wanted == kKernel ? 0 : call.operand_type), tag::any);
  Plan plan;
  for (const auto& [first, second] : ways) {
    try {
      Plan found = PlanIn(call, first, own_kernel, second);
      const bool good = !IsReference(found);
      if (good || !plan.conv) plan = std::move(found);
      if (good) break;
    } catch (const dnnl::error&) {
      if (&first == &ways.back().first && !plan.conv) throw;  // what none has
    }
  }
  for (const auto part : {kInputs, kKernel, kOutputs}) {
    const auto& user = part == kInputs ? images : part == kKernel ? kernel : results;
    plan.arrays[part] = Between(user, plan.arrays[part].own, call.wanted == part);
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
  std::shared_ptr<const Plan> Get(const Call& call, int threads) {
    Key full = call.ToKey();
    full.push_back(threads);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      const auto found = places_.find(full);
      if (found != places_.end()) {
        order_.splice(order_.begin(), order_, found->second);
        return found->second->second;
      }
    }
    auto plan = std::make_shared<const Plan>(MakePlan(call));  // unlocked: it may take milliseconds
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

}  // namespace

const dnnl::engine& Engine() {
  // never destroyed: threads may outlive main
  static const auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

dnnl::memory::data_type TypeOf(const Call& call, Part part) { return Type(call.TypeOf(part)); }

Operand Between(const memory::desc& user, const memory::desc& own, bool back) {
  Operand array{user, own, {}, {}, !Same(user, own)};
  if (array.reordered) {
    dnnl::reorder::primitive_desc found(Engine(), back ? own : user, Engine(), back ? user : own, Attributes());
    array.scratch = found.scratchpad_desc();
    array.reorder = dnnl::reorder(found);
  }
  return array;
}

std::shared_ptr<const Plan> PlanFor(const Call& call, int threads) {
  static auto* plans = new Plans;
  return plans->Get(call, threads);
}

void Reorder(const Operand& array, bool back, void* user, void* own) {
  thread_local dnnl::stream stream(Engine());
  thread_local Scratch scratch;
  void* work = scratch.Get(array.scratch.get_size());
  array.reorder.execute(stream, {{back ? DNNL_ARG_TO : DNNL_ARG_FROM, memory(array.user, Engine(), user)},
                                 {back ? DNNL_ARG_FROM : DNNL_ARG_TO, memory(array.own, Engine(), own)},
                                 {DNNL_ARG_SCRATCHPAD, memory(array.scratch, Engine(), work)}});
  stream.wait();
}

void Run(const Plan& plan, int64_t wanted, void* const* arrays) {
  thread_local dnnl::stream stream(Engine());
  thread_local Scratch scratch;
  void* work = scratch.Get(plan.scratch.get_size());
  const auto argument = [&](Part part) { return memory(plan.arrays[part].own, Engine(), arrays[part]); };
  plan.conv.execute(stream, {{wanted == kInputs ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, argument(kInputs)},
                             {wanted == kKernel ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, argument(kKernel)},
                             {wanted == kOutputs ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, argument(kOutputs)},
                             {DNNL_ARG_SCRATCHPAD, memory(plan.scratch, Engine(), work)}});
  stream.wait();
  scratch.Trim();
}
