// Other programs' models, written as GGUF.
//
// The problem: three layouts on disk (a Hugging Face directory, a llama2.c checkpoint, another GGUF), one layout
// that the engine reads. The idea: a front end for each turns it into metadata plus a list of where every tensor's
// bytes lie; one back end streams them, converting row by row, so a model larger than memory passes through.
// Rejected: loading foreign layouts in the engine (every kernel would meet every layout).
//
// RoPE: files of arch "llama" hold query and key rows so that neighbours rotate together, as stock llama.cpp wants;
// Hugging Face keeps the two halves of a head apart, so those rows are put in the other order on the way.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/dtype.h"

namespace sedge::model {

struct ImportOptions {
  std::optional<TypeChoice> type;   // of the matrices; none keeps each as it is. Vectors are always F32.
  std::filesystem::path tokenizer;  // instead of the one found beside the weights
  std::string name;                 // general.name; empty: the folder's or file's own name
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes written of tensor data; may be empty
};

struct ImportReport {
  std::string source;  // "Hugging Face directory", ...
  std::uint64_t tensors = 0;
  std::uint64_t data_bytes = 0;    // of tensor data written
  std::vector<std::string> notes;  // what was done otherwise than asked, one line each
};

// `in`: a directory with config.json, a .safetensors file in one, a llama2.c checkpoint, or a GGUF.
// Errors: those of the readers, naming file, field and offset; InvalidArgument for values that `type` cannot hold.
// Nothing stands under `out` unless all of it was written.
Result<ImportReport> import_model(const std::filesystem::path& in, const std::filesystem::path& out,
                                  const ImportOptions& options);

}  // namespace sedge::model
