// oneDNN's primitive for a call, with the reorders between the arrays' layouts and those that it computes in.
#pragma once

#include <omp.h>

#include <cstdint>
#include <memory>
#include <string>

#include "call.h"
#include "oneapi/dnnl/dnnl.hpp"

// One of the three arrays: where oneDNN computes in another layout than the user's, it is copied from the one into the
// other.
struct Operand {
  dnnl::memory::desc user, own, scratch;
  dnnl::primitive reorder;
  bool reordered = false;
};

struct Plan {
  dnnl::primitive conv;
  Operand arrays[kParts];
  dnnl::memory::desc scratch;
  std::string implementation;
};

const dnnl::engine& Engine();

// How many threads of OpenMP this one may use, which oneDNN asks for when it makes and when it runs a primitive. What it
// was before comes back: others in the process, PyTorch for one, may share the same OpenMP.
class TeamSize {
 public:
  TeamSize() : before_(omp_get_max_threads()) {}
  explicit TeamSize(int64_t threads) : TeamSize() { Set(threads); }
  ~TeamSize() { omp_set_num_threads(before_); }
  TeamSize(const TeamSize&) = delete;
  TeamSize& operator=(const TeamSize&) = delete;

  static void Set(int64_t threads) { omp_set_num_threads(static_cast<int>(threads)); }

 private:
  int before_;
};

// The plan of a call for so many threads, made or kept from before.
std::shared_ptr<const Plan> PlanFor(const Call& call, int threads);

// An array that the user has in one layout and a loop wants in another; `back` where the loop makes it.
Operand Between(const dnnl::memory::desc& user, const dnnl::memory::desc& own, bool back);

// The type of an array of a call.
dnnl::memory::data_type TypeOf(const Call& call, Part part);

// Copies an operand to oneDNN's layout; or a result from there.
void Reorder(const Operand& array, bool back, void* user, void* own);

// Computes, in oneDNN's layouts; the arguments' places are those of `Part`.
void Run(const Plan& plan, int64_t wanted, void* const* arrays);
