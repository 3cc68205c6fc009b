// A Llama-architecture network that learns: forward, backward and its weights, in memory taken once.
//
// The idea: the graph never changes, so its backward pass is written out next to its forward pass and every
// intermediate has its place from the start. No graph is recorded, nothing is allocated in a step, and all weights
// lie in one float array (as do gradients and moments), so that clipping, updating and saving are single loops.
// Rejected: automatic differentiation (it cannot see that only completion rows need the last layer's feed-forward,
// nor reuse a dead buffer) and padded batches (see fused.h).
//
// T is the type of activations and products: float, or Bf16 beside float master weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "train/backend.h"

namespace sedge::train {

struct NetConfig {
  std::size_t dim = 256, layers = 4, heads = 8, kv_heads = 4, ffn = 512, vocab = 1024;
  std::size_t context = 512;  // longest sequence, in tokens
  float rope_base = 10000.0F;
  float epsilon = 1e-5F;

  std::size_t head_dim() const { return dim / heads; }
  std::size_t qkv() const { return (heads + 2 * kv_heads) * head_dim(); }
  bool operator==(const NetConfig&) const = default;
};

// One tensor in the flat array of weights.
struct WeightSlot {
  std::string name;  // "embedding", "layer.0.qkv", ...
  std::size_t rows = 0, cols = 0, offset = 0;
  bool decays = false;             // gains of norms do not
  std::vector<std::size_t> parts;  // rows of the matrices that stand in it one above the other; none: not a product's
  float spread = 0;                // standard deviation at the start; 0: all ones
  std::size_t count() const { return rows * cols; }
};

// The layout, in the order of the forward pass. Weight matrices are [outputs, inputs].
std::vector<WeightSlot> weight_slots(const NetConfig& config);
std::size_t weight_count(const NetConfig& config);

// One packed step: sequences one after another in `tokens`, no padding between. Rows after the last sequence are
// filler, so that every product has the same shape at every step.
struct Sequence {
  std::uint32_t begin = 0, length = 0;
};
struct Batch {
  std::vector<std::int32_t> tokens;  // [capacity]
  std::vector<Sequence> sequences;
  std::vector<std::uint32_t> rows;    // ascending: which rows predict something that counts
  std::vector<std::int32_t> targets;  // what each of them should predict
};

struct StepResult {
  double loss = 0;       // mean over the counted rows, nats
  std::size_t hits = 0;  // rows whose first choice was right
};

class Net {
 public:
  virtual ~Net() = default;

  virtual std::span<float> weights() = 0;
  virtual std::span<float> gradients() = 0;

  // Must be called after the weights were changed by hand; `update` does it by itself.
  virtual void refresh() = 0;

  // `right[i]`, when given, says whether batch.rows[i] was predicted right.
  virtual StepResult forward(const Batch& batch, std::vector<std::uint8_t>* right = nullptr) = 0;

  // After forward: fills gradients() of the mean loss.
  virtual void backward(const Batch& batch) = 0;

  // One step: matrices by `muon` when there is one, all else by `adamw`, whose pointers are filled in here.
  virtual void update(AdamW adamw, const std::optional<Muon>& muon, std::span<float> m, std::span<float> v) = 0;
};

enum class Precision : std::uint8_t { kF32, kBf16 };

// `capacity`: rows of a batch (tokens a step).
std::unique_ptr<Net> make_net(const NetConfig& config, std::size_t capacity, Precision precision, Backend& backend);

// Gaussian weights from a seed, the same on every machine.
void initialize(const NetConfig& config, std::uint64_t seed, std::span<float> weights);

}  // namespace sedge::train
