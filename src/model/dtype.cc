#include "model/dtype.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <optional>
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

Result<TypeChoice> type_choice_from_name(std::string_view name) {
  if (name.ends_with("_M") || name.ends_with("_m")) {
    const auto type = dtype_from_name(name.substr(0, name.size() - 2));
    if (type && (*type == DType::kQ4_K || *type == DType::kQ5_K)) return TypeChoice{.type = *type, .more_bits = true};
  }
  SEDGE_TRY(const DType found, dtype_from_name(name));
  return TypeChoice{.type = found, .more_bits = false};
}

namespace {

// The layer in "blk.17.attn_v.weight".
std::optional<std::size_t> layer_of(std::string_view tensor) {
  constexpr std::string_view kPrefix = "blk.";
  if (!tensor.starts_with(kPrefix)) return std::nullopt;
  std::size_t layer = 0;
  const auto parsed = std::from_chars(tensor.data() + kPrefix.size(), tensor.data() + tensor.size(), layer);
  return parsed.ec == std::errc() ? std::optional(layer) : std::nullopt;
}

bool wants_more_bits(std::string_view tensor, std::size_t layers) {
  const auto layer = layer_of(tensor);
  if (!layer) return true;  // the head, or the embedding in its place
  if (!tensor.ends_with(".attn_v.weight") && !tensor.ends_with(".ffn_down.weight")) return false;
  const std::size_t eighth = layers / 8;
  return *layer < eighth || *layer >= 7 * layers / 8 || (*layer - eighth) % 3 == 2;
}

// What takes the place of a type whose blocks do not fit.
constexpr std::pair<DType, DType> kFallbacks[] = {
    {DType::kQ2_K, DType::kIQ4_NL},  {DType::kQ3_K, DType::kIQ4_NL},    {DType::kQ4_K, DType::kQ5_0},
    {DType::kQ5_K, DType::kQ5_1},    {DType::kQ6_K, DType::kQ8_0},      {DType::kIQ4_XS, DType::kIQ4_NL},
    {DType::kTQ1_0, DType::kIQ4_NL}, {DType::kTQ2_0, DType::kIQ4_NL},   {DType::kIQ1_S, DType::kIQ4_NL},
    {DType::kIQ1_M, DType::kIQ4_NL}, {DType::kIQ2_XXS, DType::kIQ4_NL}, {DType::kIQ2_XS, DType::kIQ4_NL},
    {DType::kIQ2_S, DType::kIQ4_NL}, {DType::kIQ3_XXS, DType::kIQ4_NL}, {DType::kIQ3_S, DType::kIQ4_NL},
};

}  // namespace

DType chosen_type(TypeChoice choice, std::string_view tensor, std::uint64_t cols, std::size_t layers) {
  DType type = choice.more_bits && wants_more_bits(tensor, layers) ? DType::kQ6_K : choice.type;
  if (row_bytes(type, cols)) return type;
  const auto* fallback = std::ranges::find(kFallbacks, type, &std::pair<DType, DType>::first);
  if (fallback != std::end(kFallbacks)) type = fallback->second;
  return row_bytes(type, cols) ? type : DType::kF16;
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
