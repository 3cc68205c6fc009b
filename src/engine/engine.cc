#include "engine/engine.h"

#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/pack/pack.h"
#include "kernels/rope/rope.h"

namespace sedge::engine {

using kernels::MatmulArgs;
using model::LlamaConfig;
using model::LlamaLayer;
using model::TensorView;

namespace {

template <class T>
T* at_least(std::vector<T>& scratch, std::size_t size) {
  if (scratch.size() < size) scratch.resize(size);
  return scratch.data();
}

const float* floats(const TensorView& tensor) { return reinterpret_cast<const float*>(tensor.data.data()); }

// Of a matrix as the kernels read it.
std::size_t row_bytes_of(const TensorView& matrix) {
  const std::size_t cols = matrix.cols();
  if (kernels::is_quantized(matrix.type)) return kernels::packed_row_bytes(matrix.type, cols);
  const kernels::Format& format = kernels::format_of(matrix.type);
  return cols / format.block_values * format.block_bytes;
}

// Where one row of a chunk stands.
struct Row {
  Sequence* sequence;
  std::size_t position;
};

// y [tokens, rows of weights] = x · weightsᵀ; `add_to`, when given, gets y added: the residual stream.
struct Product {
  const TensorView* weights;
  float* y;
  float* add_to = nullptr;
};

}  // namespace

// One chunk of one call. Five loops a layer go through the pool: q with k and v, attention, o, gate with up, down.
class Pass {
 public:
  Pass(Engine& engine, const Model& model, std::size_t tokens, const CancelFlag* cancel)
      : e_(engine),
        model_(model),
        config_(model.config()),
        kernels_(kernels::active_kernels()),
        n_(tokens),
        cancel_(cancel) {}

  bool layers(std::span<const Row> rows, std::size_t begin, std::size_t end, float* hidden) {
    find_angles(rows);
    for (std::size_t layer = begin; layer < end; ++layer) {
      const LlamaLayer& weights = model_.weights().layers[layer];
      if (!attention(rows, layer, weights, hidden) || !feed_forward(weights, hidden)) return false;
    }
    return true;
  }

  bool head(const float* hidden, float* logits) {
    const float* x = norm(model_.weights().output_norm, hidden);
    const Product product{.weights = &model_.weights().output, .y = logits};
    return multiply(x, {&product, 1});
  }

 private:
  std::size_t pairs() const { return config_.rope_dim / 2; }

  // Rows of weights a block: several blocks a thread to share unevenly, small enough to notice a cancel soon.
  // Whole groups of packed rows; matrices of other types are cut alike.
  static constexpr std::size_t kGroup = kernels::kPackedRows;
  static constexpr std::size_t kTileQueries = 24, kScoresMax = std::size_t{64} << 10;
  static std::size_t groups_of(std::size_t rows) { return (rows + kGroup - 1) / kGroup; }
  // An even number of groups for several tokens: kernels take two together.
  std::size_t group_block(std::size_t groups) const {
    const std::size_t block = std::clamp(groups / (std::size_t{e_.threads()} * 8), std::size_t{1}, 256 / kGroup);
    return n_ > 1 ? block + block % 2 : block;
  }

  // One token is not worth a thread's attention.
  template <class Body>
  void for_each_token(const Body& body) {
    e_.pool_.run(n_, std::max(n_ / (std::size_t{e_.threads()} * 4), std::size_t{1}), nullptr,
                 [&](unsigned, std::size_t begin, std::size_t end) {
                   for (std::size_t t = begin; t < end; ++t) body(t);
                 });
  }

  void find_angles(std::span<const Row> rows) {
    float* cosines = at_least(e_.cosines_, n_ * pairs());
    float* sines = at_least(e_.sines_, n_ * pairs());
    for_each_token([&](std::size_t t) {
      kernels::rope_angles(model_.rope_frequencies(), rows[t].position, cosines + t * pairs(), sines + t * pairs());
    });
  }

  const float* norm(const TensorView& weight, const float* x) {
    float* y = at_least(e_.normed_, n_ * config_.dim);
    for_each_token([&](std::size_t t) {
      kernels_.rms_norm({x + t * config_.dim, floats(weight), config_.dim, config_.rms_eps, y + t * config_.dim});
    });
    return y;
  }

  // Makes the 8-bit form of x [n, cols] when one of the weights asks for it.
  void quantize(const float* x, std::size_t cols, std::span<const Product> products) {
    if (std::ranges::none_of(products, [](const Product& p) { return kernels::is_quantized(p.weights->type); })) return;
    std::int8_t* quants = at_least(e_.quants_, n_ * cols);
    const std::size_t blocks = cols / 32;
    float* scales = at_least(e_.scales_, n_ * blocks);
    std::int32_t* sums = at_least(e_.sums_, n_ * blocks * 2);
    for_each_token([&](std::size_t t) {
      kernels_.quantize_q8({x + t * cols, cols, quants + t * cols, scales + t * blocks, sums + t * blocks * 2});
    });
  }

  // Groups [first, last) of one product's rows, for all tokens.
  void multiply_groups(const Product& product, const float* x, std::size_t first, std::size_t last) const {
    const TensorView& w = *product.weights;
    const std::size_t rows = w.rows(), begin = first * kGroup, end = std::min(last * kGroup, rows);
    const std::size_t cols = w.cols(), row_bytes = row_bytes_of(w);
    kernels_.matmul(w.type)(MatmulArgs{.weights = w.data.data() + begin * row_bytes,
                                       .row_bytes = row_bytes,
                                       .rows = end - begin,
                                       .cols = cols,
                                       .x = x,
                                       .quants = e_.quants_.data(),
                                       .scales = e_.scales_.data(),
                                       .sums = e_.sums_.data(),
                                       .tokens = n_,
                                       .y = product.y + begin,
                                       .y_stride = rows});
    if (product.add_to == nullptr) return;
    for (std::size_t t = 0; t < n_; ++t) {
      for (std::size_t r = t * rows + begin; r < t * rows + end; ++r) product.add_to[r] += product.y[r];
    }
  }

  // Several products of the same x in one loop over all their rows.
  bool multiply(const float* x, std::span<const Product> products) {
    quantize(x, products[0].weights->cols(), products);
    std::size_t total = 0;
    for (const Product& product : products) total += groups_of(product.weights->rows());
    return e_.pool_.run(total, group_block(total), cancel_, [&](unsigned, std::size_t begin, std::size_t end) {
      std::size_t first = 0;
      for (const Product& product : products) {
        const std::size_t last = first + groups_of(product.weights->rows());
        if (begin < last && end > first) {
          multiply_groups(product, x, std::max(begin, first) - first, std::min(end, last) - first);
        }
        first = last;
      }
    });
  }

  // Turns q and k by their positions and files k and v in the cache.
  void place(std::span<const Row> rows, std::size_t layer, float* q, float* k, const float* v) {
    at_least(e_.k16_, n_ * config_.kv_dim());
    const std::size_t head_dim = config_.head_dim;
    const auto turn = [&](float* x, std::size_t heads, std::size_t t) {
      kernels::rope({.x = x,
                     .heads = heads,
                     .head_dim = head_dim,
                     .pairs = pairs(),
                     .cosines = e_.cosines_.data() + t * pairs(),
                     .sines = e_.sines_.data() + t * pairs(),
                     .interleaved = config_.rope_layout == model::RopeLayout::kInterleaved});
    };
    for_each_token([&](std::size_t t) {
      turn(q + t * config_.q_dim(), config_.heads, t);
      turn(k + t * config_.kv_dim(), config_.kv_heads, t);
      const std::size_t dim = config_.kv_dim(), position = rows[t].position;
      std::uint16_t* const k16 = e_.k16_.data() + t * dim;
      kernels_.to_half({k + t * dim, dim, k16});
      for (std::size_t h = 0; h < config_.kv_heads; ++h) {
        std::uint16_t* const keys = rows[t].sequence->keys(layer, h) + position / 16 * head_dim * 16 + position % 16;
        for (std::size_t d = 0; d < head_dim; ++d) keys[d * 16] = k16[h * head_dim + d];
        kernels_.to_half(
            {v + t * dim + h * head_dim, head_dim, rows[t].sequence->values(layer, h) + position * head_dim});
      }
    });
  }

  // How many rows from `first` on are neighbours in one text, for attention to take together: as many as keep scores
  // small.
  std::size_t run_length(std::span<const Row> rows, std::size_t first, std::size_t group) const {
    const std::size_t most = std::clamp(kScoresMax / (group * (rows[first].position + 16)), std::size_t{1},
                                        std::clamp(kTileQueries / group, std::size_t{1}, kernels::kAttendQueriesMax));
    std::size_t last = first + 1;
    while (last < rows.size() && last - first < most && rows[last].sequence == rows[first].sequence &&
           rows[last].position == rows[last - 1].position + 1) {
      ++last;
    }
    return last - first;
  }

  // Work items: one key/value head of a few tokens, with the query heads that share it.
  bool attend(std::span<const Row> rows, std::size_t layer, const float* q, float* out) {
    const std::size_t shared = config_.heads / config_.kv_heads, head_dim = config_.head_dim;
    const std::size_t group = std::min(shared, kernels::kAttendQueriesMax);  // of the heads that share one
    const std::size_t pieces = (shared + group - 1) / group, per_run = config_.kv_heads * pieces;
    std::size_t largest = 0;  // scores of an item
    e_.runs_.clear();
    for (std::size_t first = 0; first < rows.size(); first += e_.runs_.back().tokens) {
      const std::size_t tokens = run_length(rows, first, group);
      const std::size_t stride = (rows[first].position + tokens + 15) / 16 * 16;
      e_.runs_.push_back({first, tokens, stride});
      largest = std::max(largest, tokens * group * stride);
    }
    float* scores = at_least(e_.scores_, e_.threads() * largest);
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    return e_.pool_.run(e_.runs_.size() * per_run, 1, cancel_, [&](unsigned worker, std::size_t begin, std::size_t) {
      const TokenRun& run = e_.runs_[begin / per_run];
      const std::size_t h = begin % per_run / pieces, piece = begin % pieces * group;
      const std::size_t at = run.first * config_.q_dim() + (h * shared + piece) * head_dim;
      const Row& row = rows[run.first];
      kernels_.attend({.q = q + at,
                       .keys = row.sequence->keys(layer, h),
                       .values = row.sequence->values(layer, h),
                       .tokens = run.tokens,
                       .group = std::min(group, shared - piece),
                       .positions = row.position + 1,
                       .window = 0,
                       .head_dim = head_dim,
                       .scale = scale,
                       .scores = scores + worker * largest,
                       .score_stride = run.stride,
                       .out = out + at,
                       .q_stride = config_.q_dim()});
    });
  }

  bool attention(std::span<const Row> rows, std::size_t layer, const LlamaLayer& w, float* hidden) {
    float* q = at_least(e_.q_, n_ * config_.q_dim());
    float* k = at_least(e_.k_, n_ * config_.kv_dim());
    float* v = at_least(e_.v_, n_ * config_.kv_dim());
    const Product qkv[] = {{&w.q, q}, {&w.k, k}, {&w.v, v}};
    if (!multiply(norm(w.attn_norm, hidden), qkv)) return false;
    place(rows, layer, q, k, v);
    float* mixed = at_least(e_.mixed_, n_ * config_.q_dim());
    if (!attend(rows, layer, q, mixed)) return false;
    const Product o{.weights = &w.o, .y = at_least(e_.added_, n_ * config_.dim), .add_to = hidden};
    return multiply(mixed, {&o, 1});
  }

  // down(silu(gate) · up): a block of rows of gate and up is multiplied, then joined while it is in the cache.
  bool feed_forward(const LlamaLayer& w, float* hidden) {
    const std::size_t width = config_.ffn_dim;
    const Product gate_up[] = {{&w.gate, at_least(e_.gate_, n_ * width)}, {&w.up, at_least(e_.up_, n_ * width)}};
    const float* x = norm(w.ffn_norm, hidden);
    quantize(x, config_.dim, gate_up);
    const std::size_t groups = groups_of(width);
    const bool done =
        e_.pool_.run(groups, group_block(groups), cancel_, [&](unsigned, std::size_t first, std::size_t last) {
          for (const Product& product : gate_up) multiply_groups(product, x, first, last);
          const std::size_t begin = first * kGroup, end = std::min(last * kGroup, width);
          for (std::size_t t = 0; t < n_; ++t) {
            kernels_.silu_mul({gate_up[0].y + t * width + begin, gate_up[1].y + t * width + begin, end - begin});
          }
        });
    if (!done) return false;
    const Product down{.weights = &w.down, .y = at_least(e_.added_, n_ * config_.dim), .add_to = hidden};
    return multiply(gate_up[0].y, {&down, 1});
  }

  Engine& e_;
  const Model& model_;
  const LlamaConfig& config_;
  const kernels::Kernels& kernels_;
  std::size_t n_;
  const CancelFlag* cancel_;
};

namespace {

// Each token of the slices with its position. Refuses what the cores below may rely on.
Result<std::vector<Row>> rows_of(std::span<const Slice> slices, std::size_t layer_begin, std::size_t layer_end) {
  std::vector<Row> rows;
  for (const Slice& slice : slices) {
    if (slice.sequence == nullptr || !slice.sequence->holds(layer_begin, layer_end)) {
      return fail(Code::kInvalidArgument, "a sequence has no memory for layers {} to {}", layer_begin, layer_end);
    }
    const std::size_t length = slice.sequence->length(layer_begin);
    for (std::size_t layer = layer_begin; layer < layer_end; ++layer) {
      if (slice.sequence->length(layer) == length) continue;
      return fail(Code::kFailedPrecondition, "layer {} stands at position {}, layer {} at {}", layer_begin, length,
                  layer, slice.sequence->length(layer));
    }
    if (slice.tokens > slice.sequence->capacity() - length) {
      return fail(Code::kOutOfRange, "{} tokens do not fit at position {} of a context of {}", slice.tokens, length,
                  slice.sequence->capacity());
    }
    for (std::size_t i = 0; i < slice.tokens; ++i) rows.push_back({slice.sequence, length + i});
  }
  return rows;
}

Status check_size(std::string_view what, std::size_t size, std::size_t tokens, std::size_t width) {
  if (size == tokens * width) return {};
  return fail(Code::kInvalidArgument, "{} has {} floats, {} tokens of {} were meant", what, size, tokens, width);
}

std::unexpected<Error> cancelled() { return fail(Code::kCancelled, "cancelled"); }

}  // namespace

Engine::Engine(EngineOptions options) : options_(options), pool_(options.threads) {
  options_.chunk_tokens = std::clamp(options_.chunk_tokens, std::size_t{1}, std::size_t{512});
}

Status Engine::embed(const Model& model, std::span<const std::int32_t> ids, std::span<float> hidden) const {
  const TensorView& table = model.weights().token_embd;
  const std::size_t dim = model.config().dim;
  SEDGE_CHECK(check_size("the hidden state", hidden.size(), ids.size(), dim));
  const kernels::Format& format = kernels::format_of(table.type);
  const std::size_t row_bytes = dim / format.block_values * format.block_bytes;
  for (std::size_t t = 0; t < ids.size(); ++t) {
    const auto id = static_cast<std::size_t>(ids[t]);
    if (ids[t] < 0 || id >= model.config().vocab) {
      return fail(Code::kInvalidArgument, "token {} is {}, the vocabulary has {}", t, ids[t], model.config().vocab);
    }
    format.dequantize(table.data.data() + id * row_bytes, hidden.data() + t * dim, dim);
  }
  return {};
}

Status Engine::forward(const Model& model, std::span<const Slice> slices, std::size_t layer_begin,
                       std::size_t layer_end, std::span<float> hidden, const CancelFlag* cancel) {
  if (layer_begin >= layer_end || layer_end > model.config().layers) {
    return fail(Code::kInvalidArgument, "layers {} to {} are not in a model of {}", layer_begin, layer_end,
                model.config().layers);
  }
  SEDGE_TRY(const std::vector<Row> rows, rows_of(slices, layer_begin, layer_end));
  const std::size_t dim = model.config().dim;
  SEDGE_CHECK(check_size("the hidden state", hidden.size(), rows.size(), dim));
  for (std::size_t first = 0; first < rows.size(); first += options_.chunk_tokens) {
    const auto chunk = std::span(rows).subspan(first, std::min(options_.chunk_tokens, rows.size() - first));
    Pass pass(*this, model, chunk.size(), cancel);
    if (!pass.layers(chunk, layer_begin, layer_end, hidden.data() + first * dim)) return cancelled();
  }
  for (const Row& row : rows) {  // only now, so that a cancelled call has added nothing
    for (std::size_t layer = layer_begin; layer < layer_end; ++layer) row.sequence->set_length(layer, row.position + 1);
  }
  return {};
}

Status Engine::head(const Model& model, std::span<const float> hidden, std::span<float> logits,
                    const CancelFlag* cancel) {
  const std::size_t dim = model.config().dim, vocab = model.config().vocab, tokens = hidden.size() / dim;
  SEDGE_CHECK(check_size("the hidden state", hidden.size(), tokens, dim));
  SEDGE_CHECK(check_size("the logits", logits.size(), tokens, vocab));
  for (std::size_t first = 0; first < tokens; first += options_.chunk_tokens) {
    Pass pass(*this, model, std::min(options_.chunk_tokens, tokens - first), cancel);
    if (!pass.head(hidden.data() + first * dim, logits.data() + first * vocab)) return cancelled();
  }
  return {};
}

}  // namespace sedge::engine
