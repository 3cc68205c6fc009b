#include "train/export.h"

#include "base/json.h"
#include "model/import.h"
#include "model/vocab.h"

namespace sedge::train {
namespace {

std::string config_json(const NetConfig& net, const model::Vocab& vocab) {
  json::Object config{{"architectures", json::Array{"LlamaForCausalLM"}},
                      {"model_type", "llama"},
                      {"vocab_size", net.vocab},
                      {"hidden_size", net.dim},
                      {"intermediate_size", net.ffn},
                      {"num_hidden_layers", net.layers},
                      {"num_attention_heads", net.heads},
                      {"num_key_value_heads", net.kv_heads},
                      {"head_dim", net.head_dim()},
                      {"max_position_embeddings", net.context},
                      {"rms_norm_eps", net.epsilon},
                      {"rope_theta", net.rope_base},
                      {"hidden_act", "silu"},
                      {"tie_word_embeddings", true},
                      {"torch_dtype", "float32"}};
  if (vocab.bos) config.emplace("bos_token_id", *vocab.bos);
  if (vocab.eos) config.emplace("eos_token_id", *vocab.eos);
  return json::write(config);
}

// Our slots hold several of Hugging Face's matrices one under the other.
struct Piece {
  const char* slot;
  const char* name;
  std::size_t rows;
};

std::vector<NamedTensor> huggingface_tensors(const Checkpoint& c) {
  const NetConfig& net = c.net;
  const std::size_t kv = net.kv_heads * net.head_dim();
  const Piece kPieces[] = {
      {"attention_norm", "input_layernorm", 1},
      {"qkv", "self_attn.q_proj", net.dim},
      {"qkv", "self_attn.k_proj", kv},
      {"qkv", "self_attn.v_proj", kv},
      {"attention_out", "self_attn.o_proj", net.dim},
      {"ffn_norm", "post_attention_layernorm", 1},
      {"gate_up", "mlp.gate_proj", net.ffn},
      {"gate_up", "mlp.up_proj", net.ffn},
      {"down", "mlp.down_proj", net.dim},
  };
  std::vector<NamedTensor> tensors;
  const auto add = [&](std::string name, std::size_t offset, std::size_t rows, std::size_t cols) {
    std::vector<std::uint64_t> shape{rows, cols};
    if (rows == 1) shape = {cols};
    tensors.push_back({std::move(name), std::move(shape), std::span(c.weights).subspan(offset, rows * cols)});
  };
  for (const WeightSlot& slot : weight_slots(net)) {
    if (slot.name == "embedding") add("model.embed_tokens.weight", slot.offset, slot.rows, slot.cols);
    if (slot.name == "output_norm") add("model.norm.weight", slot.offset, 1, slot.cols);
    if (!slot.name.starts_with("layer.")) continue;
    const std::size_t dot = slot.name.find('.', 6);
    const std::string layer = slot.name.substr(6, dot - 6);
    std::size_t offset = slot.offset;
    for (const Piece& piece : kPieces) {
      if (slot.name.substr(dot + 1) != piece.slot) continue;
      add(fmt::format("model.layers.{}.{}.weight", layer, piece.name), offset, piece.rows, slot.cols);
      offset += piece.rows * slot.cols;
    }
  }
  return tensors;
}

Status write_text(const std::filesystem::path& path, const std::string& text) {
  const Bytes parts[] = {as_bytes(text)};
  return write_file_atomically(path, parts);
}

}  // namespace

Status export_huggingface(const Checkpoint& checkpoint, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(Code::kUnknown, "{}: {}", folder.string(), error.message());
  SEDGE_TRY(const model::Vocab vocab,
            model::vocab_from_tokenizer_json(checkpoint.tokenizer, checkpoint.tokenizer_config));
  SEDGE_CHECK(write_text(folder / "config.json", config_json(checkpoint.net, vocab)));
  SEDGE_CHECK(write_text(folder / "tokenizer.json", checkpoint.tokenizer));
  SEDGE_CHECK(write_text(folder / "tokenizer_config.json", checkpoint.tokenizer_config));
  return write_safetensors(folder / "model.safetensors", {{"format", "pt"}}, huggingface_tensors(checkpoint));
}

Status export_gguf(const std::filesystem::path& folder, const std::filesystem::path& gguf, const std::string& name,
                   const std::string& type) {
  std::error_code error;
  if (gguf.has_parent_path()) std::filesystem::create_directories(gguf.parent_path(), error);
  if (error) return fail(Code::kUnknown, "{}: {}", gguf.parent_path().string(), error.message());
  model::ImportOptions options;
  SEDGE_TRY(options.type, model::type_choice_from_name(type));
  options.name = name;
  SEDGE_TRY(const model::ImportReport report, model::import_model(folder, gguf, options));
  static_cast<void>(report);
  return {};
}

}  // namespace sedge::train
