// Memory that kernels read whole registers of: it begins at a cache line, so that no such read lies across two, which
// would cost it twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace sedge::engine {

inline constexpr std::size_t kCacheLine = 64;  // bytes

template <class T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <class U>
  explicit LineAllocator(const LineAllocator<U>&) {}
  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{kCacheLine}));
  }
  void deallocate(T* memory, std::size_t) { ::operator delete(memory, std::align_val_t{kCacheLine}); }
  bool operator==(const LineAllocator&) const = default;
};
template <class T>
using Lines = std::vector<T, LineAllocator<T>>;

// Bytes that nothing is written to before they are used, at an alignment.
template <std::size_t Alignment>
struct ReleaseAligned {
  void operator()(std::uint8_t* memory) const { ::operator delete[](memory, std::align_val_t{Alignment}); }
};
template <std::size_t Alignment = kCacheLine>
using AlignedBytes = std::unique_ptr<std::uint8_t[], ReleaseAligned<Alignment>>;

// Null where there is no memory.
template <std::size_t Alignment = kCacheLine>
AlignedBytes<Alignment> try_aligned(std::size_t bytes) {
  return AlignedBytes<Alignment>(
      static_cast<std::uint8_t*>(::operator new[](bytes, std::align_val_t{Alignment}, std::nothrow)));
}

}  // namespace sedge::engine
