// Arrays of float32 and of bfloat16: loops compute in float32.
#pragma once

#include <cstdint>
#include <cstring>

#include "loops.h"
#include "xla/ffi/api/ffi.h"

enum class Bfloat16 : uint16_t {};  // a scalar to the compiler, so that loops over it become vectors

INLINED float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

INLINED float Wide(float value) { return value; }
INLINED float Wide(Bfloat16 value) { return FromBits(static_cast<uint32_t>(value) << 16); }

// The value, or 0; without a branch, which would keep a loop from becoming vectors.
INLINED float WideIf(bool there, float value) { return there ? value : 0; }
INLINED float WideIf(bool there, Bfloat16 value) {
  return FromBits(static_cast<uint32_t>(value) << 16 & -static_cast<uint32_t>(there));
}

// The nearest number of this type, of two the even one.
INLINED void Narrow(float value, float* narrow) { *narrow = value; }
INLINED void Narrow(float value, Bfloat16* narrow) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  *narrow = static_cast<Bfloat16>(value == value ? rounded : bits >> 16 | 0x40);  // a NaN stays one
}

// Calls `body` with a null pointer to a number of an array's type.
template <class Body>
xla::ffi::Error ForType(const xla::ffi::AnyBuffer& x, Body body) {
  if (x.element_type() == xla::ffi::F32) {
    body(static_cast<float*>(nullptr));
  } else {
    body(static_cast<Bfloat16*>(nullptr));
  }
  return xla::ffi::Error::Success();
}

template <class T>
T* Data(const xla::ffi::AnyBuffer& buffer, T*) {
  return static_cast<T*>(buffer.untyped_data());
}
