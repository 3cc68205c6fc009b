// What texts gain and lose by sharing the engine: tokens a second of several together, the gap between tokens while a
// prompt is read beside them, and what a beginning costs that was read before.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/model.h"

namespace sedge::bench {

struct SharingOptions {
  unsigned threads = 1;
  std::size_t prompt = 64;     // tokens that each text has read
  std::size_t generate = 128;  // steps measured, after a quarter as many that are not
};

// The value below which `part` of them are; 0 of none.
double percentile(std::vector<double> values, double part);

// `batch` texts write together: tokens a second of all.
Result<json::Object> measure_batch(const std::shared_ptr<const engine::Model>& model, std::size_t batch,
                                   const SharingOptions& options);

// `batch` texts write while a prompt of `beside` tokens is read, as a node's worker paces it: gaps between tokens, in
// ms, before and meanwhile.
Result<json::Object> measure_gaps(const std::shared_ptr<const engine::Model>& model, std::size_t batch,
                                  std::size_t beside, const SharingOptions& options);

// A prompt of `prefix` tokens and one more, read cold and then remembered.
Result<json::Object> measure_prefix(const std::shared_ptr<const engine::Model>& model, std::size_t prefix,
                                    const SharingOptions& options);

}  // namespace sedge::bench
