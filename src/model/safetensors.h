// safetensors: a JSON header that says where each tensor lies, then the tensors.
// Mapped and checked like GGUF: every range inside the file, none overlapping, no gap, no name twice.
// Rejected: streaming JSON (the header of the largest models is a few MB), and trusting `shape` without `data_offsets`.
//
// Errors name the tensor and the field or the offset. Codes: OutOfRange (truncated), DataLoss (contradictory),
// ResourceExhausted (header over its limit).
// Source: docs/formats/safetensors.md; README of huggingface/safetensors, "Format".
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/dtype.h"
#include "model/mapped_file.h"

namespace sedge::model {

struct SafeTensor {
  std::string name;
  std::string dtype;                 // as spelled: "BF16"
  std::optional<DType> type;         // when it is one of ours
  std::vector<std::uint64_t> shape;  // outermost first: shape.back() is the row length; empty for a scalar
  Bytes data;
};

class SafetensorsFile {
 public:
  static constexpr std::uint64_t kHeaderBytesMax = 64u << 20;  // JSON that is parsed as one document

  static Result<SafetensorsFile> open(const std::filesystem::path& path);
  static Result<SafetensorsFile> parse(Bytes file);  // borrows `file`

  std::span<const SafeTensor> tensors() const { return tensors_; }  // in the order of their bytes
  const SafeTensor* find(std::string_view name) const;              // nullptr: absent

 private:
  SafetensorsFile() = default;
  std::shared_ptr<const MappedFile> mapping_;  // empty when the bytes are borrowed
  std::vector<SafeTensor> tensors_;
  std::vector<std::uint32_t> by_name_;
};

}  // namespace sedge::model
