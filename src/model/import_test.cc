#include "model/import.h"

#include <cstring>
#include <fstream>
#include <map>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include "kernels/formats/books.h"
#include "model/import_source.h"
#include "model/testing/tiny_llama.h"
#include "model/tokenizer.h"
#include "support/test_data.h"

namespace sedge::model {
namespace {

namespace fs = std::filesystem;

// A folder that goes away with the test.
class Scratch {
 public:
  Scratch() : path_(fs::path(::testing::TempDir()) / fmt::format("sedge_import_{}_{}", ::getpid(), counter_++)) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Scratch() { fs::remove_all(path_); }
  fs::path operator/(std::string_view name) const { return path_ / name; }
  const fs::path& path() const { return path_; }
  void write(std::string_view name, Bytes bytes) const {
    std::ofstream(path_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  void write(std::string_view name, std::string_view text) const { write(name, as_bytes(text)); }

 private:
  inline static int counter_ = 0;
  fs::path path_;
};

ImportOptions with_tokenizer(const fs::path& path) {
  ImportOptions options;
  options.tokenizer = path;
  return options;
}

ImportOptions with_type(DType type) {
  ImportOptions options;
  options.type = TypeChoice{.type = type};
  return options;
}

Bytes bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(float)};
}

void append(Buffer& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

// llama2.c's tokenizer file: max length, then score, length, text for each token.
Buffer tiny_tok_bin() {
  Buffer out;
  const auto put = [&](auto value) { append(out, {reinterpret_cast<const std::uint8_t*>(&value), sizeof value}); };
  put(std::int32_t{5});
  for (int i = 0; i < 16; ++i) {
    const std::string text = i == 0   ? "<unk>"
                             : i == 1 ? "<s>"
                             : i == 2 ? "</s>"
                                      : std::string(1, static_cast<char>('a' + i));
    put(-static_cast<float>(i));
    put(static_cast<std::int32_t>(text.size()));
    append(out, as_bytes(text));
  }
  return out;
}

using Named = std::map<std::string, std::vector<float>>;  // a model's values by GGUF name

Named tiny_values(const LlamaConfig& config) {
  Named values;
  std::uint64_t seed = 7;
  for (const auto& [name, shape] : testing::tensor_list(config)) {
    values[name] = testing::random_values(shape[0] * (shape.size() > 1 ? shape[1] : 1), seed++);
  }
  return values;
}

std::string hf_name(const LlamaConfig& config, const std::string& gguf) {
  std::string found;
  const Status all = for_each_tensor(config, [&](const auto& row, std::size_t layer) -> Status {
    if (gguf_name(row, layer) == gguf) found = hf_name(*find_hf_type("llama"), row, layer);
    return {};
  });
  EXPECT_TRUE(all);
  return found;
}

// F32 safetensors of some of a model's tensors, under their Hugging Face names.
Buffer safetensors_of(const LlamaConfig& config, const Named& values,
                      const std::function<bool(const std::string&)>& wanted) {
  std::string header = "{";
  Buffer data;
  for (const auto& [name, shape] : testing::tensor_list(config)) {
    if (!wanted(name)) continue;
    const std::size_t begin = data.size();
    append(data, bytes_of(values.at(name)));
    const std::vector<std::uint64_t> outer_first(shape.rbegin(), shape.rend());
    header += fmt::format(R"({}"{}":{{"dtype":"F32","shape":{},"data_offsets":[{},{}]}})", header.size() > 1 ? "," : "",
                          hf_name(config, name), shape_text(outer_first), begin, data.size());
  }
  header += '}';
  const std::uint64_t length = header.size();
  Buffer out;
  append(out, {reinterpret_cast<const std::uint8_t*>(&length), sizeof length});
  append(out, as_bytes(header));
  append(out, data);
  return out;
}

std::string config_json(const LlamaConfig& c) {
  return fmt::format(R"({{"model_type":"llama","hidden_size":{},"num_hidden_layers":{},"num_attention_heads":{},)"
                     R"("num_key_value_heads":{},"intermediate_size":{},"vocab_size":{},"max_position_embeddings":{},)"
                     R"("tie_word_embeddings":{}}})",
                     c.dim, c.layers, c.heads, c.kv_heads, c.ffn_dim, c.vocab, c.context, c.tied);
}

// What the importer should make of Hugging Face's row order: written out for one head as the definition says.
std::vector<float> interleaved(const std::vector<float>& values, std::size_t cols, std::size_t head_dim) {
  std::vector<float> out(values.size());
  for (std::size_t row = 0; row < values.size() / cols; ++row) {
    const std::size_t head = row / head_dim, half = row % head_dim / (head_dim / 2), pair = row % (head_dim / 2);
    const std::size_t to = head * head_dim + 2 * pair + half;
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(row * cols), cols,
                out.begin() + static_cast<std::ptrdiff_t>(to * cols));
  }
  return out;
}

void expect_tensors(const fs::path& path, const LlamaConfig& config, const Named& values, bool halves) {
  const GgufFile file = GgufFile::open(path).value();
  ASSERT_TRUE(load_llama(file)) << load_llama(file).error().message;
  for (const auto& [name, expected] : values) {
    const bool rotated = halves && (name.contains("attn_q.") || name.contains("attn_k."));
    const TensorView* tensor = file.find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(to_hex(tensor->data),
              to_hex(bytes_of(rotated ? interleaved(expected, config.dim, config.head_dim) : expected)))
        << name;
  }
}

TEST(Import, a_hugging_face_directory_has_its_rotated_rows_interleaved) {
  for (const bool tied : {true, false}) {
    const Scratch scratch;
    LlamaConfig config = testing::tiny_config();
    config.tied = tied;
    const Named values = tiny_values(config);
    scratch.write("config.json", config_json(config));
    scratch.write("model.safetensors", safetensors_of(config, values, [](const auto&) { return true; }));
    scratch.write("tok.bin", tiny_tok_bin());
    const auto report = import_model(scratch.path(), scratch / "out.gguf", with_tokenizer(scratch / "tok.bin"));
    ASSERT_TRUE(report) << report.error().message;
    expect_tensors(scratch / "out.gguf", config, values, true);
  }
}

TEST(Import, shards_behind_an_index_give_the_same_file_as_one) {
  const Scratch scratch;
  const LlamaConfig config = testing::tiny_config();
  const Named values = tiny_values(config);
  ImportOptions options = with_tokenizer(scratch / "tok.bin");
  options.name = "same";
  const auto first_layer = [](const std::string& name) { return name.starts_with("blk.0."); };
  scratch.write("config.json", config_json(config));
  scratch.write("tok.bin", tiny_tok_bin());
  scratch.write("x-1.safetensors", safetensors_of(config, values, first_layer));
  scratch.write("x-2.safetensors",
                safetensors_of(config, values, [&](const auto& name) { return !first_layer(name); }));
  std::string map;
  for (const auto& [name, unused] : values) {
    map += fmt::format(R"({}"{}":"x-{}.safetensors")", map.empty() ? "" : ",", hf_name(config, name),
                       first_layer(name) ? 1 : 2);
  }
  scratch.write("model.safetensors.index.json", fmt::format(R"({{"metadata":{{}},"weight_map":{{{}}}}})", map));
  ASSERT_TRUE(import_model(scratch.path(), scratch / "sharded.gguf", options));
  scratch.write("model.safetensors", safetensors_of(config, values, [](const auto&) { return true; }));
  ASSERT_TRUE(import_model(scratch.path(), scratch / "single.gguf", options));
  const auto sharded = MappedFile::open(scratch / "sharded.gguf").value();
  const auto single = MappedFile::open(scratch / "single.gguf").value();
  EXPECT_EQ(as_text(sharded->bytes()), as_text(single->bytes()));
}

TEST(Import, an_index_that_points_elsewhere_or_lies_is_refused) {
  const Scratch scratch;
  const LlamaConfig config = testing::tiny_config();
  scratch.write("config.json", config_json(config));
  scratch.write("x.safetensors", safetensors_of(config, tiny_values(config), [](const auto&) { return true; }));
  const auto error = [&](std::string_view map) {
    scratch.write("model.safetensors.index.json", fmt::format(R"({{"weight_map":{{{}}}}})", map));
    return import_model(scratch.path(), scratch / "out.gguf", {}).error().message;
  };
  for (const char* name : {"../x.safetensors", "/etc/passwd", "..", ""}) {
    EXPECT_EQ(error(fmt::format(R"("t":"{}")", name)),
              fmt::format("model.safetensors.index.json: field 'weight_map': '{}' is not a plain file name", name));
  }
  EXPECT_EQ(error(R"("t":"x.safetensors")"), "model.safetensors.index.json: tensor 't' is not in x.safetensors");
  EXPECT_EQ(error(R"("t":5)"), "field 't' is not a string");
  EXPECT_FALSE(fs::exists(scratch / "out.gguf"));
}

TEST(Import, a_tensor_that_is_missing_misshapen_or_unknown_is_named) {
  const Scratch scratch;
  LlamaConfig config = testing::tiny_config();
  const Named values = tiny_values(config);
  scratch.write("tok.bin", tiny_tok_bin());
  const auto error = [&](const std::function<bool(const std::string&)>& wanted) {
    scratch.write("model.safetensors", safetensors_of(config, values, wanted));
    const auto report = import_model(scratch.path(), scratch / "out.gguf", with_tokenizer(scratch / "tok.bin"));
    return report ? "" : report.error().message;
  };
  const auto all = [](const auto&) { return true; };
  scratch.write("config.json", config_json(config));
  EXPECT_EQ(error([](const auto& name) { return name != "blk.1.ffn_up.weight"; }),
            "tensor 'model.layers.1.mlp.up_proj.weight' is missing");
  LlamaConfig other = config;
  other.layers = 1;
  scratch.write("config.json", config_json(other));
  EXPECT_NE(error(all).find("has no place in a llama of 1 layers"), std::string::npos);
  other = config;
  other.ffn_dim = 65;
  scratch.write("config.json", config_json(other));
  EXPECT_EQ(error(all),
            "tensor 'model.layers.0.mlp.gate_proj.weight' has shape [32, 64], config.json asks for "
            "[32, 65] (innermost first)");
  other = config;
  other.vocab = 8;
  scratch.write("config.json", config_json(other));
  EXPECT_NE(error(all), "");
}

// A version-0 checkpoint by the layout's own words: header, then stretches over all layers.
Buffer llama2c_file(const LlamaConfig& config, const Named& values) {
  Buffer out;
  const auto put = [&](std::size_t value) {
    const auto number = static_cast<std::int32_t>(value);
    append(out, {reinterpret_cast<const std::uint8_t*>(&number), 4});
  };
  for (const auto value : {config.dim, config.ffn_dim, config.layers, config.heads, config.kv_heads}) put(value);
  put(config.tied ? config.vocab : 0 - config.vocab);
  put(config.context);
  append(out, bytes_of(values.at("token_embd.weight")));
  for (const char* name :
       {"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_down", "ffn_up"}) {
    for (std::size_t layer = 0; layer < config.layers; ++layer) {
      append(out, bytes_of(values.at(fmt::format("blk.{}.{}.weight", layer, name))));
    }
  }
  append(out, bytes_of(values.at("output_norm.weight")));
  append(out, bytes_of(std::vector<float>(config.context * config.head_dim)));
  if (!config.tied) append(out, bytes_of(values.at("output.weight")));
  return out;
}

TEST(Import, a_llama2c_checkpoint_keeps_its_rows) {
  for (const bool tied : {true, false}) {
    const Scratch scratch;
    LlamaConfig config = testing::tiny_config();
    config.tied = tied;
    const Named values = tiny_values(config);
    scratch.write("tiny.bin", llama2c_file(config, values));
    scratch.write("tok16.bin", tiny_tok_bin());
    const auto report = import_model(scratch / "tiny.bin", scratch / "out.gguf", {});
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->source, "llama2.c checkpoint");
    expect_tensors(scratch / "out.gguf", config, values, false);
    const GgufFile file = GgufFile::open(scratch / "out.gguf").value();
    EXPECT_EQ(file.get_string("general.name").value(), "tiny");
    EXPECT_EQ(file.get_strings("tokenizer.ggml.tokens").value().size(), 16u);
  }
}

TEST(Import, a_llama2c_checkpoint_of_any_other_length_is_refused_with_the_offset) {
  const LlamaConfig config = testing::tiny_config();
  Buffer bytes = llama2c_file(config, tiny_values(config));
  ASSERT_TRUE(parse_llama2c(bytes));
  bytes.push_back(0);
  EXPECT_NE(parse_llama2c(bytes).error().message.find("1 bytes follow the last weight at offset"), std::string::npos);
  for (std::size_t size = 0; size + 1 < bytes.size(); size += 13) {
    const auto cut = parse_llama2c(Bytes(bytes).first(size));
    ASSERT_FALSE(cut);
    EXPECT_NE(cut.error().message.find("at offset"), std::string::npos) << cut.error().message;
  }
  EXPECT_EQ(parse_llama2c(as_bytes("24ka\x02")).error().message.find("version at offset 4"), 0u);
}

TEST(Import, converting_writes_what_the_formats_define_and_keeps_vectors_whole) {
  const Scratch scratch;
  LlamaConfig config = testing::tiny_config();
  config.ffn_dim = 48;  // its rows fit no block of 32
  const Named values = tiny_values(config);
  scratch.write("tiny.bin", llama2c_file(config, values));
  scratch.write("tok16.bin", tiny_tok_bin());
  for (const auto& format : kernels::formats()) {
    std::uint64_t done = 0, total = 0;
    ImportOptions options = with_type(format.type);
    options.progress = [&](std::uint64_t d, std::uint64_t t) { done = d, total = t; };
    const auto report = import_model(scratch / "tiny.bin", scratch / "out.gguf", options);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(done, total);
    EXPECT_EQ(report->data_bytes, total);
    // Rows of 32 (and of 48: ffn_down of both layers) that no block of the type fits.
    const std::size_t misfits = format.block_values > 32 ? 15u : format.block_values > 1 ? 2u : 0u;
    const bool words = kernels::find_book(format.type) != nullptr;  // another note: nothing said which weights matter
    EXPECT_EQ(report->notes.size(), misfits + (words ? 1u : 0u));
    const GgufFile file = GgufFile::open(scratch / "out.gguf").value();
    ASSERT_TRUE(load_llama(file));
    EXPECT_EQ(file.find_tensor("output_norm.weight")->type, DType::kF32);
    const TensorView& embedding = *file.find_tensor("token_embd.weight");
    const DType type = chosen_type({.type = format.type}, "token_embd.weight", 32, 2);
    EXPECT_EQ(embedding.type, type);
    Buffer expected(embedding.data.size());
    kernels::format_of(type).quantize(values.at("token_embd.weight").data(), expected.data(), embedding.values());
    EXPECT_EQ(to_hex(embedding.data), to_hex(expected));
  }
}

TEST(Import, a_name_that_ends_in_m_is_a_type_or_a_mixture) {
  EXPECT_EQ(type_choice_from_name("iq1_m").value(), (TypeChoice{.type = DType::kIQ1_M, .more_bits = false}));
  EXPECT_EQ(type_choice_from_name("q4_k_m").value(), (TypeChoice{.type = DType::kQ4_K, .more_bits = true}));
  EXPECT_FALSE(type_choice_from_name("q6_k_m"));
}

TEST(Import, a_value_that_the_type_cannot_hold_is_an_error_and_leaves_no_file) {
  const Scratch scratch;
  const LlamaConfig config = testing::tiny_config();
  Named values = tiny_values(config);
  values["blk.1.attn_v.weight"][37] = 70000.0f;
  scratch.write("tiny.bin", llama2c_file(config, values));
  scratch.write("tok16.bin", tiny_tok_bin());
  const auto to = [&](DType type) { return import_model(scratch / "tiny.bin", scratch / "out.gguf", with_type(type)); };
  EXPECT_EQ(to(DType::kF16).error().message,
            "tensor 'blk.1.attn_v.weight': row 1, column 5: 70000 cannot be written as F16");
  EXPECT_FALSE(fs::exists(scratch / "out.gguf"));
  EXPECT_FALSE(fs::exists(scratch / "out.gguf.part"));
  EXPECT_TRUE(to(DType::kBF16));
}

TEST(Import, rows_of_a_head_change_places_one_to_one) {
  for (const std::size_t head_dim : {2u, 8u, 64u}) {
    std::vector<bool> seen(3 * head_dim);
    for (std::size_t row = 0; row < seen.size(); ++row) {
      const std::size_t source = half_row(row, head_dim);
      EXPECT_EQ(source / head_dim, row / head_dim);
      EXPECT_FALSE(seen[source]);
      seen[source] = true;
    }
  }
  EXPECT_EQ(half_row(1, 8), 4u);
  EXPECT_EQ(half_row(2, 8), 1u);
}

// Every tensor of `ours` equals the one of the same name in `theirs`, byte for byte.
void expect_same_tensors(const fs::path& ours, const fs::path& theirs) {
  const GgufFile a = GgufFile::open(ours).value();
  const GgufFile b = GgufFile::open(theirs).value();
  for (const TensorView& tensor : a.tensors()) {
    const TensorView* other = b.find_tensor(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_EQ(tensor.shape, other->shape) << tensor.name;
    EXPECT_EQ(tensor.type, other->type) << tensor.name;
    EXPECT_TRUE(as_text(tensor.data) == as_text(other->data)) << tensor.name << " differs";
  }
}

TEST(Import, q8_0_of_a_hugging_face_model_equals_the_file_that_others_made) {
  SEDGE_NEED_DATA(path, "llm/TinyStories-656K-hf");
  const Scratch scratch;
  ASSERT_TRUE(import_model(path, scratch / "out.gguf", with_type(DType::kQ8_0)));
  expect_same_tensors(scratch / "out.gguf", path / "TinyStories-656K-Q8_0.gguf");
}

TEST(Import, a_llama2c_model_equals_the_file_that_others_made) {
  SEDGE_NEED_DATA(path, "llm/stories260K");
  const Scratch scratch;
  ASSERT_TRUE(import_model(path / "stories260K.bin", scratch / "out.gguf", {}));
  expect_same_tensors(scratch / "out.gguf", path / "stories260K.gguf");
}

TEST(Import, models_of_each_kind_come_in_and_tokenize) {
  SEDGE_NEED_DATA(path, "llm");
  const Scratch scratch;
  for (const char* name : {"TinyStories-656K-hf", "TinyStories-656K-hf/model.half.safetensors", "wren-15m-hf"}) {
    const auto report = import_model(path / name, scratch / "out.gguf", {});
    ASSERT_TRUE(report) << report.error().message;
    const GgufFile file = GgufFile::open(scratch / "out.gguf").value();
    const LlamaModel model = load_llama(file).value();
    EXPECT_EQ(model.config.name, fs::path(name).begin()->string());
    const Tokenizer tokenizer = Tokenizer::make(vocab_from_gguf(file).value()).value();
    EXPECT_EQ(tokenizer.size(), model.config.vocab);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("Once upon a time")), "Once upon a time");
  }
}

}  // namespace
}  // namespace sedge::model
