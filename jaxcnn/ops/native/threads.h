// Work divided among XLA's threads.
#pragma once

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "xla/ffi/api/ffi.h"

// The cores of this process, shared by the devices that call at once.
inline int64_t Cores(int64_t devices) {
  static const int limit = std::getenv("OMP_NUM_THREADS") ? std::max(1, std::atoi(std::getenv("OMP_NUM_THREADS"))) : 0;
  cpu_set_t set;
  const bool known = sched_getaffinity(getpid(), sizeof(set), &set) == 0;  // fails where there are more than 1024
  const int64_t cores = known ? CPU_COUNT(&set) : std::thread::hardware_concurrency();
  return std::max<int64_t>(1, (limit ? std::min<int64_t>(limit, cores) : cores) / std::max<int64_t>(1, devices));
}

// Into how many parts a call is divided that has work for so many threads: not more than there are threads.
inline int64_t Parts(const xla::ffi::ThreadPool& pool, int64_t devices, int64_t work) {
  return std::max<int64_t>(1, std::min({Cores(devices), pool.num_threads(), work}));
}

constexpr int kTurns = 4000;  // of waiting awake, some 0.1 ms: to sleep and to be woken takes as long

// Calls `body(part)` for every part, on XLA's threads and on this one, and returns when all are done. A team of OpenMP
// would contend with XLA's threads for the cores. Who comes late finds nothing left: so this one waits for nothing that
// has not begun, and where all threads make such calls, they still go on.
template <class Body>
void ForEachPart(xla::ffi::ThreadPool& pool, int64_t parts, const Body& body) {
  struct State {
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable changed;
    std::exception_ptr error;
  };
  const auto state = std::make_shared<State>();  // outlives this call, for those who come late
  const auto work = [state, parts, &body] {
    for (int64_t part = state->next++; part < parts; part = state->next++) {
      std::exception_ptr error;
      try {
        body(part);
      } catch (...) {
        error = std::current_exception();
      }
      const std::lock_guard<std::mutex> lock(state->mutex);
      if (error) state->error = error;
      if (++state->done == parts) state->changed.notify_one();
    }
  };
  for (int64_t helper = 1; helper < parts; ++helper) {
    auto copy = work;
    pool.Schedule(std::move(copy));
  }
  work();
  for (int turn = 0; turn < kTurns && state->done < parts; ++turn) __builtin_ia32_pause();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->changed.wait(lock, [&] { return state->done == parts; });
  if (state->error) std::rethrow_exception(state->error);
}
