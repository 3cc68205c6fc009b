// What this machine can do at most: bytes read a second, and integer multiply-accumulates a second of an instruction
// set. Own loops and not the engine's, so that the engine can be held against them.
#pragma once

#include <cstddef>
#include <string_view>

namespace sedge::bench {

struct Limits {
  double read_bytes_s = 0;
  double products_s = 0;  // 8-bit products, each added
};

// The median of five. `threads` read parts of their own of `bytes` in all, and multiply in registers.
Limits measure_limits(std::string_view isa, unsigned threads, std::size_t bytes);

}  // namespace sedge::bench
