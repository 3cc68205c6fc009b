#include "train/net.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include <fmt/format.h>

#include "base/prng.h"
#include "train/muon.h"

namespace sedge::train {
namespace {

constexpr std::size_t kRowsAtOnce = 128;  // 128 rows of 256 floats: 128 KiB, a fraction of a core's L2

// Memory that starts on a vector and is never moved.
template <class T>
class Plane {
 public:
  explicit Plane(std::size_t count) : data_(static_cast<T*>(::operator new(count * sizeof(T), kAlign))), count_(count) {
    std::memset(static_cast<void*>(data_.get()), 0, count * sizeof(T));
  }
  T* get() const { return data_.get(); }
  std::size_t size() const { return count_; }
  Matrix<T> as(std::size_t rows, std::size_t cols) const {
    SEDGE_ASSERT(rows * cols <= count_);
    return matrix(data_.get(), rows, cols);
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(T* at) const { ::operator delete(static_cast<void*>(at), kAlign); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t count_;
};

std::size_t round_up(std::size_t x, std::size_t step) { return (x + step - 1) / step * step; }

}  // namespace

std::vector<WeightSlot> weight_slots(const NetConfig& c) {
  const float spread = 0.02F;
  const float into_residual = spread / std::sqrt(2.0F * static_cast<float>(c.layers));  // Radford et al. 2019, §2.3
  std::vector<WeightSlot> slots;
  std::size_t offset = 0;
  const auto add = [&](std::string name, std::size_t rows, std::size_t cols, float deviation,
                       std::vector<std::size_t> parts = {}) {
    slots.push_back({std::move(name), rows, cols, offset, deviation > 0, std::move(parts), deviation});
    offset += round_up(rows * cols, 16);
  };
  const std::size_t kv = c.kv_heads * c.head_dim();
  add("embedding", c.vocab, c.dim, spread);
  for (std::size_t l = 0; l < c.layers; ++l) {
    const auto name = [l](std::string_view part) { return fmt::format("layer.{}.{}", l, part); };
    add(name("attention_norm"), 1, c.dim, 0);
    add(name("qkv"), c.qkv(), c.dim, spread, {c.dim, kv, kv});
    add(name("attention_out"), c.dim, c.dim, into_residual, {c.dim});
    add(name("ffn_norm"), 1, c.dim, 0);
    add(name("gate_up"), 2 * c.ffn, c.dim, spread, {c.ffn, c.ffn});
    add(name("down"), c.dim, c.ffn, into_residual, {c.dim});
  }
  add("output_norm", 1, c.dim, 0);
  return slots;
}

std::size_t weight_count(const NetConfig& config) {
  const auto slots = weight_slots(config);
  return slots.back().offset + round_up(slots.back().count(), 16);
}

void initialize(const NetConfig& config, std::uint64_t seed, std::span<float> weights) {
  Prng prng(seed);
  for (const WeightSlot& slot : weight_slots(config)) {
    for (float& w : weights.subspan(slot.offset, slot.count())) {
      if (slot.spread == 0) {
        w = 1.0F;
        continue;
      }
      const double radius = std::sqrt(-2.0 * std::log(1.0 - prng.uniform()));  // Box & Muller 1958
      w = slot.spread * static_cast<float>(radius * std::cos(2.0 * std::numbers::pi * prng.uniform()));
    }
  }
}

namespace {

// Where a layer's weights stand among the slots.
enum Part : std::size_t { kAttentionNorm, kQkv, kAttentionOut, kFfnNorm, kGateUp, kDown, kParts };

template <class T>
class NetOf final : public Net {
 public:
  NetOf(const NetConfig& config, std::size_t capacity, Backend& backend);

  std::span<float> weights() override { return {weights_.get(), weights_.size()}; }
  std::span<float> gradients() override { return {gradients_.get(), gradients_.size()}; }
  void refresh() override {
    if (half_) fused_.to_bf16(weights_.get(), half_->get(), weights_.size());
  }
  StepResult forward(const Batch& batch, std::vector<std::uint8_t>* right) override;
  void backward(const Batch& batch) override;
  void update(AdamW adamw, const std::optional<Muon>& muon, std::span<float> m, std::span<float> v) override;

 private:
  // What the forward pass of one layer leaves for the backward pass.
  struct Layer {
    Plane<float> x_attention, x_ffn, rstd_attention, rstd_ffn;
    Plane<T> h_attention, qkv, attended, h_ffn, gate_up, gated;
    Layer(const NetConfig& c, std::size_t rows)
        : x_attention(rows * c.dim),
          x_ffn(rows * c.dim),
          rstd_attention(rows),
          rstd_ffn(rows),
          h_attention(rows * c.dim),
          qkv(rows * c.qkv()),
          attended(rows * c.dim),
          h_ffn(rows * c.dim),
          gate_up(rows * 2 * c.ffn),
          gated(rows * c.ffn) {}
  };

  const WeightSlot& slot(std::size_t layer, Part part) const { return slots_[1 + layer * kParts + part]; }
  const float* gain(const WeightSlot& slot) const { return weights_.get() + slot.offset; }
  Matrix<T> weight(const WeightSlot& slot) const {
    T* all;
    if constexpr (sizeof(T) == sizeof(float)) {
      all = weights_.get();
    } else {
      all = half_->get();
    }
    return matrix(all + slot.offset, slot.rows, slot.cols);
  }

  void for_rows(std::size_t rows, const std::function<void(std::size_t, std::size_t)>& work) const {
    backend_.parallel((rows + kRowsAtOnce - 1) / kRowsAtOnce, [&](std::size_t task, std::size_t) {
      work(task * kRowsAtOnce, std::min(rows, (task + 1) * kRowsAtOnce));
    });
  }

  void embed(const Batch& batch);
  void norm(const WeightSlot& slot, std::size_t rows, const float* x_in, const T* add, float* x_out, float* rstd, T* h);
  void norm_backward(const WeightSlot& slot, std::size_t rows, const float* x, const float* rstd, const T* dh, T* dadd);
  Attention<T> attention_of(Layer& layer);
  void attend(const Batch& batch, Layer& layer);
  void attend_backward(const Batch& batch, Layer& layer);
  void gather(const Batch& batch, Layer& layer);
  void scatter(const Batch& batch, const T* dattended);
  void layer_forward(std::size_t l, const Batch& batch, const float* x_in, const T* add);
  void layer_backward(std::size_t l, const Batch& batch, bool first);
  struct Part {  // a matrix of a slot
    std::size_t offset = 0, rows = 0, cols = 0;
  };
  void muon_step(const Part& part, Muon step, std::span<float> m, Orthogonalizer<T>& scratch);
  void weight_gradient(const WeightSlot& slot, const Matrix<T>& dy, const Matrix<T>& x);
  StepResult score(const Batch& batch, std::vector<std::uint8_t>* right);
  std::size_t rows_of(std::size_t l) const { return l + 1 == config_.layers ? counted_ : capacity_; }

  NetConfig config_;
  std::size_t capacity_;
  Backend& backend_;
  const Fused& fused_;
  const FusedOf<T>& of_;
  std::vector<WeightSlot> slots_;
  Plane<float> weights_, gradients_;
  std::unique_ptr<Plane<Bf16>> half_;
  Plane<float> angles_;   // [context, head_dim]
  Plane<float> scratch_;  // of attention, one part a thread
  Plane<float> dgain_;    // [row groups, dim]: summed in order, so the sum does not depend on threads
  std::vector<Layer> layers_;
  // Past the last attention only the counted rows go on: x, attended and everything after have counted_ rows.
  Plane<float> x_last_, x_out_, rstd_out_, dx_, dx_counted_;
  Plane<T> attended_last_, branch_, h_out_, logits_, dh_, dwide_, dweight_;
  std::vector<Part> parts_;
  std::vector<Orthogonalizer<T>> orthogonalizers_;  // one a worker
  std::size_t counted_ = 0;  // counted rows, rounded up to whole groups: few shapes, each planned once by the library
  std::vector<std::uint32_t> rows_;
  std::vector<std::int32_t> targets_;
  std::vector<float> losses_;
  std::vector<std::uint8_t> hits_;
};

template <class T>
NetOf<T>::NetOf(const NetConfig& config, std::size_t capacity, Backend& backend)
    : config_(config),
      capacity_(capacity),
      backend_(backend),
      fused_(fused()),
      of_(fused_.of<T>()),
      slots_(weight_slots(config)),
      weights_(weight_count(config)),
      gradients_(weight_count(config)),
      angles_(config.context * config.head_dim()),
      scratch_(backend.threads() * attention_scratch_floats(config.context, config.head_dim())),
      dgain_((capacity / kRowsAtOnce + 1) * config.dim),
      x_last_(capacity * config.dim),
      x_out_(capacity * config.dim),
      rstd_out_(capacity),
      dx_(capacity * config.dim),
      dx_counted_(capacity * config.dim),
      attended_last_(capacity * config.dim),
      branch_(capacity * config.dim),
      h_out_(capacity * config.dim),
      logits_(capacity * config.vocab),
      dh_(capacity * std::max(config.dim, config.ffn)),
      dwide_(capacity * std::max(config.qkv(), config.dim)),
      dweight_(std::max({config.vocab, config.qkv(), 2 * config.ffn}) * config.dim),
      rows_(capacity),
      targets_(capacity),
      losses_(capacity),
      hits_(capacity) {
  if (sizeof(T) == sizeof(Bf16)) half_ = std::make_unique<Plane<Bf16>>(weights_.size());
  layers_.reserve(config.layers);
  for (std::size_t l = 0; l < config.layers; ++l) layers_.emplace_back(config, capacity);
  for (const WeightSlot& slot : slots_) {
    std::size_t offset = slot.offset;
    for (const std::size_t rows : slot.parts) {
      parts_.push_back({offset, rows, slot.cols});
      offset += rows * slot.cols;
    }
  }
  for (std::size_t w = 0; w < backend.threads(); ++w) {
    orthogonalizers_.emplace_back(backend, std::max(config.dim, config.ffn) * config.dim, config.dim);
  }
  const std::size_t half = config.head_dim() / 2;
  for (std::size_t i = 0; i < config.context; ++i) {
    for (std::size_t d = 0; d < half; ++d) {
      const double frequency = std::pow(static_cast<double>(config.rope_base),
                                        -2.0 * static_cast<double>(d) / static_cast<double>(config.head_dim()));
      const double angle = static_cast<double>(i) * frequency;
      angles_.get()[i * 2 * half + d] = static_cast<float>(std::cos(angle));
      angles_.get()[i * 2 * half + half + d] = static_cast<float>(std::sin(angle));
    }
  }
}

template <class T>
void NetOf<T>::embed(const Batch& batch) {
  float* x = layers_[0].x_attention.get();
  const std::size_t dim = config_.dim;
  for_rows(capacity_, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto id = static_cast<std::size_t>(batch.tokens[i]);
      std::memcpy(x + i * dim, weights_.get() + id * dim, dim * sizeof(float));
    }
  });
}

template <class T>
void NetOf<T>::norm(const WeightSlot& slot, std::size_t rows, const float* x_in, const T* add, float* x_out,
                    float* rstd, T* h) {
  const AddNorm<T> op{config_.dim, config_.epsilon, x_in, add, gain(slot), x_out, rstd, h};
  for_rows(rows, [&](std::size_t begin, std::size_t end) { of_.add_norm(op, begin, end); });
}

// dx_ carries the residual's gradient from norm to norm.
template <class T>
void NetOf<T>::norm_backward(const WeightSlot& slot, std::size_t rows, const float* x, const float* rstd, const T* dh,
                             T* dadd) {
  const std::size_t dim = config_.dim, groups = (rows + kRowsAtOnce - 1) / kRowsAtOnce;
  const AddNormBackward<T> op{dim, x, rstd, gain(slot), dh, dx_.get(), dadd};
  std::fill_n(dgain_.get(), groups * dim, 0.0F);
  for_rows(rows, [&](std::size_t begin, std::size_t end) {
    of_.add_norm_backward(op, begin, end, dgain_.get() + begin / kRowsAtOnce * dim);
  });
  float* sum = gradients_.get() + slot.offset;
  std::fill_n(sum, dim, 0.0F);
  for (std::size_t g = 0; g < groups; ++g) {
    for (std::size_t i = 0; i < dim; ++i) sum[i] += dgain_.get()[g * dim + i];
  }
}

template <class T>
Attention<T> NetOf<T>::attention_of(Layer& layer) {
  return {config_.heads, config_.kv_heads,     config_.head_dim(), layer.qkv.get(),
          angles_.get(), layer.attended.get(), dh_.get(),          dwide_.get()};
}

// Rows of filler take part in products: they must hold numbers, and zero ones in a gradient.
template <class T>
void zero_filler(const Batch& batch, T* rows, std::size_t capacity, std::size_t width) {
  const std::size_t used = batch.sequences.empty() ? 0 : batch.sequences.back().begin + batch.sequences.back().length;
  std::memset(static_cast<void*>(rows + used * width), 0, (capacity - used) * width * sizeof(T));
}

template <class T>
void NetOf<T>::attend(const Batch& batch, Layer& layer) {
  const Attention<T> op = attention_of(layer);
  const std::size_t scratch = attention_scratch_floats(config_.context, config_.head_dim());
  zero_filler(batch, op.out, capacity_, config_.dim);
  backend_.parallel(batch.sequences.size() * config_.kv_heads, [&](std::size_t task, std::size_t worker) {
    const Sequence& sequence = batch.sequences[task / config_.kv_heads];
    of_.attention(op, sequence.begin, sequence.length, task % config_.kv_heads, scratch_.get() + worker * scratch);
  });
}

template <class T>
void NetOf<T>::attend_backward(const Batch& batch, Layer& layer) {
  const Attention<T> op = attention_of(layer);
  const std::size_t scratch = attention_scratch_floats(config_.context, config_.head_dim());
  zero_filler(batch, op.dqkv, capacity_, config_.qkv());
  backend_.parallel(batch.sequences.size() * config_.kv_heads, [&](std::size_t task, std::size_t worker) {
    const Sequence& sequence = batch.sequences[task / config_.kv_heads];
    of_.attention_backward(op, sequence.begin, sequence.length, task % config_.kv_heads,
                           scratch_.get() + worker * scratch);
  });
}

template <class T>
void NetOf<T>::gather(const Batch& batch, Layer& layer) {
  const std::size_t dim = config_.dim;
  for_rows(counted_, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t row = i < batch.rows.size() ? batch.rows[i] : 0;
      std::memcpy(x_last_.get() + i * dim, layer.x_attention.get() + row * dim, dim * sizeof(float));
      std::memcpy(attended_last_.get() + i * dim, layer.attended.get() + row * dim, dim * sizeof(T));
    }
  });
}

// The gradients of the gathered rows (dx_ and `dattended`) go back to their places, zero elsewhere.
template <class T>
void NetOf<T>::scatter(const Batch& batch, const T* dattended) {
  const std::size_t dim = config_.dim;
  std::swap(dx_, dx_counted_);
  for_rows(capacity_, [&](std::size_t begin, std::size_t end) {
    const auto first = std::ranges::lower_bound(batch.rows, static_cast<std::uint32_t>(begin));
    auto next = static_cast<std::size_t>(first - batch.rows.begin());
    for (std::size_t row = begin; row < end; ++row) {
      float* dx = dx_.get() + row * dim;
      T* dh = dh_.get() + row * dim;
      if (next < batch.rows.size() && batch.rows[next] == row) {
        std::memcpy(dx, dx_counted_.get() + next * dim, dim * sizeof(float));
        std::memcpy(static_cast<void*>(dh), dattended + next * dim, dim * sizeof(T));
        ++next;
      } else {
        std::memset(dx, 0, dim * sizeof(float));
        std::memset(static_cast<void*>(dh), 0, dim * sizeof(T));
      }
    }
  });
}

template <class T>
void NetOf<T>::layer_forward(std::size_t l, const Batch& batch, const float* x_in, const T* add) {
  const NetConfig& c = config_;
  Layer& layer = layers_[l];
  const bool last = l + 1 == c.layers;
  norm(slot(l, kAttentionNorm), capacity_, x_in, add, layer.x_attention.get(), layer.rstd_attention.get(),
       layer.h_attention.get());
  backend_.product(layer.h_attention.as(capacity_, c.dim), weight(slot(l, kQkv)).t(), layer.qkv.as(capacity_, c.qkv()));
  attend(batch, layer);
  if (last) gather(batch, layer);
  const std::size_t rows = rows_of(l);
  const Plane<T>& attended = last ? attended_last_ : layer.attended;
  backend_.product(attended.as(rows, c.dim), weight(slot(l, kAttentionOut)).t(), branch_.as(rows, c.dim));
  norm(slot(l, kFfnNorm), rows, last ? x_last_.get() : layer.x_attention.get(), branch_.get(), layer.x_ffn.get(),
       layer.rstd_ffn.get(), layer.h_ffn.get());
  backend_.product(layer.h_ffn.as(rows, c.dim), weight(slot(l, kGateUp)).t(), layer.gate_up.as(rows, 2 * c.ffn));
  const Gate<T> op{c.ffn, layer.gate_up.get(), layer.gated.get(), nullptr};
  for_rows(rows, [&](std::size_t begin, std::size_t end) { of_.gate(op, begin, end); });
  backend_.product(layer.gated.as(rows, c.ffn), weight(slot(l, kDown)).t(), branch_.as(rows, c.dim));
}

template <class T>
StepResult NetOf<T>::score(const Batch& batch, std::vector<std::uint8_t>* right) {
  std::fill(targets_.begin(), targets_.end(), -1);
  std::ranges::copy(batch.targets, targets_.begin());
  const CrossEntropy<T> op{config_.vocab,  1.0F / static_cast<float>(std::max<std::size_t>(1, batch.rows.size())),
                           logits_.get(),  targets_.data(),
                           losses_.data(), hits_.data()};
  for_rows(counted_, [&](std::size_t begin, std::size_t end) { of_.cross_entropy(op, begin, end); });
  StepResult result;
  for (std::size_t i = 0; i < batch.rows.size(); ++i) {
    result.loss += static_cast<double>(losses_[i]);
    result.hits += hits_[i];
  }
  result.loss /= static_cast<double>(std::max<std::size_t>(1, batch.rows.size()));
  if (right != nullptr) right->assign(hits_.begin(), hits_.begin() + static_cast<std::ptrdiff_t>(batch.rows.size()));
  return result;
}

template <class T>
StepResult NetOf<T>::forward(const Batch& batch, std::vector<std::uint8_t>* right) {
  SEDGE_ASSERT(batch.tokens.size() == capacity_ && batch.rows.size() == batch.targets.size());
  counted_ = std::min(capacity_, round_up(std::max<std::size_t>(1, batch.rows.size()), 2 * kRowsAtOnce));
  embed(batch);
  layer_forward(0, batch, layers_[0].x_attention.get(), nullptr);
  for (std::size_t l = 1; l < config_.layers; ++l) layer_forward(l, batch, layers_[l - 1].x_ffn.get(), branch_.get());
  norm(slots_.back(), counted_, layers_.back().x_ffn.get(), branch_.get(), x_out_.get(), rstd_out_.get(), h_out_.get());
  backend_.product(h_out_.as(counted_, config_.dim), weight(slots_[0]).t(), logits_.as(counted_, config_.vocab));
  return score(batch, right);
}

// gradient = dyᵀ·x, [outputs, inputs].
template <class T>
void NetOf<T>::weight_gradient(const WeightSlot& slot, const Matrix<T>& dy, const Matrix<T>& x) {
  backend_.product(dy.t(), x, dweight_.as(slot.rows, slot.cols));
  float* gradient = gradients_.get() + slot.offset;
  const T* from = dweight_.get();
  for (std::size_t i = 0; i < slot.count(); ++i) gradient[i] = to_float(from[i]);
}

// Enters with the gradient of the layer's output in dx_ (residual) and branch_ (the feed-forward's product), leaves
// with the same of its input.
template <class T>
void NetOf<T>::layer_backward(std::size_t l, const Batch& batch, bool first) {
  const NetConfig& c = config_;
  Layer& layer = layers_[l];
  const bool last = l + 1 == c.layers;
  const std::size_t rows = rows_of(l);
  const Matrix<T> dbranch = branch_.as(rows, c.dim);
  weight_gradient(slot(l, kDown), dbranch, layer.gated.as(rows, c.ffn));
  backend_.product(dbranch, weight(slot(l, kDown)), dh_.as(rows, c.ffn));
  const Gate<T> op{c.ffn, layer.gate_up.get(), nullptr, dh_.get()};
  for_rows(rows, [&](std::size_t begin, std::size_t end) { of_.gate_backward(op, begin, end); });
  const Matrix<T> dgate_up = layer.gate_up.as(rows, 2 * c.ffn);
  weight_gradient(slot(l, kGateUp), dgate_up, layer.h_ffn.as(rows, c.dim));
  backend_.product(dgate_up, weight(slot(l, kGateUp)), dh_.as(rows, c.dim));
  norm_backward(slot(l, kFfnNorm), rows, layer.x_ffn.get(), layer.rstd_ffn.get(), dh_.get(), branch_.get());

  const Plane<T>& attended = last ? attended_last_ : layer.attended;
  weight_gradient(slot(l, kAttentionOut), dbranch, attended.as(rows, c.dim));
  if (last) {
    backend_.product(dbranch, weight(slot(l, kAttentionOut)), dwide_.as(rows, c.dim));
    scatter(batch, dwide_.get());
  } else {
    backend_.product(dbranch, weight(slot(l, kAttentionOut)), dh_.as(rows, c.dim));
  }
  attend_backward(batch, layer);
  const Matrix<T> dqkv = dwide_.as(capacity_, c.qkv());
  weight_gradient(slot(l, kQkv), dqkv, layer.h_attention.as(capacity_, c.dim));
  backend_.product(dqkv, weight(slot(l, kQkv)), dh_.as(capacity_, c.dim));
  norm_backward(slot(l, kAttentionNorm), capacity_, layer.x_attention.get(), layer.rstd_attention.get(), dh_.get(),
                first ? nullptr : branch_.get());
}

template <class T>
void NetOf<T>::backward(const Batch& batch) {
  const std::size_t dim = config_.dim;
  const Matrix<T> dlogits = logits_.as(counted_, config_.vocab);
  weight_gradient(slots_[0], dlogits, h_out_.as(counted_, dim));
  backend_.product(dlogits, weight(slots_[0]), dh_.as(counted_, dim));
  std::fill_n(dx_.get(), counted_ * dim, 0.0F);
  norm_backward(slots_.back(), counted_, x_out_.get(), rstd_out_.get(), dh_.get(), branch_.get());
  for (std::size_t l = config_.layers; l-- > 0;) layer_backward(l, batch, l == 0);
  float* embedding = gradients_.get();
  const std::size_t slice = round_up((dim + backend_.threads() - 1) / backend_.threads(), 16);
  backend_.parallel((dim + slice - 1) / slice, [&](std::size_t task, std::size_t) {
    const std::size_t begin = task * slice, end = std::min(dim, begin + slice);
    for (std::size_t row = 0; row < capacity_; ++row) {
      float* to = embedding + static_cast<std::size_t>(batch.tokens[row]) * dim;
      const float* from = dx_.get() + row * dim;
      for (std::size_t i = begin; i < end; ++i) to[i] += from[i];
    }
  });
}

// One matrix by one worker. Gradients are spent once the moments have them: their place holds the momentum.
template <class T>
void NetOf<T>::muon_step(const Part& part, Muon step, std::span<float> m, Orthogonalizer<T>& scratch) {
  const std::size_t count = part.rows * part.cols;
  step.weights = weights_.get() + part.offset;
  step.grads = gradients_.get() + part.offset;
  step.m = m.data() + part.offset;
  step.half = half_ ? half_->get() + part.offset : nullptr;
  float* const momentum = gradients_.get() + part.offset;
  fused_.muon_momentum(step, momentum, count);
  const auto norm = static_cast<float>(std::sqrt(fused_.sum_of_squares(momentum, count)));
  const Matrix<T> direction = scratch.place(part.rows, part.cols);
  of_.scale(momentum, 1.0F / (norm + 1e-7F), direction.data, count);
  scratch.run(direction);
  of_.muon(step, direction.data, muon_scale(part.rows, part.cols), count);
}

template <class T>
void NetOf<T>::update(AdamW adamw, const std::optional<Muon>& muon, std::span<float> m, std::span<float> v) {
  adamw.weights = weights_.get();
  adamw.grads = gradients_.get();
  adamw.m = m.data();
  adamw.v = v.data();
  adamw.half = half_ ? half_->get() : nullptr;
  const float decay = adamw.decay;
  if (muon) {
    // Matrices this small keep one thread busy, and two would wait for each other in every product.
    backend_.parallel(parts_.size(), [&](std::size_t task, std::size_t worker) {
      muon_step(parts_[task], *muon, m, orthogonalizers_[worker]);
    });
  }
  for (const WeightSlot& slot : slots_) {
    if (muon && !slot.parts.empty()) continue;
    adamw.decay = slot.decays ? decay : 0.0F;
    constexpr std::size_t kPart = 1 << 16;
    backend_.parallel((slot.count() + kPart - 1) / kPart, [&](std::size_t task, std::size_t) {
      const std::size_t begin = slot.offset + task * kPart;
      fused_.adamw(adamw, begin, std::min(begin + kPart, slot.offset + slot.count()));
    });
  }
}

}  // namespace

std::unique_ptr<Net> make_net(const NetConfig& config, std::size_t capacity, Precision precision, Backend& backend) {
  if (precision == Precision::kBf16) return std::make_unique<NetOf<Bf16>>(config, capacity, backend);
  return std::make_unique<NetOf<float>>(config, capacity, backend);
}

}  // namespace sedge::train
