// The arithmetic of the forward pass: one folder an operation, one file an instruction set, one table.
//
// The problem: a text must come out the same on a laptop and on a board, with one thread or four, in one prefill or
// token by token; otherwise a task cannot move to another node in the middle of a sentence. The idea: every
// reduction has one order, written down once (lanes.h) and kept by every instruction set and for any number of
// tokens or rows, so that scalar, AVX2, AVX-512 and NEON agree bit for bit: one numeric class for all of them.
// Rejected: a class per instruction set (a fleet of mixed boards could never fail over), and BLAS (its order is its
// own).
//
// Source: docs/formats/numeric_class.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/formats/blocks.h"
#include "kernels/formats/formats.h"

// Of what files for one instruction set use too: no copy of it may be shared between them.
#define SEDGE_INLINE __attribute__((always_inline))

namespace sedge::kernels {

// What a node advertises: nodes with the same string give the same bits.
inline constexpr std::string_view kNumericClass = "v9-races";

// y[t, r] = sum over c of weights[r, c] · x[t, c], in the order of lanes.h, or of matmul_scalar.cc for blocks.
// Shapes:   weights [rows, cols], rows row_bytes apart, no alignment needed; y[t * y_stride + r].
//           F32, F16, BF16 weights read x[t * cols + c]; those of block formats are packed (pack.h), beginning with a
//           group, row_bytes being packed_row_bytes, and read what quantize_q8 made.
// Requires: quantized: cols a whole number of blocks. y overlaps nothing.   Threads: re-entrant, as every kernel here.
struct MatmulArgs {
  const std::uint8_t* weights;
  std::size_t row_bytes;
  std::size_t rows;
  std::size_t cols;
  const float* x;
  const std::int8_t* quants;  // [tokens, cols]
  const float* scales;        // [tokens, cols / 32]
  const std::int32_t* sums;   // [tokens, cols / 16]
  std::size_t tokens;
  float* y;
  std::size_t y_stride;
};

// One row of activations to 8-bit integers with one scale for 32 of them: the partner of weights in blocks.
// scale = binary16(max|x| / 127), quant = round_to_even(x · (127 / max|x|)), as llama.cpp has it on x86.
// Requires: count % 32 == 0. A NaN becomes -127; infinities make the scale infinite: never undefined behaviour.
struct QuantizeArgs {
  const float* x;
  std::size_t count;
  std::int8_t* quants;  // [count]
  float* scales;        // [count / 32], each a binary16 value
  std::int32_t* sums;   // [count / 16]: of the quants, for weights with a minimum or with a constant added
};

// y = x / sqrt(mean(x²) + epsilon) · weight
struct NormArgs {
  const float* x;
  const float* weight;
  std::size_t count;
  float epsilon;
  float* y;
};

// gate = f(gate) · up, in place. silu_mul: f(x) = x / (1 + exp(-x)); gelu_mul: f(x) = x / (1 + exp(-x · (a + b · x²))),
// GELU with its tanh (math.h has a and b).
struct GatedArgs {
  float* gate;
  const float* up;
  std::size_t count;
};

// x = cap · tanh(x · scale / cap), in place: keeps |x| below cap. Requires: cap > 0.
struct SoftcapArgs {
  float* x;
  std::size_t count;
  float scale;
  float cap;
};

// y = exp(x - shift), as exp_f32 (math.h). y may be x.
struct ExponentialArgs {
  const float* x;
  std::size_t count;
  float shift;
  float* y;
};

// softmax(q·keysᵀ · scale)·values for one key/value head: for the query heads that share it (`group`), of `tokens`
// neighbours in one text. Token t sees positions + t positions, or the last `window` of them; where attention is not
// causal each sees `positions`, the whole text. With `cap` above 0, the products pass through softcap first.
// Shapes:   query heads [tokens, group, head_dim], token rows q_stride apart, and out alike;
//           keys and values as attention/cache.h lays them, in whole groups of sixteen positions;
//           scores [tokens · group, score_stride] scratch, score_stride >= positions + tokens rounded up to 16.
// Requires: positions > 0; tokens · group <= kAttendQueriesMax; head_dim a whole number of the format's blocks.
//           What stands in the last group past the last position is read and has no say.
inline constexpr std::size_t kAttendQueriesMax = 64;
struct AttentionArgs {
  const float* q;
  const std::uint8_t* keys;
  const std::uint8_t* values;
  std::size_t tokens;
  std::size_t group;
  std::size_t positions;  // of the first token
  std::size_t window;     // 0: all; 0 where not causal
  std::size_t head_dim;
  float scale;
  float* scores;
  std::size_t score_stride;
  float* out;
  std::size_t q_stride;
  float cap = 0;
  bool causal = true;

  // Query i is head i % group of token i / group.
  SEDGE_INLINE const float* query(std::size_t i) const { return q + i / group * q_stride + i % group * head_dim; }
  SEDGE_INLINE float* output(std::size_t i) const { return out + i / group * q_stride + i % group * head_dim; }
  SEDGE_INLINE std::size_t end(std::size_t token) const { return causal ? positions + token : positions; }
  SEDGE_INLINE std::size_t begin(std::size_t token) const {
    return window == 0 || window >= end(token) ? 0 : end(token) - window;
  }
};

// The table: every kernel that has an implementation for each instruction set, with its arguments. A matmul also
// names the format of its weights, attention that of its keys and values. Dispatch, tests and benchmarks are all made
// from these rows.
#define SEDGE_FLOAT_ROWS(ROW)              \
  ROW(matmul_f32, MatmulArgs, DType::kF32) \
  ROW(matmul_f16, MatmulArgs, DType::kF16) \
  ROW(matmul_bf16, MatmulArgs, DType::kBF16)
#define SEDGE_BLOCK_ROWS(ROW)                      \
  ROW(matmul_q8_0, MatmulArgs, DType::kQ8_0)       \
  ROW(matmul_q4_0, MatmulArgs, DType::kQ4_0)       \
  ROW(matmul_q4_1, MatmulArgs, DType::kQ4_1)       \
  ROW(matmul_q5_0, MatmulArgs, DType::kQ5_0)       \
  ROW(matmul_q5_1, MatmulArgs, DType::kQ5_1)       \
  ROW(matmul_q2_k, MatmulArgs, DType::kQ2_K)       \
  ROW(matmul_q3_k, MatmulArgs, DType::kQ3_K)       \
  ROW(matmul_q4_k, MatmulArgs, DType::kQ4_K)       \
  ROW(matmul_q5_k, MatmulArgs, DType::kQ5_K)       \
  ROW(matmul_q6_k, MatmulArgs, DType::kQ6_K)       \
  ROW(matmul_iq4_nl, MatmulArgs, DType::kIQ4_NL)   \
  ROW(matmul_iq4_xs, MatmulArgs, DType::kIQ4_XS)   \
  ROW(matmul_mxfp4, MatmulArgs, DType::kMXFP4)     \
  ROW(matmul_tq1_0, MatmulArgs, DType::kTQ1_0)     \
  ROW(matmul_tq2_0, MatmulArgs, DType::kTQ2_0)     \
  ROW(matmul_iq2_xxs, MatmulArgs, DType::kIQ2_XXS) \
  ROW(matmul_iq2_xs, MatmulArgs, DType::kIQ2_XS)   \
  ROW(matmul_iq2_s, MatmulArgs, DType::kIQ2_S)     \
  ROW(matmul_iq3_xxs, MatmulArgs, DType::kIQ3_XXS) \
  ROW(matmul_iq3_s, MatmulArgs, DType::kIQ3_S)     \
  ROW(matmul_iq1_s, MatmulArgs, DType::kIQ1_S)     \
  ROW(matmul_iq1_m, MatmulArgs, DType::kIQ1_M)
#define SEDGE_MATMUL_ROWS(ROW) SEDGE_FLOAT_ROWS(ROW) SEDGE_BLOCK_ROWS(ROW)
#define SEDGE_VECTOR_ROWS(ROW)      \
  ROW(quantize_q8, QuantizeArgs, 0) \
  ROW(rms_norm, NormArgs, 0)        \
  ROW(silu_mul, GatedArgs, 0)       \
  ROW(gelu_mul, GatedArgs, 0)       \
  ROW(softcap, SoftcapArgs, 0)      \
  ROW(exponential, ExponentialArgs, 0)
#define SEDGE_ATTENTION_ROWS(ROW)               \
  ROW(attend_f32, AttentionArgs, DType::kF32)   \
  ROW(attend_f16, AttentionArgs, DType::kF16)   \
  ROW(attend_q8_0, AttentionArgs, DType::kQ8_0) \
  ROW(attend_q4_0, AttentionArgs, DType::kQ4_0)
#define SEDGE_KERNEL_ROWS(ROW) SEDGE_MATMUL_ROWS(ROW) SEDGE_VECTOR_ROWS(ROW) SEDGE_ATTENTION_ROWS(ROW)

struct Kernels {
  std::string_view isa;
#define SEDGE_MEMBER(name, Args, format) void (*name)(const Args&);
  SEDGE_KERNEL_ROWS(SEDGE_MEMBER)
#undef SEDGE_MEMBER

  using Matmul = void (*)(const MatmulArgs&);
  Matmul matmul(DType weights) const;
  using Attend = void (*)(const AttentionArgs&);
  Attend attend(DType cache) const;  // Requires: is_cache_format (attention/cache.h)
};

// Every implementation that this build has and this processor runs, the scalar definition first, the best last.
std::span<const Kernels> available_kernels();

// The best of them, or the one that SEDGE_ISA=scalar|avx2|avxvnni|avx512vnni|amx|neon|neondot|i8mm names (an
// unavailable name: the best, and isa says so). Decided at the first call.
const Kernels& active_kernels();

// Whether the format wants quantize_q8's activations.
constexpr bool is_quantized(DType format) { return find_coding(format) != nullptr; }

// Each implementation's functions, for the table alone.
#define SEDGE_DECLARE(name, Args, format) void name(const Args& args);
namespace scalar {
SEDGE_KERNEL_ROWS(SEDGE_DECLARE)
}
namespace avx2 {
SEDGE_KERNEL_ROWS(SEDGE_DECLARE)
}
namespace avx512vnni {
SEDGE_KERNEL_ROWS(SEDGE_DECLARE)
}
namespace neon {
SEDGE_KERNEL_ROWS(SEDGE_DECLARE)
}
namespace avxvnni {  // what differs from avx2
SEDGE_BLOCK_ROWS(SEDGE_DECLARE)
}
namespace amx {  // what differs from avx512vnni
SEDGE_BLOCK_ROWS(SEDGE_DECLARE)
}
namespace neondot {  // what differs from neon
SEDGE_BLOCK_ROWS(SEDGE_DECLARE)
}
namespace i8mm {  // what differs from neondot
SEDGE_BLOCK_ROWS(SEDGE_DECLARE)
}
#undef SEDGE_DECLARE

}  // namespace sedge::kernels
