#include "engine/sequence.h"

#include <algorithm>
#include <new>

#include "base/prng.h"

namespace sedge::engine {

Result<Sequence> Sequence::make(const Model& model, SequenceOptions options) {
  const model::LlamaConfig& config = model.config();
  const std::size_t capacity = options.capacity == 0 ? config.context : options.capacity;
  const std::size_t layer_end = options.layer_end == 0 ? config.layers : options.layer_end;
  if (capacity > config.context) {
    return fail(Code::kInvalidArgument, "a context of {} positions is more than the {} that the model was trained for",
                capacity, config.context);
  }
  if (options.layer_begin >= layer_end || layer_end > config.layers) {
    return fail(Code::kInvalidArgument, "layers {} to {} are not in a model of {}", options.layer_begin, layer_end,
                config.layers);
  }
  const std::size_t places = (capacity + 15) / 16 * 16;
  const Uint128 halves = Uint128{layer_end - options.layer_begin} * config.kv_dim() * places;
  if (halves * 2 * sizeof(std::uint16_t) > options.bytes_max) {
    return fail(Code::kResourceExhausted,
                "the memory of {} positions takes more than the {} MiB allowed: use a smaller context", capacity,
                options.bytes_max >> 20);
  }
  Sequence sequence;
  sequence.capacity_ = capacity, sequence.places_ = places;
  sequence.kv_heads_ = config.kv_heads;
  sequence.head_dim_ = config.head_dim;
  sequence.layer_begin_ = options.layer_begin;
  sequence.lengths_.assign(layer_end - options.layer_begin, 0);
  sequence.keys_.reset(new (std::nothrow) std::uint16_t[static_cast<std::size_t>(halves)]);
  sequence.values_.reset(new (std::nothrow) std::uint16_t[static_cast<std::size_t>(halves)]);
  if (sequence.keys_ == nullptr || sequence.values_ == nullptr) {
    return fail(Code::kResourceExhausted, "no memory for {} positions: use a smaller context", capacity);
  }
  return sequence;
}

std::size_t Sequence::length() const { return *std::ranges::min_element(lengths_); }

bool Sequence::holds(std::size_t layer_begin, std::size_t layer_end) const {
  return layer_begin >= layer_begin_ && layer_begin < layer_end && layer_end <= layer_begin_ + lengths_.size();
}

void Sequence::truncate(std::size_t length) {
  for (std::size_t& layer : lengths_) layer = std::min(layer, length);
}

}  // namespace sedge::engine
