// Memory for intermediate values.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

constexpr size_t kKeptScratch = 64u << 20;  // bytes that a thread keeps between calls

// Memory of one thread, kept from call to call, as fresh pages cost more than many a convolution.
class Scratch {
 public:
  ~Scratch() { std::free(data_); }
  char* Get(size_t bytes) {
    bytes = bytes < 64 ? 64 : bytes;
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

inline size_t Aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }
