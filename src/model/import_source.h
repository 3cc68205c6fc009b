// What an importer's front end hands to the back end. Internal to import*.cc and their tests.
#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/gguf.h"
#include "model/hf_config.h"
#include "model/import.h"
#include "model/vocab.h"

namespace sedge::model {

struct ImportTensor {
  std::string name;
  DType type = DType::kF32;
  std::vector<std::uint64_t> shape;  // GGUF order
  // Of equal size, behind each other: rows × row_bytes(type, shape[0]) in all, checked by the front end. Experts come
  // as one piece each, all else as one piece.
  std::vector<Bytes> pieces;
  // 0, or the number of heads whose rows stand half by half and are to be interleaved.
  std::size_t half_heads = 0;
  bool transposed = false;  // one piece, [shape[0]] rows of shape[1] values: to be read by columns
  bool less_one = false;    // 1 is to be added to each value
  bool exact = false;       // stays F32 (stays_exact)

  std::uint64_t bytes() const { return pieces.empty() ? 0 : pieces.size() * pieces[0].size(); }
};

struct ImportSource {
  std::string format;
  GgufWriter writer;  // the metadata is set, but for general.file_type
  std::vector<ImportTensor> tensors;
  std::array<std::vector<float>, 3> rope_factors;   // what the tensors of RoPE's factors point into
  std::vector<std::shared_ptr<const void>> opened;  // keeps `pieces` valid
};

// `in` is a directory with config.json and weights, or one weights file in such a directory.
Result<ImportSource> open_hf(const std::filesystem::path& in, const ImportOptions& options);
Result<ImportSource> open_llama2c(const std::filesystem::path& in, const ImportOptions& options);
Result<ImportSource> open_gguf(const std::filesystem::path& in);

// The weights of a llama2.c checkpoint: sizes and tensors, pointing into `file`. For fuzzing as well.
struct Llama2cCheckpoint {
  LlamaConfig config;
  std::vector<ImportTensor> tensors;
};
Result<Llama2cCheckpoint> parse_llama2c(Bytes file);

// A vocabulary by the file's kind: .json, .model (SentencePiece), anything else llama2.c. `config` is the path of
// tokenizer_config.json, which need not exist.
Result<Vocab> open_vocab(const std::filesystem::path& path, const std::filesystem::path& config,
                         std::size_t vocab_size);

// Padded with unused tokens to `vocab_size`, as many as the embedding has rows. Errors: DataLoss when it has more.
Status pad_vocab(Vocab& vocab, std::size_t vocab_size);

// Where the value for row `row` of a half-by-half matrix stands: heads of `head_dim` rows each.
// Output row 2i + j of a head is its input row j · head_dim/2 + i.
std::size_t half_row(std::size_t row, std::size_t head_dim);

}  // namespace sedge::model
