// The memory of one running text: keys and values of every position so far, for the layers that run here.
//
// Keys and values are of the model's cache format and lie head by head as attention streams them
// (kernels/attention/cache.h). Each layer counts its own positions: a text may pass layers [0, k) in one call and [k,
// L) in another, or on another node. Space is reserved at once and touched as it fills, so a long context costs nothing
// until it is used; that there will be enough when it is, its share of a budget says (memory_budget.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/aligned.h"
#include "engine/memory_budget.h"
#include "engine/model.h"

namespace sedge::engine {

struct SequenceOptions {
  std::size_t capacity = 0;  // positions; 0: the context that the model was trained for
  std::size_t layer_begin = 0;
  std::size_t layer_end = 0;  // 0: to the last layer
  std::size_t bytes_max = std::size_t{8} << 30;
  MemoryShare memory{};  // that was taken for it, where there is a budget
};

class Sequence {
 public:
  // Errors: InvalidArgument (a capacity over the model's context, an empty range of layers);
  //         ResourceExhausted (over bytes_max, or no memory): ask for a smaller capacity.
  static Result<Sequence> make(const Model& model, SequenceOptions options = {});

  // Of all layers: what a capacity may grow to, and the capacity that grows to no more than `bytes`.
  static std::size_t bytes_of(const model::LlamaConfig& config, kernels::DType cache, std::size_t capacity);
  static std::size_t bytes_of(const Model& model, std::size_t capacity);
  static std::size_t capacity_within(const Model& model, std::size_t bytes);

  std::size_t capacity() const { return capacity_; }
  // Positions that layer `layer` has seen.
  std::size_t length(std::size_t layer) const { return lengths_[layer - layer_begin_]; }
  // Positions that every layer here has seen.
  std::size_t length() const;
  bool holds(std::size_t layer_begin, std::size_t layer_end) const;

  // What a position takes: of all layers here, keys and values.
  std::size_t bytes_per_position() const { return lengths_.size() * kv_heads_ * row_bytes_ * 2; }
  // Keys and values of positions [begin, begin + count) that every layer has seen, both multiples of sixteen:
  // [layers, kv_heads, (keys, values), count · bytes of a row], each part as it lies here.
  void copy_out(std::size_t begin, std::size_t count, MutableBytes rows) const;
  // Puts what copy_out gave where it stood, in a sequence of the same tokens that is computed up to its begin or up to
  // somewhere in it; afterwards up to `new_length`, somewhere in it or its end.
  void copy_in(Bytes rows, std::size_t begin, std::size_t count, std::size_t new_length);

  // Forgets positions from `length` on.
  void truncate(std::size_t length);

  // Of one key/value head: the groups of sixteen of its capacity, rounded up.
  std::uint8_t* keys(std::size_t layer, std::size_t kv_head) { return keys_.get() + offset(layer, kv_head); }
  std::uint8_t* values(std::size_t layer, std::size_t kv_head) { return values_.get() + offset(layer, kv_head); }
  // Files one position's key and value.
  void keep(std::size_t layer, std::size_t kv_head, std::size_t position, const float* key, const float* value);
  void set_length(std::size_t layer, std::size_t length) { lengths_[layer - layer_begin_] = length; }

 private:
  Sequence() = default;
  std::size_t offset(std::size_t layer, std::size_t kv_head) const {
    return ((layer - layer_begin_) * kv_heads_ + kv_head) * places_ * row_bytes_;
  }

  std::size_t capacity_ = 0, places_ = 0, kv_heads_ = 0, head_dim_ = 0, layer_begin_ = 0;
  kernels::DType format_ = kernels::DType::kF32;
  std::size_t row_bytes_ = 0;         // of one position's key in one head, and of its value
  std::vector<std::size_t> lengths_;  // one a layer
  MemoryShare memory_;                // before what it stands for, to be given back after it
  AlignedBytes<> keys_, values_;
};

}  // namespace sedge::engine
