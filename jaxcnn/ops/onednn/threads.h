// How many threads a call may use.
#pragma once

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

// The cores of this process, shared by the devices that call at once.
inline int Threads(int64_t devices) {
  static const int limit = std::getenv("OMP_NUM_THREADS") ? std::max(1, std::atoi(std::getenv("OMP_NUM_THREADS"))) : 0;
  cpu_set_t set;
  const bool known = sched_getaffinity(getpid(), sizeof(set), &set) == 0;  // fails where there are more than 1024
  const int cores = known ? CPU_COUNT(&set) : omp_get_num_procs();
  return std::max<int>(1, (limit ? std::min(limit, cores) : cores) / std::max<int64_t>(1, devices));
}
