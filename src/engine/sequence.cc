#include "engine/sequence.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/prng.h"
#include "kernels/attention/cache.h"

namespace sedge::engine {
namespace {

constexpr std::size_t kPlaces = kernels::kCacheGroup;

std::size_t bytes_per_place(const model::LlamaConfig& config, kernels::DType cache) {
  return config.layers * config.kv_heads * kernels::cache_row_bytes(cache, config.head_dim) * 2;
}

}  // namespace

std::size_t Sequence::bytes_of(const model::LlamaConfig& config, kernels::DType cache, std::size_t capacity) {
  return (capacity + kPlaces - 1) / kPlaces * kPlaces * bytes_per_place(config, cache);
}

std::size_t Sequence::bytes_of(const Model& model, std::size_t capacity) {
  return bytes_of(model.config(), model.cache_format(), capacity);
}

std::size_t Sequence::capacity_within(const Model& model, std::size_t bytes) {
  return bytes / bytes_per_place(model.config(), model.cache_format()) / kPlaces * kPlaces;
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
  const std::size_t row_bytes = kernels::cache_row_bytes(model.cache_format(), config.head_dim);
  const Uint128 bytes = Uint128{layer_end - options.layer_begin} * config.kv_heads * row_bytes * places;
  if (bytes * 2 > options.bytes_max) {
    return fail(Code::kResourceExhausted,
                "the memory of {} positions takes more than the {} MiB allowed: use a smaller context", capacity,
                options.bytes_max >> 20);
  }
  Sequence sequence;
  sequence.memory_ = std::move(options.memory);
  sequence.capacity_ = capacity, sequence.places_ = places;
  sequence.kv_heads_ = config.kv_heads;
  sequence.head_dim_ = config.head_dim;
  sequence.format_ = model.cache_format();
  sequence.row_bytes_ = row_bytes;
  sequence.layer_begin_ = options.layer_begin;
  sequence.lengths_.assign(layer_end - options.layer_begin, 0);
  sequence.keys_ = try_aligned(static_cast<std::size_t>(bytes));
  sequence.values_ = try_aligned(static_cast<std::size_t>(bytes));
  if (sequence.keys_ == nullptr || sequence.values_ == nullptr) {
    return fail(Code::kResourceExhausted, "no memory for {} positions: use a smaller context", capacity);
  }
  return sequence;
}

std::size_t Sequence::length() const { return *std::ranges::min_element(lengths_); }

bool Sequence::holds(std::size_t layer_begin, std::size_t layer_end) const {
  return layer_begin >= layer_begin_ && layer_begin < layer_end && layer_end <= layer_begin_ + lengths_.size();
}

void Sequence::keep(std::size_t layer, std::size_t kv_head, std::size_t position, const float* key,
                    const float* value) {
  const std::size_t group = position / kPlaces * kPlaces * row_bytes_;
  kernels::keep_position(format_, key, value, head_dim_, position % kPlaces, keys(layer, kv_head) + group,
                         values(layer, kv_head) + group);
}

void Sequence::copy_out(std::size_t begin, std::size_t count, MutableBytes rows) const {
  SEDGE_ASSERT(begin % kPlaces == 0 && count % kPlaces == 0 && begin + count <= length());
  SEDGE_ASSERT(rows.size() == count * bytes_per_position());
  std::uint8_t* out = rows.data();
  for (std::size_t head = 0; head < lengths_.size() * kv_heads_; ++head) {
    const std::size_t at = (head * places_ + begin) * row_bytes_;
    out = std::copy_n(keys_.get() + at, count * row_bytes_, out);
    out = std::copy_n(values_.get() + at, count * row_bytes_, out);
  }
}

// Positions before the sequence's length get the bits that they have, since the tokens are the same; those after the
// new length are written again when they are computed.
void Sequence::copy_in(Bytes rows, std::size_t begin, std::size_t count, std::size_t new_length) {
  SEDGE_ASSERT(begin % kPlaces == 0 && count % kPlaces == 0 && begin + count <= places_ && new_length <= capacity_);
  SEDGE_ASSERT(rows.size() == count * bytes_per_position());
  SEDGE_ASSERT(begin <= length() && length() <= new_length && new_length <= begin + count);
  const std::uint8_t* in = rows.data();
  for (std::size_t head = 0; head < lengths_.size() * kv_heads_; ++head) {
    const std::size_t at = (head * places_ + begin) * row_bytes_;
    std::copy_n(in, count * row_bytes_, keys_.get() + at);
    std::copy_n(in + count * row_bytes_, count * row_bytes_, values_.get() + at);
    in += 2 * count * row_bytes_;
  }
  std::ranges::fill(lengths_, new_length);
}

void Sequence::truncate(std::size_t length) {
  for (std::size_t& layer : lengths_) layer = std::min(layer, length);
}

}  // namespace sedge::engine
