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

// Bytes of one row of `cols` values.
// Errors: InvalidArgument when cols is not a whole number of blocks; OutOfRange when it overflows.
Result<std::uint64_t> row_bytes(DType type, std::uint64_t cols);

}  // namespace sedge::model
