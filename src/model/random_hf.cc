// A random model as Hugging Face would hold it: the inverse of what the importer does to names, rows and norms, so that
// the two are held against each other.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <system_error>

#include "base/json.h"
#include "model/import_source.h"
#include "model/random.h"
#include "model/random_shapes.h"

namespace sedge::model {
namespace {

namespace fs = std::filesystem;

json::Value numbers(const std::vector<float>& values) {
  json::Array out;
  for (const float value : values) out.emplace_back(static_cast<double>(value));
  return out;
}

json::Object scaling_json(const Llama3Scaling& scaling) {
  return {{"rope_type", "llama3"},
          {"factor", scaling.factor},
          {"low_freq_factor", scaling.low},
          {"high_freq_factor", scaling.high},
          {"original_max_position_embeddings", scaling.original_context}};
}

json::Object scaling_json(const RandomShape& shape) {
  using Kind = RopeScaling::Kind;
  const RopeScaling& scaling = shape.config.rope_scaling;
  json::Object out;
  out["rope_type"] = scaling.kind == Kind::kLinear ? "linear" : scaling.kind == Kind::kYarn ? "yarn" : "longrope";
  if (scaling.kind != Kind::kLongRope) out["factor"] = scaling.factor;
  if (scaling.kind != Kind::kLinear) out["original_max_position_embeddings"] = scaling.original_context;
  if (scaling.kind != Kind::kLongRope) return out;
  out["attention_factor"] = scaling.magnitude;
  out["short_factor"] = numbers(shape.rope_short);
  out["long_factor"] = numbers(shape.rope_long);
  return out;
}

json::Object config_json(const RandomShape& shape) {
  const LlamaConfig& c = shape.config;
  const HfFields& names = shape.type->fields;
  json::Object out = {{"model_type", shape.type->model_type},
                      {names.layers, c.layers},
                      {names.dim, c.dim},
                      {names.heads, c.heads},
                      {"num_key_value_heads", c.kv_heads},
                      {"head_dim", c.head_dim},
                      {names.ffn, c.ffn_dim},
                      {"vocab_size", c.vocab},
                      {names.context, c.context},
                      {names.epsilon, c.norm_eps},
                      {names.rope_base, c.rope_base},
                      {"tie_word_embeddings", c.tied}};
  if (c.token_types != 0) out["type_vocab_size"] = c.token_types;
  if (c.window != 0) out["sliding_window"] = c.window;
  if (c.attention_cap != 0) out["attn_logit_softcapping"] = c.attention_cap;
  if (c.logit_cap != 0) out["final_logit_softcapping"] = c.logit_cap;
  if (c.local_rope_base != 0) out["rope_local_base_freq"] = c.local_rope_base;
  if (c.rope_dim != c.head_dim) {
    out["partial_rotary_factor"] = static_cast<double>(c.rope_dim) / static_cast<double>(c.head_dim);
  }
  if (c.experts != 0) {
    out[names.experts] = c.experts;
    out["num_experts_per_tok"] = c.experts_used;
    out["moe_intermediate_size"] = c.expert_ffn_dim;
  }
  if (c.rope_scaling.kind != RopeScaling::Kind::kNone) out["rope_scaling"] = scaling_json(shape);
  if (shape.llama3) out["rope_scaling"] = scaling_json(*shape.llama3);
  return out;
}

json::Object wordpiece_json(const Vocab& vocab) {
  constexpr std::string_view kMark = "\u2581";
  json::Object ids;
  json::Array added;
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    std::string token = vocab.tokens[id];
    if (vocab.type(id) == TokenType::kNormal) {
      if (token.starts_with(kMark)) {
        token.erase(0, kMark.size());
      } else {
        token.insert(0, "##");
      }
    } else {
      added.push_back(json::Object{{"id", id}, {"content", token}, {"special", true}});
    }
    ids[token] = id;
  }
  const auto end = [&](std::int32_t id) { return json::Array{vocab.tokens[static_cast<std::size_t>(id)], id}; };
  return {
      {"added_tokens", added},
      {"normalizer", json::Object{{"type", "BertNormalizer"}}},
      {"pre_tokenizer", json::Object{{"type", "BertPreTokenizer"}}},
      {"post_processor", json::Object{{"type", "BertProcessing"}, {"cls", end(*vocab.bos)}, {"sep", end(*vocab.sep)}}},
      {"model", json::Object{{"type", "WordPiece"}, {"unk_token", vocab.tokens[1]}, {"vocab", ids}}}};
}

json::Object tokenizer_json(const Vocab& vocab) {
  if (vocab.model == "bert") return wordpiece_json(vocab);
  json::Object ids;
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) ids[vocab.tokens[id]] = id;
  json::Array added;
  for (const std::size_t id : {1u, 2u}) {
    added.push_back(json::Object{{"id", id}, {"content", vocab.tokens[id]}, {"special", true}});
  }
  return {{"added_tokens", added},
          {"normalizer",
           json::Object{{"type", "Replace"}, {"pattern", json::Object{{"String", " "}}}, {"content", "\u2581"}}},
          {"model", json::Object{{"type", "BPE"},
                                 {"unk_token", vocab.tokens[0]},
                                 {"byte_fallback", true},
                                 {"vocab", ids},
                                 {"merges", json::Array()}}}};
}

Status write_file(const fs::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (file) return {};
  return fail(Code::kUnknown, "{}: cannot be written", path.string());
}

// One of a directory's tensors: a random one, or one expert of it, as it stands there.
struct HfTensor {
  std::string name;
  std::vector<std::uint64_t> shape;  // outermost first
  RandomTensor values;
  std::size_t expert = 0, experts = 1;
  std::size_t half_heads = 0;
  bool transposed = false, less_one = false;

  std::uint64_t bytes() const { return values.bytes() / experts; }
};

template <class Owner>
void add(const RandomShape& shape, const LlamaTensorRow<Owner>& row, std::size_t layer, std::uint64_t seed,
         std::vector<HfTensor>& out) {
  const HfType& type = *shape.type;
  const auto in_gguf = shape_of(row, shape.config);
  const std::size_t experts = row.planes == nullptr ? 1 : row.planes(shape.config);
  const bool matrix = in_gguf.size() > 1;
  for (std::size_t expert = 0; expert < experts; ++expert) {
    HfTensor tensor{.name = hf_name(type, row, layer, expert),
                    .shape = {in_gguf.rend() - static_cast<std::ptrdiff_t>(std::min<std::size_t>(2, in_gguf.size())),
                              in_gguf.rend()},
                    .values = random_tensor(shape, row, DType::kF32, seed),
                    .expert = expert,
                    .experts = experts};
    const bool interleaved = shape.config.features.rope == RopeLayout::kInterleaved;
    tensor.half_heads = row.heads != nullptr && interleaved ? row.heads(shape.config) : 0;
    tensor.transposed = type.transposed && matrix && !std::is_same_v<Owner, LlamaWeights>;
    tensor.less_one = type.norms_less_one && !matrix && row.suffix == kWeight;
    if (tensor.transposed) std::swap(tensor.shape[0], tensor.shape[1]);
    out.push_back(std::move(tensor));
  }
}

// The tensor's values in the directory's order.
Result<Buffer> bytes_of(HfTensor& tensor) {
  Buffer all;
  SEDGE_CHECK(tensor.values.run([&](Bytes piece) -> Status {
    all.insert(all.end(), piece.begin(), piece.end());
    return {};
  }));
  const auto size = static_cast<std::size_t>(tensor.bytes());
  const Bytes in = Bytes(all).subspan(tensor.expert * size, size);
  Buffer out(size);
  const bool matrix = tensor.shape.size() > 1;
  const auto rows = static_cast<std::size_t>(matrix ? tensor.shape[tensor.transposed ? 1 : 0] : 1);
  const std::size_t cols = size / sizeof(float) / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    // half_row says where the importer will look for a row: that is where it goes.
    const std::size_t to = tensor.half_heads == 0 ? row : half_row(row, rows / tensor.half_heads);
    for (std::size_t col = 0; col < cols; ++col) {
      float value = 0;
      std::memcpy(&value, in.data() + (row * cols + col) * sizeof value, sizeof value);
      if (tensor.less_one) value -= 1.0f;
      const std::size_t at = tensor.transposed ? col * rows + to : to * cols + col;
      std::memcpy(out.data() + at * sizeof value, &value, sizeof value);
    }
  }
  return out;
}

Status write_safetensors(const fs::path& path, std::vector<HfTensor>& tensors) {
  json::Object header;
  std::uint64_t at = 0;
  for (const HfTensor& tensor : tensors) {
    json::Array shape(tensor.shape.begin(), tensor.shape.end());
    header[tensor.name] =
        json::Object{{"dtype", "F32"}, {"shape", shape}, {"data_offsets", json::Array{at, at + tensor.bytes()}}};
    at += tensor.bytes();
  }
  const std::string text = json::write(header);
  const std::uint64_t length = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (HfTensor& tensor : tensors) {
    SEDGE_TRY(const Buffer bytes, bytes_of(tensor));
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  file.close();
  if (file) return {};
  return fail(Code::kUnknown, "{}: cannot be written", path.string());
}

}  // namespace

Status write_random_hf(const fs::path& directory, const RandomOptions& options) {
  SEDGE_TRY(const RandomShape shape, find_random_shape(options.shape));
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return fail(Code::kUnknown, "{}: {}", directory.string(), error.message());
  Prng seeds(options.seed);
  std::vector<HfTensor> tensors;
  SEDGE_CHECK(for_each_tensor(shape.config, [&](const auto& row, std::size_t layer) -> Status {
    add(shape, row, layer, seeds.next(), tensors);
    return {};
  }));
  SEDGE_CHECK(write_file(directory / "config.json", json::write(config_json(shape))));
  SEDGE_CHECK(write_file(directory / "tokenizer.json", json::write(tokenizer_json(random_vocab(shape.config)))));
  if (shape.config.features.causal) {
    SEDGE_CHECK(
        write_file(directory / "tokenizer_config.json",
                   json::write(json::Object{{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"add_bos_token", true}})));
  }
  return write_safetensors(directory / "model.safetensors", tensors);
}

}  // namespace sedge::model
