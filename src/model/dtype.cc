#include "model/dtype.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <utility>

namespace sedge::model {
namespace {

// Every type id that GGUF has given out, so that a refusal can say what it met (ggml.h, enum ggml_type).
constexpr std::pair<std::uint32_t, std::string_view> kGgmlTypes[] = {
    {0, "F32"},      {1, "F16"},     {2, "Q4_0"},     {3, "Q4_1"},   {6, "Q5_0"},    {7, "Q5_1"},   {8, "Q8_0"},
    {9, "Q8_1"},     {10, "Q2_K"},   {11, "Q3_K"},    {12, "Q4_K"},  {13, "Q5_K"},   {14, "Q6_K"},  {15, "Q8_K"},
    {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},
    {23, "IQ4_XS"},  {24, "I8"},     {25, "I16"},     {26, "I32"},   {27, "I64"},    {28, "F64"},   {29, "IQ1_M"},
    {30, "BF16"},    {34, "TQ1_0"},  {35, "TQ2_0"},   {39, "MXFP4"},
};

std::string our_names() {
  std::string names;
  for (const auto& format : kernels::formats()) names += fmt::format("{}{}", names.empty() ? "" : ", ", format.name);
  return names;
}

}  // namespace

std::string ggml_type_name(std::uint32_t ggml_type) {
  const auto* row = std::ranges::find(kGgmlTypes, ggml_type, &std::pair<std::uint32_t, std::string_view>::first);
  return row == std::end(kGgmlTypes) ? fmt::format("{}", ggml_type) : fmt::format("{} ({})", row->second, ggml_type);
}

Result<DType> dtype_from_ggml(std::uint32_t ggml_type) {
  if (const auto* format = kernels::find_format(ggml_type)) return format->type;
  return fail(Code::kUnimplemented, "tensor type {} is not read (these are: {})", ggml_type_name(ggml_type),
              our_names());
}

Result<DType> dtype_from_name(std::string_view name) {
  const auto same = [](char a, char b) {
    return std::toupper(static_cast<unsigned char>(a)) == std::toupper(static_cast<unsigned char>(b));
  };
  for (const auto& format : kernels::formats()) {
    if (std::ranges::equal(name, format.name, same)) return format.type;
  }
  return fail(Code::kInvalidArgument, "'{}' is no tensor type (these are: {})", name, our_names());
}

Result<std::uint64_t> row_bytes(DType type, std::uint64_t cols) {
  const auto& format = kernels::format_of(type);
  if (cols % format.block_values != 0) {
    return fail(Code::kInvalidArgument, "a row of {} values is not a whole number of {} blocks ({} values)", cols,
                format.name, format.block_values);
  }
  const std::uint64_t blocks = cols / format.block_values;
  if (blocks > std::numeric_limits<std::uint64_t>::max() / format.block_bytes) {
    return fail(Code::kOutOfRange, "a row of {} values is too large", cols);
  }
  return blocks * format.block_bytes;
}

}  // namespace sedge::model
