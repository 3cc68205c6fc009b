// Tensor element types as the model files see them: the names of kernels/formats, and row sizes with checks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kernels/formats/formats.h"

namespace sedge::model {

using kernels::DType;

inline std::string_view dtype_name(DType type) { return kernels::format_of(type).name; }

// "Q4_K (12)" for a type that GGUF knows, "42" for one that nobody does.
std::string ggml_type_name(std::uint32_t ggml_type);

// The type with this GGUF id. Errors: Unimplemented, naming the type and those that are read.
Result<DType> dtype_from_ggml(std::uint32_t ggml_type);

// "f32", "Q8_0", ... in any case. Errors: InvalidArgument, listing the names.
Result<DType> dtype_from_name(std::string_view name);

// What a file's matrices are to become.
struct TypeChoice {
  DType type = DType::kF32;
  bool more_bits = false;  // the "_M" of Q4_K_M: see chosen_type

  friend bool operator==(const TypeChoice&, const TypeChoice&) = default;
};

// A name of dtype_from_name, or Q4_K_M or Q5_K_M. Errors: as there.
Result<TypeChoice> type_choice_from_name(std::string_view name);

// The type of one matrix: the choice's, or with more_bits Q6_K for what suffers most (head and embedding, and of the
// first and the last eighth of the layers and every third between them the values and the down projection); then, for
// rows that are no whole number of its blocks, what stock tools fall back to, and at last F16. `tensor` is a GGUF name.
// Source: llama.cpp's llama-quant.cpp, its rules for Q4_K_M and Q5_K_M.
DType chosen_type(TypeChoice choice, std::string_view tensor, std::uint64_t cols, std::size_t layers);

// Bytes of one row of `cols` values.
// Errors: InvalidArgument when cols is not a whole number of blocks; OutOfRange when it overflows.
Result<std::uint64_t> row_bytes(DType type, std::uint64_t cols);

}  // namespace sedge::model
