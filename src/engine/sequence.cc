#include "engine/sequence.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/assert.h"
#include "base/prng.h"

namespace sedge::engine {
namespace {

constexpr std::size_t kPlaces = 16;  // that lie together

std::size_t bytes_per_place(const model::LlamaConfig& config) {
  return config.layers * config.kv_dim() * 2 * sizeof(float);
}

}  // namespace

std::size_t Sequence::bytes_of(const Model& model, std::size_t capacity) {
  return (capacity + kPlaces - 1) / kPlaces * kPlaces * bytes_per_place(model.config());
}

std::size_t Sequence::capacity_within(const Model& model, std::size_t bytes) {
  return bytes / bytes_per_place(model.config()) / kPlaces * kPlaces;
}

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
  const std::size_t places = (capacity + kPlaces - 1) / kPlaces * kPlaces;
  const Uint128 numbers = Uint128{layer_end - options.layer_begin} * config.kv_dim() * places;
  if (numbers * 2 * sizeof(float) > options.bytes_max) {
    return fail(Code::kResourceExhausted,
                "the memory of {} positions takes more than the {} MiB allowed: use a smaller context", capacity,
                options.bytes_max >> 20);
  }
  Sequence sequence;
  sequence.memory_ = std::move(options.memory);
  sequence.capacity_ = capacity, sequence.places_ = places;
  sequence.kv_heads_ = config.kv_heads;
  sequence.head_dim_ = config.head_dim;
  sequence.layer_begin_ = options.layer_begin;
  sequence.lengths_.assign(layer_end - options.layer_begin, 0);
  sequence.keys_.reset(new (std::nothrow) float[static_cast<std::size_t>(numbers)]);
  sequence.values_.reset(new (std::nothrow) float[static_cast<std::size_t>(numbers)]);
  if (sequence.keys_ == nullptr || sequence.values_ == nullptr) {
    return fail(Code::kResourceExhausted, "no memory for {} positions: use a smaller context", capacity);
  }
  return sequence;
}

std::size_t Sequence::length() const { return *std::ranges::min_element(lengths_); }

bool Sequence::holds(std::size_t layer_begin, std::size_t layer_end) const {
  return layer_begin >= layer_begin_ && layer_begin < layer_end && layer_end <= layer_begin_ + lengths_.size();
}

void Sequence::copy_out(std::size_t begin, std::size_t count, std::span<float> numbers) const {
  SEDGE_ASSERT(begin % 16 == 0 && count % 16 == 0 && begin + count <= length());
  SEDGE_ASSERT(numbers.size() == count * numbers_per_position());
  float* out = numbers.data();
  for (std::size_t head = 0; head < lengths_.size() * kv_heads_; ++head) {
    const std::size_t at = (head * places_ + begin) * head_dim_;
    out = std::copy_n(keys_.get() + at, count * head_dim_, out);
    out = std::copy_n(values_.get() + at, count * head_dim_, out);
  }
}

// Positions before the sequence's length get the bits that they have, since the tokens are the same; those after the
// new length are written again when they are computed.
void Sequence::copy_in(std::span<const float> numbers, std::size_t begin, std::size_t count, std::size_t new_length) {
  SEDGE_ASSERT(begin % 16 == 0 && count % 16 == 0 && begin + count <= places_ && new_length <= capacity_);
  SEDGE_ASSERT(numbers.size() == count * numbers_per_position());
  SEDGE_ASSERT(begin <= length() && length() <= new_length && new_length <= begin + count);
  const float* in = numbers.data();
  for (std::size_t head = 0; head < lengths_.size() * kv_heads_; ++head) {
    const std::size_t at = (head * places_ + begin) * head_dim_;
    std::copy_n(in, count * head_dim_, keys_.get() + at);
    std::copy_n(in + count * head_dim_, count * head_dim_, values_.get() + at);
    in += 2 * count * head_dim_;
  }
  std::ranges::fill(lengths_, new_length);
}

void Sequence::truncate(std::size_t length) {
  for (std::size_t& layer : lengths_) layer = std::min(layer, length);
}

}  // namespace sedge::engine
