#include "engine/pass.h"

#include <algorithm>
#include <cmath>

#include "kernels/attention/cache.h"
#include "kernels/attention/rotation.h"
#include "kernels/norm/centre.h"
#include "kernels/pack/pack.h"
#include "kernels/rope/rope.h"

namespace sedge::engine {

using kernels::MatmulArgs;
using model::LlamaLayer;
using model::TensorView;

namespace {

// Rows of weights a block: several blocks a thread to share unevenly, and about so many products at most, a third of a
// millisecond where a core does 10^11 a second, to notice soon that somebody cannot wait. Whole groups of packed rows;
// matrices of other types are cut alike.
constexpr std::size_t kGroup = kernels::kPackedRows, kBlockProducts = std::size_t{1} << 25;

std::size_t groups_of(std::size_t rows) { return (rows + kGroup - 1) / kGroup; }

// Logits that a thread caps at once: some tens of microseconds.
constexpr std::size_t kCapBlock = 16384;

// A query tile's rows and the scores of an item of attention at most: what stays in a core's own caches.
constexpr std::size_t kTileQueries = 24, kScoresMax = std::size_t{64} << 10;

// Of a matrix as the kernels read it.
std::size_t row_bytes_of(const TensorView& matrix) {
  const std::size_t cols = matrix.cols();
  if (kernels::is_quantized(matrix.type)) return kernels::packed_row_bytes(matrix.type, cols);
  const kernels::Format& format = kernels::format_of(matrix.type);
  return cols / format.block_values * format.block_bytes;
}

const float* floats(const TensorView& tensor) { return reinterpret_cast<const float*>(tensor.data.data()); }

void add(const float* x, std::size_t count, float* to) {
  for (std::size_t i = 0; i < count; ++i) to[i] += x[i];
}

}  // namespace

bool Pass::layers(std::span<const PassRow> rows, std::size_t begin, std::size_t end, float* hidden) {
  if (begin == 0) finish_embedding(rows, hidden);
  find_angles(rows);
  find_adapters(rows);
  for (std::size_t layer = begin; layer < end; ++layer) {
    if (!attention(rows, layer, hidden) || !feed_forward(model_.weights().layers[layer], hidden)) return false;
  }
  return true;
}

bool Pass::head(const float* hidden, float* logits) {
  const float* x = norm(model_.weights().output_norm, model_.weights().output_norm_bias, hidden);
  const Product product{.weights = &model_.weights().output, .y = logits};
  if (!multiply(x, {&product, 1})) return false;
  if (config_.logit_cap == 0) return true;
  return e_.pool_.run(n_ * config_.vocab, kCapBlock, control_, [&](unsigned, std::size_t begin, std::size_t end) {
    kernels_.softcap({logits + begin, end - begin, 1.0f, config_.logit_cap});
  });
}

// Of `cols` columns. An even number of groups for several tokens: kernels take two together.
std::size_t Pass::group_block(std::size_t groups, std::size_t cols) const {
  const std::size_t products = std::max(kGroup * cols * n_, std::size_t{1});  // of a group
  const std::size_t most = std::clamp(kBlockProducts / products, std::size_t{1}, kBlockRows / kGroup);
  const std::size_t block = std::clamp(groups / (std::size_t{e_.threads()} * 8), std::size_t{1}, most);
  return n_ > 1 ? block + block % 2 : block;
}

// What the first layer gets: with positions, the type of the first of two texts, and normed, where the model does so.
void Pass::finish_embedding(std::span<const PassRow> rows, float* hidden) {
  const model::LlamaWeights& w = model_.weights();
  add_rows(w.position_embd, [&](std::size_t t) { return rows[t].position; }, hidden);
  add_rows(w.token_types, [](std::size_t) { return std::size_t{0}; }, hidden);
  norm_in_place(w.embd_norm, w.embd_norm_bias, hidden);
}

// Adds row row_of(t) of a table to token t.
template <class RowOf>
void Pass::add_rows(const TensorView& table, const RowOf& row_of, float* hidden) {
  if (table.data.empty()) return;
  const kernels::Format& format = kernels::format_of(table.type);
  const std::size_t dim = config_.dim, row_bytes = dim / format.block_values * format.block_bytes;
  float* learned = at_least(e_.normed_, n_ * dim);
  for_each_token([&](std::size_t t) {
    format.dequantize(table.data.data() + row_of(t) * row_bytes, learned + t * dim, dim);
    add(learned + t * dim, dim, hidden + t * dim);
  });
}

void Pass::find_angles(std::span<const PassRow> rows) {
  if (config_.features.rope == model::RopeLayout::kNone) return;
  const auto find = [&](std::span<const double> frequencies, double magnitude, float* cosines, float* sines) {
    for_each_token([&](std::size_t t) {
      kernels::rope_angles(frequencies, rows[t].position, magnitude, cosines + t * pairs(), sines + t * pairs());
    });
  };
  find(model_.rope_frequencies(), model_.rope_magnitude(), at_least(e_.cosines_, n_ * pairs()),
       at_least(e_.sines_, n_ * pairs()));
  if (model_.local_rope_frequencies().empty()) return;
  find(model_.local_rope_frequencies(), 1.0, at_least(e_.local_cosines_, n_ * pairs()),
       at_least(e_.local_sines_, n_ * pairs()));
}

// LayerNorm is RMSNorm of what is left of the mean, and a bias.
void Pass::norm_row(const TensorView& weight, const TensorView& bias, const float* x, std::size_t count,
                    float* y) const {
  if (config_.features.norm == model::NormKind::kLayer) {
    kernels::centre({x, count}, y);
    x = y;
  }
  kernels_.rms_norm({x, floats(weight), count, config_.norm_eps, y});
  if (!bias.data.empty()) add(floats(bias), count, y);
}

// Without a weight x as it is.
const float* Pass::norm(const TensorView& weight, const TensorView& bias, const float* x) {
  if (weight.data.empty()) return x;
  const std::size_t dim = config_.dim;
  float* y = at_least(e_.normed_, n_ * dim);
  for_each_token([&](std::size_t t) { norm_row(weight, bias, x + t * dim, dim, y + t * dim); });
  return y;
}

// Without a weight nothing.
void Pass::norm_in_place(const TensorView& weight, const TensorView& bias, float* x) {
  if (weight.data.empty()) return;
  const std::size_t dim = config_.dim;
  for_each_token([&](std::size_t t) { norm_row(weight, bias, x + t * dim, dim, x + t * dim); });
}

void Pass::final_norm(float* hidden) {
  norm_in_place(model_.weights().output_norm, model_.weights().output_norm_bias, hidden);
}

// The norm of what a block adds: x is left normed.
void Pass::add_normed(const TensorView& weight, float* x, float* hidden) {
  const std::size_t dim = config_.dim;
  for_each_token([&](std::size_t t) {
    norm_row(weight, {}, x + t * dim, dim, x + t * dim);
    add(x + t * dim, dim, hidden + t * dim);
  });
}

// What products of x [n, cols] read besides it.
void Pass::prepare(const float* x, std::size_t cols, std::span<const Product> products) {
  quantize(x, cols, products);
  reduce(x, cols, products);
}

// Makes the 8-bit form of x [n, cols] when one of the weights asks for it.
void Pass::quantize(const float* x, std::size_t cols, std::span<const Product> products) {
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
void Pass::multiply_groups(const Product& product, const float* x, std::size_t first, std::size_t last) const {
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
  if (!e_.adapter_parts_.empty()) add_adapters(product, begin, end);
  const bool biased = product.bias != nullptr && !product.bias->data.empty();
  if (!biased && product.add_to == nullptr) return;
  for (std::size_t t = 0; t < n_; ++t) {
    float* y = product.y + t * rows + begin;
    if (biased) add(floats(*product.bias) + begin, end - begin, y);
    if (product.add_to != nullptr) add(y, end - begin, product.add_to + t * rows + begin);
  }
}

// Several products of the same x in one loop over all their rows.
bool Pass::multiply(const float* x, std::span<const Product> products) {
  const std::size_t cols = products[0].weights->cols();
  prepare(x, cols, products);
  std::size_t total = 0;
  for (const Product& product : products) total += groups_of(product.weights->rows());
  return e_.pool_.run(total, group_block(total, cols), control_, [&](unsigned, std::size_t begin, std::size_t end) {
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

// Norms the heads of token t's queries or keys where the model does, and turns them by its position.
void Pass::turn(const TensorView& norm, std::size_t layer, std::size_t t, std::size_t heads, float* x) const {
  const std::size_t head_dim = config_.head_dim;
  if (config_.features.head_norms) {
    for (std::size_t h = 0; h < heads; ++h) norm_row(norm, {}, x + h * head_dim, head_dim, x + h * head_dim);
  }
  if (!config_.rotates(layer)) return;
  const bool local = config_.is_local(layer) && !model_.local_rope_frequencies().empty();
  kernels::rope({.x = x,
                 .heads = heads,
                 .head_dim = head_dim,
                 .pairs = pairs(),
                 .cosines = (local ? e_.local_cosines_ : e_.cosines_).data() + t * pairs(),
                 .sines = (local ? e_.local_sines_ : e_.sines_).data() + t * pairs(),
                 .interleaved = config_.features.rope == model::RopeLayout::kInterleaved});
}

// Turns q and k and files k and v in the cache, all three rotated where it is.
void Pass::place(std::span<const PassRow> rows, std::size_t layer, float* q, float* k, float* v) {
  const LlamaLayer& w = model_.weights().layers[layer];
  for_each_token([&](std::size_t t) {
    turn(w.q_norm, layer, t, config_.heads, q + t * config_.q_dim());
    turn(w.k_norm, layer, t, config_.kv_heads, k + t * config_.kv_dim());
    rotate(config_.heads, q + t * config_.q_dim());
    rotate(config_.kv_heads, k + t * config_.kv_dim());
    rotate(config_.kv_heads, v + t * config_.kv_dim());
    for (std::size_t h = 0; h < config_.kv_heads; ++h) {
      const std::size_t from = t * config_.kv_dim() + h * config_.head_dim;
      rows[t].sequence->keep(layer, h, rows[t].position, k + from, v + from);
    }
  });
}

// There and back, where the cache is rotated.
void Pass::rotate(std::size_t heads, float* x) const {
  if (kernels::is_rotated(model_.cache_format())) kernels::rotate(x, heads, config_.head_dim);
}

// How many rows from `first` on are neighbours in one text, for attention to take together: as many as keep scores
// small.
std::size_t Pass::run_length(std::span<const PassRow> rows, std::size_t first, std::size_t group) const {
  const std::size_t most = std::clamp(kScoresMax / (group * (rows[first].seen + 15)), std::size_t{1},
                                      std::clamp(kTileQueries / group, std::size_t{1}, kernels::kAttendQueriesMax));
  std::size_t last = first + 1;
  while (last < rows.size() && last - first < most && rows[last].sequence == rows[first].sequence &&
         rows[last].position == rows[last - 1].position + 1) {
    ++last;
  }
  return last - first;
}

// Work items: one key/value head of a few tokens, with the query heads that share it.
bool Pass::attend(std::span<const PassRow> rows, std::size_t layer, const float* q, float* out) {
  const std::size_t shared = config_.heads / config_.kv_heads, head_dim = config_.head_dim;
  const std::size_t group = std::min(shared, kernels::kAttendQueriesMax);  // of the heads that share one
  const std::size_t pieces = (shared + group - 1) / group, per_run = config_.kv_heads * pieces;
  std::size_t largest = 0, room = 0;  // scores of an item, now and when a text is full
  e_.runs_.clear();
  for (std::size_t first = 0; first < rows.size(); first += e_.runs_.back().tokens) {
    const std::size_t tokens = run_length(rows, first, group);
    const std::size_t stride = (rows[first + tokens - 1].seen + 15) / 16 * 16;
    e_.runs_.push_back({first, tokens, stride});
    largest = std::max(largest, tokens * group * stride);
    room = std::max(room, group * ((rows[first].sequence->capacity() + 15) / 16 * 16));
  }
  e_.scores_.reserve(e_.threads() * std::max(largest, room));  // a text's later steps then find it large enough
  float* scores = at_least(e_.scores_, e_.threads() * largest);
  const float scale = 1.0f / std::sqrt(static_cast<float>(config_.scale_dim != 0 ? config_.scale_dim : head_dim));
  const std::size_t window = config_.is_local(layer) ? config_.window : 0;
  const kernels::Kernels::Attend attend_one = kernels_.attend(model_.cache_format());
  const auto attend_item = [&](unsigned worker, std::size_t item) {
    const TokenRun& run = e_.runs_[item / per_run];
    const std::size_t h = item % per_run / pieces, piece = item % pieces * group;
    const std::size_t at = run.first * config_.q_dim() + (h * shared + piece) * head_dim;
    const PassRow& row = rows[run.first];
    const std::size_t heads_here = std::min(group, shared - piece);
    attend_one({.q = q + at,
                .keys = row.sequence->keys(layer, h),
                .values = row.sequence->values(layer, h),
                .tokens = run.tokens,
                .group = heads_here,
                .positions = row.seen,
                .window = window,
                .head_dim = head_dim,
                .scale = scale,
                .scores = scores + worker * largest,
                .score_stride = run.stride,
                .out = out + at,
                .q_stride = config_.q_dim(),
                .cap = config_.attention_cap,
                .causal = config_.features.causal});
    for (std::size_t t = 0; t < run.tokens; ++t) rotate(heads_here, out + at + t * config_.q_dim());
  };
  return e_.pool_.run(e_.runs_.size() * per_run, 1, control_, [&](unsigned worker, std::size_t begin, std::size_t end) {
    for (std::size_t item = begin; item < end; ++item) attend_item(worker, item);
  });
}

bool Pass::attention(std::span<const PassRow> rows, std::size_t layer, float* hidden) {
  const LlamaLayer& w = model_.weights().layers[layer];
  float* q = at_least(e_.q_, n_ * config_.q_dim());
  float* k = at_least(e_.k_, n_ * config_.kv_dim());
  float* v = at_least(e_.v_, n_ * config_.kv_dim());
  const Product qkv[] = {{&w.q, q, &w.q_bias}, {&w.k, k, &w.k_bias}, {&w.v, v, &w.v_bias}};
  if (!multiply(norm(w.attn_norm, w.attn_norm_bias, hidden), qkv)) return false;
  place(rows, layer, q, k, v);
  float* mixed = at_least(e_.mixed_, n_ * config_.q_dim());
  if (!attend(rows, layer, q, mixed)) return false;
  const bool post = config_.features.post_norms;
  float* added = at_least(e_.added_, n_ * config_.dim);
  const Product o{.weights = &w.o, .y = added, .bias = &w.o_bias, .add_to = post ? nullptr : hidden};
  if (!multiply(mixed, {&o, 1})) return false;
  if (post) add_normed(w.attn_post_norm, added, hidden);
  if (config_.features.residual_norms) norm_in_place(w.attn_post_norm, w.attn_post_norm_bias, hidden);
  return true;
}

void Pass::activate(float* gate, const float* up, std::size_t count) const {
  if (config_.features.feed_forward == model::FeedForward::kSwiGlu) {
    kernels_.silu_mul({gate, up, count});
  } else {
    kernels_.gelu_mul({gate, up, count});
  }
}

// down(f(gate) · up): a block of rows of gate and up is multiplied, then joined while it is in the cache. Without a
// gate up takes its place, and its partner is ones.
bool Pass::run_network(const Network& network, const float* x, float* y, float* add_to) {
  const std::size_t width = network.width;
  const bool gated = !network.gate->data.empty();
  float* gate = at_least(e_.gate_, n_ * width);
  float* up = gated ? at_least(e_.up_, n_ * width) : nullptr;
  if (!gated && e_.ones_.size() < width) e_.ones_.assign(width, 1.0f);
  const Product both[] = {{network.gate, gate}, {network.up, gated ? up : gate, network.up_bias}};
  const auto products = std::span(both).subspan(gated ? 0 : 1);
  prepare(x, config_.dim, products);
  const std::size_t groups = groups_of(width);
  const bool done = e_.pool_.run(groups, group_block(groups, products.size() * config_.dim), control_,
                                 [&](unsigned, std::size_t first, std::size_t last) {
                                   for (const Product& product : products) multiply_groups(product, x, first, last);
                                   const std::size_t begin = first * kGroup, end = std::min(last * kGroup, width);
                                   for (std::size_t t = 0; t < n_; ++t) {
                                     activate(gate + t * width + begin,
                                              (gated ? up + t * width : e_.ones_.data()) + begin, end - begin);
                                   }
                                 });
  if (!done) return false;
  const Product down{.weights = network.down, .y = y, .bias = network.down_bias, .add_to = add_to};
  return multiply(gate, {&down, 1});
}

bool Pass::feed_forward(const LlamaLayer& w, float* hidden) {
  const float* x = norm(w.ffn_norm, w.ffn_norm_bias, hidden);
  float* added = at_least(e_.added_, n_ * config_.dim);
  const bool direct = !config_.features.post_norms && config_.experts == 0;
  if (config_.experts != 0) {
    if (!mixture(w, x, added)) return false;
  } else if (!run_network({&w.gate, &w.up, &w.down, &w.up_bias, &w.down_bias, config_.ffn_dim}, x, added,
                          direct ? hidden : nullptr)) {
    return false;
  }
  if (config_.features.post_norms) {
    add_normed(w.ffn_post_norm, added, hidden);
  } else if (!direct) {
    for_each_token([&](std::size_t t) { add(added + t * config_.dim, config_.dim, hidden + t * config_.dim); });
  }
  if (config_.features.residual_norms) norm_in_place(w.ffn_post_norm, w.ffn_post_norm_bias, hidden);
  return true;
}

}  // namespace sedge::engine
