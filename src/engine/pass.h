// One chunk of one call through layers: what each feature of an architecture (model/architecture.h) does to the
// numbers. Loops of a layer that go through the pool: q with k and v, attention, o, gate with up, down; a mixture's
// once for each expert that is asked for. Internal to engine*.cc and pass*.cc.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "engine/engine.h"
#include "kernels/kernels.h"

namespace sedge::engine {

class Pass {
 public:
  Pass(Engine& engine, const Model& model, std::size_t tokens, const Control* control)
      : e_(engine),
        model_(model),
        config_(model.config()),
        kernels_(kernels::active_kernels()),
        n_(tokens),
        control_(control) {}

  // hidden [tokens, dim] in place. False: cancelled.
  bool layers(std::span<const PassRow> rows, std::size_t begin, std::size_t end, float* hidden);
  // logits [tokens, vocab].
  bool head(const float* hidden, float* logits);
  // The norm in front of the head, in place, where the model has one.
  void final_norm(float* hidden);

 private:
  static constexpr std::size_t kBlockRows = 256;  // of weights that a thread takes at once, at most

  // y [tokens, rows of weights] = x · weightsᵀ + bias; `add_to`, when given, gets y added: the residual stream.
  struct Product {
    const model::TensorView* weights;
    float* y;
    const model::TensorView* bias = nullptr;  // may be an empty view
    float* add_to = nullptr;
  };
  // A feed-forward network: the layer's, or one expert.
  struct Network {
    const model::TensorView *gate, *up, *down;  // gate may be an empty view
    const model::TensorView *up_bias = nullptr, *down_bias = nullptr;
    std::size_t width;
  };

  std::size_t pairs() const { return config_.rope_dim / 2; }
  std::size_t group_block(std::size_t groups, std::size_t cols) const;

  // One token is not worth a thread's attention.
  template <class Body>
  void for_each_token(const Body& body) {
    e_.pool_.run(n_, std::max(n_ / (std::size_t{e_.threads()} * 4), std::size_t{1}), nullptr,
                 [&](unsigned, std::size_t begin, std::size_t end) {
                   for (std::size_t t = begin; t < end; ++t) body(t);
                 });
  }

  void finish_embedding(std::span<const PassRow> rows, float* hidden);
  template <class RowOf>
  void add_rows(const model::TensorView& table, const RowOf& row_of, float* hidden);
  void find_angles(std::span<const PassRow> rows);
  void norm_row(const model::TensorView& weight, const model::TensorView& bias, const float* x, std::size_t count,
                float* y) const;
  const float* norm(const model::TensorView& weight, const model::TensorView& bias, const float* x);
  void norm_in_place(const model::TensorView& weight, const model::TensorView& bias, float* x);
  void add_normed(const model::TensorView& weight, float* x, float* hidden);

  void prepare(const float* x, std::size_t cols, std::span<const Product> products);
  void quantize(const float* x, std::size_t cols, std::span<const Product> products);
  void multiply_groups(const Product& product, const float* x, std::size_t first, std::size_t last) const;
  bool multiply(const float* x, std::span<const Product> products);

  void turn(const model::TensorView& norm, std::size_t layer, std::size_t t, std::size_t heads, float* x) const;
  void place(std::span<const PassRow> rows, std::size_t layer, float* q, float* k, float* v);
  void rotate(std::size_t heads, float* x) const;
  std::size_t run_length(std::span<const PassRow> rows, std::size_t first, std::size_t group) const;
  bool attend(std::span<const PassRow> rows, std::size_t layer, const float* q, float* out);
  bool attention(std::span<const PassRow> rows, std::size_t layer, float* hidden);

  void activate(float* gate, const float* up, std::size_t count) const;
  bool run_network(const Network& network, const float* x, float* y, float* add_to);
  bool feed_forward(const model::LlamaLayer& w, float* hidden);

  // pass_adapters.cc
  void find_adapters(std::span<const PassRow> rows);
  void reduce(const float* x, std::size_t cols, std::span<const Product> products);
  void add_adapters(const Product& product, std::size_t begin, std::size_t end) const;

  // pass_mixture.cc
  bool mixture(const model::LlamaLayer& w, const float* x, float* y);
  void choose(const float* logits, std::uint32_t* chosen, float* shares) const;
  bool run_expert(const model::LlamaExpert& expert, std::uint32_t number, const float* x);

  Engine& e_;
  const Model& model_;
  const model::LlamaConfig& config_;
  const kernels::Kernels& kernels_;
  std::size_t n_;
  const Control* control_;
  std::span<const AdapterRun> adapted_{};  // rows with adapters; none within an expert and at the head
};

// Scratch of at least `size`: grown, never shrunk.
template <class T>
T* at_least(Lines<T>& scratch, std::size_t size) {
  if (scratch.size() < size) scratch.resize(size);
  return scratch.data();
}

}  // namespace sedge::engine
