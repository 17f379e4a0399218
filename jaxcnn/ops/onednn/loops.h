// What loops in C++ share: how many threads, for which processors.
#pragma once

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

// Compiled for several processors, of which the best is chosen when the library is loaded. What such a loop calls must
// be inlined into it.
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#define INLINED inline __attribute__((always_inline))

// The cores of this process, shared by the devices that call at once.
inline int Threads(int64_t devices) {
  static const int limit = std::getenv("OMP_NUM_THREADS") ? std::max(1, std::atoi(std::getenv("OMP_NUM_THREADS"))) : 0;
  cpu_set_t set;
  const bool known = sched_getaffinity(getpid(), sizeof(set), &set) == 0;  // fails where there are more than 1024
  const int cores = known ? CPU_COUNT(&set) : omp_get_num_procs();
  return std::max<int>(1, (limit ? std::min(limit, cores) : cores) / std::max<int64_t>(1, devices));
}
