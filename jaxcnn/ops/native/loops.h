// What loops in C++ share: for which processors they are compiled.
#pragma once

// Compiled for several processors, of which the best is chosen when the library is loaded. What such a loop calls must
// be inlined into it.
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#define INLINED inline __attribute__((always_inline))
