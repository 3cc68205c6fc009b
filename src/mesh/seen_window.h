// Which of the numbers that somebody counts up were seen: in a window below the greatest one each for itself, below
// that all.
//
// Nearly always nothing is missing, and a thousand origins' windows in each of a thousand nodes want to be small: bits
// are there only while something in the window is missing. Source: RFC 4303, appendix A2 (anti-replay windows).
// Bounded: 528 bytes. Threads: none.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>

namespace sedge::mesh {

class SeenWindow {
 public:
  static constexpr std::uint64_t kNumbers = 4096;

  // All up to `top` were seen; numbers begin at 1.
  explicit SeenWindow(std::uint64_t top = 0) : top_(top) {}

  bool contains(std::uint64_t number) const;
  void add(std::uint64_t number);
  std::uint64_t top() const { return top_; }

 private:
  std::uint64_t top_;
  std::unique_ptr<std::bitset<kNumbers>> missing_;  // bit (number % kNumbers); none: nothing is
};

}  // namespace sedge::mesh
