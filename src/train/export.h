// A trained network as others want it: a Hugging Face folder, and from that, through the importer that everyone's
// models go through, a GGUF. One way out was chosen over two, so that the two files cannot disagree.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "train/checkpoint.h"

namespace sedge::train {

// config.json, model.safetensors, tokenizer.json, tokenizer_config.json in `folder`, which is made when absent.
Status export_huggingface(const Checkpoint& checkpoint, const std::filesystem::path& folder);

// `type`: of the matrices, "q8_0". Reads what export_huggingface wrote.
Status export_gguf(const std::filesystem::path& folder, const std::filesystem::path& gguf, const std::string& name,
                   const std::string& type);

}  // namespace sedge::train
