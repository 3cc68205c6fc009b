// How long an urgent text waits that comes while a long prompt is read: the node's own workers, on real threads.
#pragma once

#include <cstddef>
#include <filesystem>

#include "base/json.h"
#include "base/result.h"
#include "engine/model.h"

namespace sedge::bench {

struct UrgentOptions {
  engine::ModelOptions model{};
  unsigned threads = 1;
  std::size_t beside = 512;  // words of the prompt that is read again and again
  std::size_t texts = 100;   // urgent ones, one after the other, a random time apart
};

// In ms, of texts of 40 words and one token in answer: until the first step begins, and until the answer; alone, and
// while a prompt is read.
Result<json::Object> measure_urgent(const std::filesystem::path& path, const UrgentOptions& options);

}  // namespace sedge::bench
