// The metadata value types of GGUF as a table; shared by reader and writer, nobody else's business.
#pragma once

#include <string_view>

#include "model/gguf.h"

namespace sedge::model {

struct GgufTypeRow {
  GgufType type;
  std::string_view name;
  std::size_t bytes;  // of one value; 0: it carries its own length
};

inline constexpr GgufTypeRow kGgufTypes[] = {
    {GgufType::kU8, "u8", 1},       {GgufType::kI8, "i8", 1},     {GgufType::kU16, "u16", 2},
    {GgufType::kI16, "i16", 2},     {GgufType::kU32, "u32", 4},   {GgufType::kI32, "i32", 4},
    {GgufType::kF32, "f32", 4},     {GgufType::kBool, "bool", 1}, {GgufType::kString, "string", 0},
    {GgufType::kArray, "array", 0}, {GgufType::kU64, "u64", 8},   {GgufType::kI64, "i64", 8},
    {GgufType::kF64, "f64", 8},
};

// Row of a type id from a file; nullptr when there is none.
inline const GgufTypeRow* find_gguf_type(std::uint32_t id) {
  return id < std::size(kGgufTypes) ? &kGgufTypes[id] : nullptr;  // rows stand at their ids
}
inline const GgufTypeRow& row_of(GgufType type) { return kGgufTypes[static_cast<std::size_t>(type)]; }

inline constexpr std::uint32_t kGgufMagic = 0x46554747;  // "GGUF"
inline constexpr std::uint32_t kGgufVersion = 3;
inline constexpr std::uint64_t kGgufAlignment = 32;
inline constexpr std::uint32_t kGgufDimensionsMax = 4;
inline constexpr std::uint64_t kGgufNameMax = 64;    // a tensor's name, by the specification
inline constexpr std::uint64_t kGgufKeyMax = 65535;  // a metadata key, by the specification
inline constexpr std::string_view kAlignmentKey = "general.alignment";

}  // namespace sedge::model
