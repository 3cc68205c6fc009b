// The bodies behind fused.h, included once by each fused_<instruction set>.cc inside a namespace of its own; the
// compiler vectorises the plain loops for that set (cmake/Extras.cmake gives the flags). Only the small matrix
// product inside attention names vectors: without that, its accumulators do not stay in registers.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "train/fused.h"

namespace sedge::train::SEDGE_FUSED_SET {
namespace {

// The set's own register: wider ones are cut in pieces by the compiler, and g++ 12 then forgets their alignment.
using Vec __attribute__((vector_size(SEDGE_FUSED_VECTOR_BYTES))) = float;
constexpr std::size_t kLanes = sizeof(Vec) / sizeof(float);
constexpr std::size_t kPad = 16;    // rows of scores hold a whole number of registers of any set
constexpr std::size_t kBlock = 32;  // query rows at a time: with 512 keys, 64 KiB of scores

// exp for x <= 88 (e^-80 below -80) to 2 ulp, without a branch: 2^n through the exponent bits, the rest by a
// polynomial on [-ln2/2, ln2/2] with the coefficients of the Cephes library's expf (Moshier 1992).
inline float fast_exp(float x) {
  x = std::max(x, -80.0F);
  // Truncation of something positive rounds; adding and subtracting 1.5·2^23 would be folded away by the flags.
  const std::int32_t exponent = static_cast<std::int32_t>(x * 1.44269504F + 200.5F) - 200;
  const auto n = static_cast<float>(exponent);
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  return std::bit_cast<float>(std::bit_cast<std::int32_t>(p) + exponent * (1 << 23));
}

template <class T>
void add_norm(const AddNorm<T>& op, std::size_t begin, std::size_t end) {
  const std::size_t dim = op.dim;
  for (std::size_t row = begin; row < end; ++row) {
    const float* x = op.x_in + row * dim;
    if (op.add != nullptr) {
      const T* add = op.add + row * dim;
      float* out = op.x_out + row * dim;
      for (std::size_t i = 0; i < dim; ++i) out[i] = x[i] + to_float(add[i]);
      x = out;
    }
    float sum = 0;
    for (std::size_t i = 0; i < dim; ++i) sum += x[i] * x[i];
    const float rstd = 1.0F / std::sqrt(sum / static_cast<float>(dim) + op.epsilon);
    op.rstd[row] = rstd;
    T* h = op.h + row * dim;
    for (std::size_t i = 0; i < dim; ++i) h[i] = from_float<T>(x[i] * rstd * op.gain[i]);
  }
}

// With n = x·rstd and e = dh·gain: dx += rstd·(e - n·mean(e·n)), dgain += dh·n.
template <class T>
void add_norm_backward(const AddNormBackward<T>& op, std::size_t begin, std::size_t end, float* dgain) {
  const std::size_t dim = op.dim;
  for (std::size_t row = begin; row < end; ++row) {
    const float* x = op.x + row * dim;
    const T* dh = op.dh + row * dim;
    float* dx = op.dx + row * dim;
    const float rstd = op.rstd[row];
    float dot = 0;
    for (std::size_t i = 0; i < dim; ++i) dot += to_float(dh[i]) * op.gain[i] * x[i];
    const float mean = dot * rstd / static_cast<float>(dim);
    for (std::size_t i = 0; i < dim; ++i) {
      const float n = x[i] * rstd;
      const float d = to_float(dh[i]);
      dgain[i] += d * n;
      dx[i] += rstd * (d * op.gain[i] - n * mean);
    }
    if (op.dadd != nullptr) {
      T* dadd = op.dadd + row * dim;
      for (std::size_t i = 0; i < dim; ++i) dadd[i] = from_float<T>(dx[i]);
    }
  }
}

// c [rows_c, cols_c] = or += a·b, with a(i, k) at a[i·a_row + k·a_col], b and c row-major; cols_c % 16 == 0.
// A tile of 4 rows and two registers a row stays in registers while k runs.
template <std::size_t kRows, std::size_t kVecs>
void product_tile(float* c, std::size_t ldc, const float* a, std::size_t a_row, std::size_t a_col, const float* b,
                  std::size_t ldb, std::size_t depth, bool add) {
  Vec sum[kRows][kVecs] = {};
  for (std::size_t k = 0; k < depth; ++k) {
    Vec right[kVecs];
    for (std::size_t v = 0; v < kVecs; ++v) std::memcpy(&right[v], b + k * ldb + v * kLanes, sizeof(Vec));
    for (std::size_t i = 0; i < kRows; ++i) {
      const float left = a[i * a_row + k * a_col];
      for (std::size_t v = 0; v < kVecs; ++v) sum[i][v] += left * right[v];
    }
  }
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t v = 0; v < kVecs; ++v) {
      float* out = c + i * ldc + v * kLanes;
      Vec before = {};
      if (add) std::memcpy(&before, out, sizeof(Vec));
      before += sum[i][v];
      std::memcpy(out, &before, sizeof(Vec));
    }
  }
}

template <std::size_t kVecs>
void product_columns(float* c, std::size_t ldc, const float* a, std::size_t a_row, std::size_t a_col, const float* b,
                     std::size_t ldb, std::size_t rows, std::size_t depth, bool add) {
  std::size_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    product_tile<4, kVecs>(c + i * ldc, ldc, a + i * a_row, a_row, a_col, b, ldb, depth, add);
  }
  for (; i < rows; ++i) {
    product_tile<1, kVecs>(c + i * ldc, ldc, a + i * a_row, a_row, a_col, b, ldb, depth, add);
  }
}

void product(float* c, std::size_t ldc, const float* a, std::size_t a_row, std::size_t a_col, const float* b,
             std::size_t ldb, std::size_t rows, std::size_t cols, std::size_t depth, bool add) {
  std::size_t j = 0;
  for (; j + 2 * kLanes <= cols; j += 2 * kLanes) {
    product_columns<2>(c + j, ldc, a, a_row, a_col, b + j, ldb, rows, depth, add);
  }
  if (j < cols) product_columns<1>(c + j, ldc, a, a_row, a_col, b + j, ldb, rows, depth, add);
}

// One head's rows of a [rows, width] matrix as float [length, head_dim], rotated by `angles` unless that is null.
// Rotation pairs value i with value i + head_dim/2. One loop writes one stretch of memory: with two, the compiler
// cannot rule out that they overlap and stays scalar.
template <class T>
void load_head(const T* from, std::size_t width, std::size_t length, std::size_t head_dim, const float* angles,
               float scale, float* to) {
  const std::size_t half = head_dim / 2;
  for (std::size_t i = 0; i < length; ++i, from += width, to += head_dim) {
    if (angles == nullptr) {
      for (std::size_t d = 0; d < head_dim; ++d) to[d] = to_float(from[d]);
      continue;
    }
    const float* cosine = angles + i * head_dim;
    const float* sine = cosine + half;
    for (std::size_t d = 0; d < half; ++d) {
      to[d] = scale * (to_float(from[d]) * cosine[d] - to_float(from[d + half]) * sine[d]);
    }
    for (std::size_t d = 0; d < half; ++d) {
      to[d + half] = scale * (to_float(from[d]) * sine[d] + to_float(from[d + half]) * cosine[d]);
    }
  }
}

// The way back: rotates the gradient by the opposite angle and stores it.
template <class T>
void store_head(const float* from, std::size_t length, std::size_t head_dim, const float* angles, float scale, T* to,
                std::size_t width) {
  const std::size_t half = head_dim / 2;
  for (std::size_t i = 0; i < length; ++i, from += head_dim, to += width) {
    if (angles == nullptr) {
      for (std::size_t d = 0; d < head_dim; ++d) to[d] = from_float<T>(from[d]);
      continue;
    }
    const float* cosine = angles + i * head_dim;
    const float* sine = cosine + half;
    for (std::size_t d = 0; d < half; ++d) {
      to[d] = from_float<T>(scale * (from[d] * cosine[d] + from[d + half] * sine[d]));
    }
    for (std::size_t d = 0; d < half; ++d) {
      to[d + half] = from_float<T>(scale * (from[d + half] * cosine[d] - from[d] * sine[d]));
    }
  }
}

std::size_t round_up(std::size_t x) { return (x + kPad - 1) / kPad * kPad; }

// [length, head_dim] -> [head_dim, padded], zero beyond `length`.
void transpose(const float* from, std::size_t length, std::size_t head_dim, std::size_t padded, float* to) {
  for (std::size_t d = 0; d < head_dim; ++d) {
    for (std::size_t i = 0; i < length; ++i) to[d * padded + i] = from[i * head_dim + d];
    std::fill(to + d * padded + length, to + (d + 1) * padded, 0.0F);
  }
}

// Row i of the block sees keys 0..first + i: the others get probability 0, so that whole vectors can be used.
void causal_softmax(float* scores, std::size_t padded, std::size_t first, std::size_t rows, std::size_t cols) {
  for (std::size_t i = 0; i < rows; ++i) {
    float* s = scores + i * padded;
    const std::size_t seen = first + i + 1;
    std::fill(s + seen, s + cols, -1e30F);
    float top = -1e30F;
    for (std::size_t j = 0; j < cols; ++j) top = std::max(top, s[j]);
    float sum = 0;
    for (std::size_t j = 0; j < cols; ++j) {
      s[j] = fast_exp(s[j] - top);
      sum += s[j];
    }
    const float inverse = 1.0F / sum;
    for (std::size_t j = 0; j < cols; ++j) s[j] *= inverse;
    std::fill(s + seen, s + cols, 0.0F);
  }
}

// What one head needs in float, cut out of the caller's scratch.
struct HeadScratch {
  std::size_t padded;
  float *q, *k, *k_t, *v, *v_t, *scores, *dscores, *o, *dq, *dk, *dv;
  HeadScratch(float* at, std::size_t length, std::size_t head_dim) : padded(round_up(length)) {
    const auto take = [&at](std::size_t count) {
      float* const begin = at;
      at += count;
      return begin;
    };
    for (float** part : {&q, &k, &k_t, &v, &v_t, &o, &dq, &dk, &dv}) *part = take(padded * head_dim);
    for (float** part : {&scores, &dscores}) *part = take(kBlock * padded);
  }
};

template <class T>
void load_keys(const Attention<T>& op, std::size_t row, std::size_t length, std::size_t kv_head,
               const HeadScratch& at) {
  const std::size_t width = (op.heads + 2 * op.kv_heads) * op.head_dim;
  const T* k = op.qkv + row * width + (op.heads + kv_head) * op.head_dim;
  load_head(k, width, length, op.head_dim, op.angles, 1.0F, at.k);
  load_head(k + op.kv_heads * op.head_dim, width, length, op.head_dim, static_cast<const float*>(nullptr), 1.0F, at.v);
  transpose(at.k, length, op.head_dim, at.padded, at.k_t);
}

template <class T>
void attention(const Attention<T>& op, std::size_t row, std::size_t length, std::size_t kv_head, float* scratch) {
  const std::size_t hd = op.head_dim, width = (op.heads + 2 * op.kv_heads) * hd, group = op.heads / op.kv_heads;
  const float scale = 1.0F / std::sqrt(static_cast<float>(hd));
  const HeadScratch at(scratch, length, hd);
  load_keys(op, row, length, kv_head, at);
  for (std::size_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    load_head(op.qkv + row * width + head * hd, width, length, hd, op.angles, scale, at.q);
    for (std::size_t first = 0; first < length; first += kBlock) {
      const std::size_t rows = std::min(kBlock, length - first), seen = first + rows, cols = round_up(seen);
      product(at.scores, at.padded, at.q + first * hd, hd, 1, at.k_t, at.padded, rows, cols, hd, false);
      causal_softmax(at.scores, at.padded, first, rows, cols);
      product(at.o + first * hd, hd, at.scores, at.padded, 1, at.v, hd, rows, hd, seen, false);
    }
    store_head(at.o, length, hd, static_cast<const float*>(nullptr), 1.0F, op.out + row * op.heads * hd + head * hd,
               op.heads * hd);
  }
}

// dscores := probabilities · (dscores - Σ probabilities·dscores), row by row.
void softmax_backward(const float* p, float* d, std::size_t padded, std::size_t rows, std::size_t cols) {
  for (std::size_t i = 0; i < rows; ++i, p += padded, d += padded) {
    float dot = 0;
    for (std::size_t j = 0; j < cols; ++j) dot += p[j] * d[j];
    for (std::size_t j = 0; j < cols; ++j) d[j] = p[j] * (d[j] - dot);
  }
}

// The probabilities are computed again: cheaper than keeping length² of them for each head and layer.
template <class T>
void attention_backward(const Attention<T>& op, std::size_t row, std::size_t length, std::size_t kv_head,
                        float* scratch) {
  const std::size_t hd = op.head_dim, width = (op.heads + 2 * op.kv_heads) * hd, group = op.heads / op.kv_heads;
  const float scale = 1.0F / std::sqrt(static_cast<float>(hd));
  const HeadScratch at(scratch, length, hd);
  load_keys(op, row, length, kv_head, at);
  transpose(at.v, length, hd, at.padded, at.v_t);
  std::fill_n(at.dk, length * hd, 0.0F);
  std::fill_n(at.dv, length * hd, 0.0F);
  for (std::size_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    load_head(op.qkv + row * width + head * hd, width, length, hd, op.angles, scale, at.q);
    load_head(op.dout + row * op.heads * hd + head * hd, op.heads * hd, length, hd, static_cast<const float*>(nullptr),
              1.0F, at.o);
    for (std::size_t first = 0; first < length; first += kBlock) {
      const std::size_t rows = std::min(kBlock, length - first), seen = first + rows, cols = round_up(seen);
      const float* q = at.q + first * hd;
      const float* dout = at.o + first * hd;
      product(at.scores, at.padded, q, hd, 1, at.k_t, at.padded, rows, cols, hd, false);
      causal_softmax(at.scores, at.padded, first, rows, cols);
      product(at.dv, hd, at.scores, 1, at.padded, dout, hd, seen, hd, rows, true);
      product(at.dscores, at.padded, dout, hd, 1, at.v_t, at.padded, rows, cols, hd, false);
      softmax_backward(at.scores, at.dscores, at.padded, rows, cols);
      product(at.dq + first * hd, hd, at.dscores, at.padded, 1, at.k, hd, rows, hd, seen, false);
      product(at.dk, hd, at.dscores, 1, at.padded, q, hd, seen, hd, rows, true);
    }
    store_head(at.dq, length, hd, op.angles, scale, op.dqkv + row * width + head * hd, width);
  }
  T* dk = op.dqkv + row * width + (op.heads + kv_head) * hd;
  store_head(at.dk, length, hd, op.angles, 1.0F, dk, width);
  store_head(at.dv, length, hd, static_cast<const float*>(nullptr), 1.0F, dk + op.kv_heads * hd, width);
}

template <class T>
void gate(const Gate<T>& op, std::size_t begin, std::size_t end) {
  const std::size_t ffn = op.ffn;
  for (std::size_t row = begin; row < end; ++row) {
    const T* g = op.gate_up + row * 2 * ffn;
    const T* u = g + ffn;
    T* s = op.s + row * ffn;
    for (std::size_t i = 0; i < ffn; ++i) {
      const float x = to_float(g[i]);
      s[i] = from_float<T>(x / (1.0F + fast_exp(std::min(-x, 87.0F))) * to_float(u[i]));
    }
  }
}

// In place, through small buffers that cannot overlap anything: the two halves of a row touch.
template <class T>
void gate_backward(const Gate<T>& op, std::size_t begin, std::size_t end) {
  constexpr std::size_t kPart = 256;
  T dgate[kPart], dup[kPart];
  for (std::size_t row = begin; row < end; ++row) {
    for (std::size_t first = 0; first < op.ffn; first += kPart) {
      T* g = op.gate_up + row * 2 * op.ffn + first;
      T* u = g + op.ffn;
      const T* ds = op.ds + row * op.ffn + first;
      const std::size_t count = std::min(kPart, op.ffn - first);
      for (std::size_t i = 0; i < count; ++i) {
        const float x = to_float(g[i]);
        const float sigmoid = 1.0F / (1.0F + fast_exp(std::min(-x, 87.0F)));
        dgate[i] = from_float<T>(to_float(ds[i]) * to_float(u[i]) * sigmoid * (1.0F + x * (1.0F - sigmoid)));
        dup[i] = from_float<T>(to_float(ds[i]) * x * sigmoid);
      }
      std::memcpy(static_cast<void*>(g), dgate, count * sizeof(T));
      std::memcpy(static_cast<void*>(u), dup, count * sizeof(T));
    }
  }
}

template <class T>
void cross_entropy_row(const CrossEntropy<T>& op, std::size_t row) {
  T* logits = op.logits + row * op.vocab;
  const std::int32_t target = op.targets[row];
  if (target < 0) {
    std::fill_n(logits, op.vocab, from_float<T>(0.0F));
    op.losses[row] = 0;
    op.hits[row] = 0;
    return;
  }
  const auto right = static_cast<std::size_t>(target);
  float top = -1e30F;
  for (std::size_t i = 0; i < op.vocab; ++i) top = std::max(top, to_float(logits[i]));
  float sum = 0;
  for (std::size_t i = 0; i < op.vocab; ++i) sum += fast_exp(to_float(logits[i]) - top);
  const float at_target = to_float(logits[right]);
  op.losses[row] = std::log(sum) + top - at_target;
  std::size_t first = 0;
  while (to_float(logits[first]) < top) ++first;
  op.hits[row] = first == right ? 1 : 0;
  const float scale = op.scale / sum;
  for (std::size_t i = 0; i < op.vocab; ++i) {
    logits[i] = from_float<T>(fast_exp(to_float(logits[i]) - top) * scale);
  }
  logits[right] = from_float<T>(fast_exp(at_target - top) * scale - op.scale);
}

template <class T>
void cross_entropy(const CrossEntropy<T>& op, std::size_t begin, std::size_t end) {
  for (std::size_t row = begin; row < end; ++row) cross_entropy_row(op, row);
}

// Loshchilov & Hutter 2019, algorithm 2, decay decoupled from the moments.
void adamw(const AdamW& op, std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < end; ++i) {
    const float g = op.grads[i] * op.clip;
    const float m = op.beta1 * op.m[i] + (1.0F - op.beta1) * g;
    const float v = op.beta2 * op.v[i] + (1.0F - op.beta2) * g * g;
    op.m[i] = m;
    op.v[i] = v;
    const float step = m * op.unbias1 / (std::sqrt(v * op.unbias2) + op.epsilon);
    op.weights[i] -= op.lr * (step + op.decay * op.weights[i]);
  }
  if (op.half == nullptr) return;
  for (std::size_t i = begin; i < end; ++i) op.half[i] = from_float<Bf16>(op.weights[i]);
}

void muon_momentum(const Muon& op, float* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const float g = op.grads[i] * op.clip;
    const float m = op.momentum * op.m[i] + g;
    op.m[i] = m;
    out[i] = g + op.momentum * m;
  }
}

template <class T>
void muon(const Muon& op, const T* direction, float scale, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    op.weights[i] -= op.lr * (scale * to_float(direction[i]) + op.decay * op.weights[i]);
  }
  if (op.half == nullptr) return;
  for (std::size_t i = 0; i < count; ++i) op.half[i] = from_float<Bf16>(op.weights[i]);
}

template <class T>
void blend(T* x, float a, const T* y, float b, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) x[i] = from_float<T>(a * to_float(x[i]) + b * to_float(y[i]));
}

template <class T>
void scale(const float* x, float by, T* y, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) y[i] = from_float<T>(by * x[i]);
}

double sum_of_squares(const float* x, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

void to_bf16(const float* x, Bf16* y, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) y[i] = from_float<Bf16>(x[i]);
}

template <class T>
constexpr FusedOf<T> kOf = {add_norm<T>,      add_norm_backward<T>,
                            attention<T>,     attention_backward<T>,
                            gate<T>,          gate_backward<T>,
                            cross_entropy<T>, blend<T>,
                            scale<T>,         muon<T>};

}  // namespace

extern const Fused kFused;
const Fused kFused = {SEDGE_FUSED_NAME, kOf<float>, kOf<Bf16>, adamw, muon_momentum, sum_of_squares, to_bf16};

}  // namespace sedge::train::SEDGE_FUSED_SET
