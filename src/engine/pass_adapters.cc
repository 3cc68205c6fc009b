// What adapters add to a pass: y += B·(scale·(A·x)) for the rows whose text asked for one.
//
// Rows of texts with equal adapters that stand next to each other are a run. Before a product, A of every run's
// adapters is multiplied by the rows of the run, in one loop over all of them; then, while a block of the product's
// rows is in the cache, before its bias, its residual or its activation, B of those rows is. Each number is one
// thread's, in the kernels' order for floats, and adapters add one after the other as the text names them: no
// neighbour, no cut and no thread changes a bit. Where nobody has an adapter a product looks at one empty list.
// Rejected: sorting rows by adapter (attention wants a text's rows together); A and B as more products of the same loop
// (B needs all of A·x).
#include "base/assert.h"
#include "engine/pass.h"

namespace sedge::engine {

namespace {

// Rows of a run at most: their products with a block of B lie on the stack, and A of a long prompt is work for several
// threads.
constexpr std::size_t kRunTokens = 24;
constexpr std::size_t kRankBlock = 16;  // rows of A a thread takes at once

std::size_t blocks_of(const AdapterPart& part) { return (part.pair->a.rows() + kRankBlock - 1) / kRankBlock; }

}  // namespace

void Pass::find_adapters(std::span<const PassRow> rows) {
  e_.adapter_runs_.clear();
  for (std::size_t t = 0; t < rows.size(); ++t) {
    if (rows[t].adapters.empty()) continue;
    AdapterRun* last = e_.adapter_runs_.empty() ? nullptr : &e_.adapter_runs_.back();
    const bool goes_on = last != nullptr && last->first + last->tokens == t && last->tokens < kRunTokens &&
                         std::ranges::equal(last->adapters, rows[t].adapters);
    if (goes_on) {
      ++last->tokens;
    } else {
      e_.adapter_runs_.push_back({t, 1, rows[t].adapters});
    }
  }
  adapted_ = e_.adapter_runs_;
}

// Before products of x [n, cols]: scale·(A·x) of every pair that adds to one of them.
void Pass::reduce(const float* x, std::size_t cols, std::span<const Product> products) {
  e_.adapter_parts_.clear();
  if (adapted_.empty()) return;
  std::size_t size = 0, blocks = 0;
  for (const Product& product : products) {
    for (const AdapterRun& run : adapted_) {
      for (const AdapterUse& use : run.adapters) {
        const model::LoraPair* pair = use.adapter->find(product.weights);
        if (pair == nullptr) continue;
        const AdapterPart part{product.weights, pair, use.scale * pair->scale, run.first, run.tokens, size};
        size += run.tokens * pair->a.rows();
        blocks += blocks_of(e_.adapter_parts_.emplace_back(part));
      }
    }
  }
  float* reduced = at_least(e_.reduced_, size);
  const auto reduce_block = [&](const AdapterPart& part, std::size_t block) {
    const model::TensorView& a = part.pair->a;
    const std::size_t rank = a.rows(), begin = block * kRankBlock, end = std::min(begin + kRankBlock, rank);
    float* y = reduced + part.at + begin;
    const std::size_t row_bytes = a.data.size() / rank;
    kernels_.matmul(a.type)({.weights = a.data.data() + begin * row_bytes,
                             .row_bytes = row_bytes,
                             .rows = end - begin,
                             .cols = cols,
                             .x = x + part.first * cols,
                             .quants = nullptr,
                             .scales = nullptr,
                             .sums = nullptr,
                             .tokens = part.tokens,
                             .y = y,
                             .y_stride = rank});
    for (std::size_t t = 0; t < part.tokens; ++t) {
      for (std::size_t r = 0; r < end - begin; ++r) y[t * rank + r] *= part.scale;
    }
  };
  e_.pool_.run(blocks, 1, nullptr, [&](unsigned, std::size_t first, std::size_t last) {
    for (const AdapterPart& part : e_.adapter_parts_) {
      const std::size_t count = blocks_of(part);
      for (std::size_t block = first; block < std::min(last, count); ++block) reduce_block(part, block);
      first -= std::min(first, count), last -= std::min(last, count);
    }
  });
}

// Adds B's part to rows [begin, end) of a product, for the tokens that have one. Requires: end - begin <= kBlockRows.
void Pass::add_adapters(const Product& product, std::size_t begin, std::size_t end) const {
  const std::size_t rows = product.weights->rows(), count = end - begin;
  SEDGE_ASSERT(count <= kBlockRows);
  alignas(64) float added[kRunTokens * kBlockRows];
  for (const AdapterPart& part : e_.adapter_parts_) {
    if (part.matrix != product.weights) continue;
    const model::TensorView& b = part.pair->b;
    const std::size_t row_bytes = b.data.size() / rows;
    kernels_.matmul(b.type)({.weights = b.data.data() + begin * row_bytes,
                             .row_bytes = row_bytes,
                             .rows = count,
                             .cols = b.cols(),
                             .x = e_.reduced_.data() + part.at,
                             .quants = nullptr,
                             .scales = nullptr,
                             .sums = nullptr,
                             .tokens = part.tokens,
                             .y = added,
                             .y_stride = count});
    for (std::size_t t = 0; t < part.tokens; ++t) {
      float* y = product.y + (part.first + t) * rows + begin;
      for (std::size_t r = 0; r < count; ++r) y[r] += added[t * count + r];
    }
  }
}

}  // namespace sedge::engine
