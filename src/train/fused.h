// The arithmetic of training between the matrix products: normalisation, attention, gating, loss, update.
//
// The problem: a model of a few million parameters spends more time in chains of element-wise operations, each a
// pass over memory, than in its products. The idea: one hand-written forward and backward a step of the network,
// every one a pure function over a range of rows (or one attention head), so that the caller decides about threads
// and the result does not depend on how many there are. Activations are T (float, or Bf16 where the processor
// multiplies it); the residual stream, statistics and gradients of gains stay float.
// Rejected: a graph of library operations (five passes where one does), and padding sequences to one length: a
// batch is one flat list of rows in which each sequence attends to itself only.
//
// One source (fused_body.h) compiled for each instruction set and listed in one table (fused.cc).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace sedge::train {

struct Bf16 {  // the upper half of a float
  std::uint16_t bits;
};

inline float to_float(float x) { return x; }
inline float to_float(Bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

template <class T>
T from_float(float x);
template <>
inline float from_float<float>(float x) {
  return x;
}
template <>
inline Bf16 from_float<Bf16>(float x) {  // to nearest, ties to even
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return {static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16)};
}

// x_out = x_in + add; h = x_out · rstd · gain, rstd = 1/sqrt(mean(x_out²) + epsilon).
template <class T>
struct AddNorm {
  std::size_t dim;
  float epsilon;
  const float* x_in;  // [rows, dim]
  const T* add;       // [rows, dim], or nullptr: x_out is x_in and is not written
  const float* gain;  // [dim]
  float* x_out;       // [rows, dim]
  float* rstd;        // [rows]
  T* h;               // [rows, dim]
};

template <class T>
struct AddNormBackward {
  std::size_t dim;
  const float* x;     // [rows, dim], the forward's x_out
  const float* rstd;  // [rows]
  const float* gain;  // [dim]
  const T* dh;        // [rows, dim]
  float* dx;          // [rows, dim]: the gradient that comes along the residual; the norm's is added
  T* dadd;            // [rows, dim], or nullptr: dx for the branch that was added
};

// Causal attention with rotary embedding, grouped queries. One call handles one sequence and one key-value head.
template <class T>
struct Attention {
  std::size_t heads, kv_heads, head_dim;  // head_dim % 16 == 0
  const T* qkv;         // [rows, (heads + 2·kv_heads)·head_dim]: queries, keys, values, before rotation
  const float* angles;  // [context, head_dim]: cosines of head_dim/2 frequencies, then their sines
  T* out;               // [rows, heads·head_dim]
  const T* dout;        // backward: gradient of out
  T* dqkv;              // backward: gradient of qkv
};

std::size_t attention_scratch_floats(std::size_t length, std::size_t head_dim);

// s = silu(gate) · up, with gate and up side by side in one row.
template <class T>
struct Gate {
  std::size_t ffn;
  T* gate_up;   // [rows, 2·ffn]; the backward replaces it by its gradient
  T* s;         // [rows, ffn]
  const T* ds;  // [rows, ffn]
};

// Softmax cross-entropy: replaces the logits by the gradient of scale · Σ loss.
template <class T>
struct CrossEntropy {
  std::size_t vocab;
  float scale;
  T* logits;                    // [rows, vocab]
  const std::int32_t* targets;  // [rows], -1: not counted
  float* losses;                // [rows], in nats
  std::uint8_t* hits;           // [rows]: 1 where the target is the first largest logit
};

struct AdamW {
  float lr, beta1, beta2, epsilon, decay;
  float unbias1, unbias2;  // 1/(1 - beta^step)
  float clip;              // factor on the gradient
  float *weights, *m, *v;
  const float* grads;
  Bf16* half;  // the weights in bf16, or nullptr
};

// Momentum and decay of matrices that take a Muon step (train/muon.h); pointers to one matrix.
struct Muon {
  float lr, momentum, decay;
  float clip;  // factor on the gradient
  float *weights, *m;
  const float* grads;
  Bf16* half;  // the weights in bf16, or nullptr
};

template <class T>
struct FusedOf {
  void (*add_norm)(const AddNorm<T>&, std::size_t begin, std::size_t end);
  // Adds the rows' part of the gain's gradient to dgain [dim].
  void (*add_norm_backward)(const AddNormBackward<T>&, std::size_t begin, std::size_t end, float* dgain);
  void (*attention)(const Attention<T>&, std::size_t row, std::size_t length, std::size_t kv_head, float* scratch);
  void (*attention_backward)(const Attention<T>&, std::size_t row, std::size_t length, std::size_t kv_head,
                             float* scratch);
  void (*gate)(const Gate<T>&, std::size_t begin, std::size_t end);
  void (*gate_backward)(const Gate<T>&, std::size_t begin, std::size_t end);
  void (*cross_entropy)(const CrossEntropy<T>&, std::size_t begin, std::size_t end);
  void (*blend)(T* x, float a, const T* y, float b, std::size_t count);           // x = a·x + b·y
  void (*scale)(const float* x, float by, T* y, std::size_t count);               // y = by·x
  void (*muon)(const Muon&, const T* direction, float scale, std::size_t count);  // the step itself
};

struct Fused {
  const char* name;
  FusedOf<float> f32;
  FusedOf<Bf16> bf16;
  void (*adamw)(const AdamW&, std::size_t begin, std::size_t end);
  void (*muon_momentum)(const Muon&, float* out, std::size_t count);  // Nesterov's, which looks one step ahead
  double (*sum_of_squares)(const float* x, std::size_t count);
  void (*to_bf16)(const float* x, Bf16* y, std::size_t count);

  template <class T>
  const FusedOf<T>& of() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      return f32;
    } else {
      return bf16;
    }
  }
};

// The best row of the table that this processor runs, or the one named ("portable", "avx2", "avx512"; nullptr when
// it is not here).
const Fused& fused();
const Fused* fused(const char* name);

}  // namespace sedge::train
