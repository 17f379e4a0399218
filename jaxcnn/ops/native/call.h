// One convolution, as form.py describes it: the array of integers that it writes, field by field.
#pragma once

#include <cstdint>
#include <vector>

#include "oneapi/dnnl/dnnl.hpp"

using Key = std::vector<int64_t>;
using Sizes = dnnl::memory::dims;

// The three arrays of a convolution, in the order of a call's operands; the one that is wanted is its result.
enum Part : int64_t { kInputs, kKernel, kOutputs };
constexpr int kParts = 3;

struct Call {
  int64_t wanted, operand_type, result_type, devices, groups, batch, channels, outputs;
  Sizes sizes, taps, results, strides, dilation, low, high;
  Sizes steps[kParts];  // between neighbors in memory, by axis: N, C (kernel: O, I), then the spatial ones

  explicit Call(const Key& key) {
    const int64_t* field = key.data();
    for (int64_t* target : {&wanted, &operand_type, &result_type, &devices, &groups, &batch, &channels, &outputs})
      *target = *field++;
    const size_t rank = (key.size() - 14) / 10;
    const auto take = [&](Sizes& target, size_t length) {
      target.assign(field, field + length);
      field += length;
    };
    for (Sizes* target : {&sizes, &taps, &results, &strides, &dilation, &low, &high}) take(*target, rank);
    for (Sizes& target : steps) take(target, rank + 2);
  }

  Key ToKey() const {
    Key key{wanted, operand_type, result_type, devices, groups, batch, channels, outputs};
    for (const Sizes* field :
         {&sizes, &taps, &results, &strides, &dilation, &low, &high, &steps[0], &steps[1], &steps[2]})
      key.insert(key.end(), field->begin(), field->end());
    return key;
  }

  int64_t Products() const {
    int64_t count = batch * outputs * (channels / groups);
    for (int64_t size : results) count *= size;
    for (int64_t size : taps) count *= size;
    return count;
  }

  // The code of an array's type, of those in form.py.
  int64_t TypeOf(Part part) const { return wanted == part ? result_type : operand_type; }
};
