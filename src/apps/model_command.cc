// sedge model info|import|random|random-lora|tokenize: what a model file is, how one is made, how it cuts text.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "apps/command.h"
#include "engine/model.h"
#include "engine/thread_pool.h"
#include "kernels/kernels.h"
#include "model/gguf.h"
#include "model/import.h"
#include "model/llama.h"
#include "model/lora.h"
#include "model/random.h"
#include "model/tokenizer.h"
#include "model/unicode.h"
#include "platform/memory.h"
#include "platform/model_figures.h"

namespace sedge::apps {
namespace {

// "1.13 MiB", "640 B"
std::string size_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.2f} {}", value, kUnits[unit]);
}

// "656K", "14.7M"
std::string count_text(std::uint64_t count) {
  constexpr const char* kUnits[] = {"", "K", "M", "G"};
  double value = static_cast<double>(count);
  std::size_t unit = 0;
  for (; value >= 1000 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return unit == 0 ? fmt::format("{}", count) : fmt::format("{:.4g}{}", value, kUnits[unit]);
}

// JSON is UTF-8: what is not becomes U+FFFD.
std::string valid_utf8(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const model::CodePoint point = model::next_code_point(text, at);
    model::append_utf8(out, (point.code & model::kNotUtf8) != 0 ? U'\uFFFD' : point.code);
    at += point.bytes;
  }
  return out;
}

struct Description {
  std::string path;
  std::uint64_t bytes = 0;
  std::string architecture, name;
  std::uint64_t parameters = 0;
  std::size_t tensors = 0;
  std::map<std::string, std::size_t, std::less<>> types;  // tensors of each type
  Result<model::LlamaConfig> config = fail(Code::kUnknown, "not read");
  Status runnable;
  Result<model::Vocab> vocab = fail(Code::kUnknown, "not read");
  platform::ModelMemory memory;  // where it runs
};

Description describe(const std::string& path, const model::GgufFile& file) {
  Description out;
  out.path = path;
  out.bytes = file.file_bytes();
  out.architecture = file.get_string("general.architecture").value_or("");
  out.name = file.get_string("general.name").value_or("");
  out.tensors = file.tensors().size();
  for (const auto& tensor : file.tensors()) {
    out.parameters += tensor.values();
    ++out.types[std::string(model::dtype_name(tensor.type))];
  }
  out.config = model::read_llama_config(file);
  if (const auto loaded = model::load_llama(file); !loaded) {
    out.runnable = std::unexpected(loaded.error());
  } else {
    out.memory = platform::memory_of(file, *loaded, kernels::DType::kF32);
  }
  out.vocab = model::vocab_from_gguf(file);
  return out;
}

std::string types_text(const Description& model) {
  std::string text;
  for (const auto& [name, count] : model.types) {
    text += fmt::format("{}{} × {}", text.empty() ? "" : ", ", count, name);
  }
  return text.empty() ? "none (a vocabulary alone)" : text;
}

std::string token_text(const model::Vocab& vocab, const std::optional<std::int32_t>& id) {
  return id ? fmt::format("{} {}", *id, valid_utf8(vocab.tokens[static_cast<std::size_t>(*id)])) : "none";
}

// What sets the model apart from others of the family.
std::string features_text(const model::LlamaConfig& c) {
  std::string text = model::describe(c.features);
  if (c.experts != 0) {
    text += fmt::format(", {} of {} experts of width {}", c.experts_used, c.experts, c.expert_ffn_dim);
  }
  if (c.window != 0) {
    text +=
        fmt::format(", a window of {} in {}", c.window,
                    c.features.window_period == 1 ? "every layer"
                                                  : fmt::format("all but each {}th layer", c.features.window_period));
  }
  if (c.attention_cap != 0) text += fmt::format(", scores capped at {:g}", c.attention_cap);
  if (c.logit_cap != 0) text += fmt::format(", logits capped at {:g}", c.logit_cap);
  return text;
}

std::string positions_text(const model::LlamaConfig& c) {
  if (c.features.rope == model::RopeLayout::kNone) return fmt::format("{} tokens", c.context);
  constexpr std::string_view kScalings[] = {"", ", stretched {} times", ", stretched {} times by YaRN", ", LongRoPE"};
  const std::string more = c.long_context > 0 ? fmt::format(" ({} with --long-context)", c.long_context) : "";
  return fmt::format("{} tokens{}, RoPE base {:g} over {} dimensions", c.context, more, c.rope_base, c.rope_dim) +
         fmt::format(fmt::runtime(kScalings[static_cast<std::size_t>(c.rope_scaling.kind)]), c.rope_scaling.factor);
}

std::string_view head_text(const model::LlamaConfig& c) {
  constexpr std::string_view kPooled[] = {"none", "none: the mean of its states", "none: its first state",
                                          "none: its last state"};
  static_assert(std::size(kPooled) == static_cast<std::size_t>(model::Pooling::kLast) + 1);
  if (!c.features.causal) return kPooled[static_cast<std::size_t>(c.pooling)];
  return c.tied ? "tied to the embedding" : "its own matrix";
}

std::string_view tokenizer_text(std::string_view model) {
  if (model == "bert") return "WordPiece";
  return model == "llama" ? "SentencePiece BPE" : "byte-level BPE";
}

std::uint64_t context_bytes(const Description& model) { return model.memory.position * model.config->context; }

std::string memory_text(const Description& model) {
  std::string weights = fmt::format("{} of weights", size_text(model.memory.weights));
  if (!model.config->features.causal) return weights;
  return fmt::format("{}, and {} of keys and values for 1000 tokens, {} for all {} (--kv f16: half)", weights,
                     size_text(1000 * model.memory.position), size_text(context_bytes(model)), model.config->context);
}

std::vector<std::pair<std::string, std::string>> rows(const Description& model) {
  std::vector<std::pair<std::string, std::string>> out = {
      {"file", fmt::format("{} ({})", model.path, size_text(model.bytes))},
      {"model", fmt::format("{} ({})", model.name.empty() ? "unnamed" : model.name, model.architecture)},
      {"parameters", fmt::format("{} in {} tensors", count_text(model.parameters), model.tensors)},
      {"types", types_text(model)},
  };
  if (model.config) {
    const model::LlamaConfig& c = *model.config;
    out.emplace_back("network", fmt::format("{} layers, width {}, feed-forward {}", c.layers, c.dim, c.ffn_dim));
    out.emplace_back("attention", fmt::format("{} heads of {}, {} key-value heads", c.heads, c.head_dim, c.kv_heads));
    out.emplace_back("features", features_text(c));
    out.emplace_back("positions", positions_text(c));
    out.emplace_back("output head", head_text(c));
  }
  if (model.vocab) {
    const model::Vocab& v = *model.vocab;
    out.emplace_back("tokenizer", fmt::format("{}{}, {} tokens", tokenizer_text(v.model),
                                              v.pre.empty() ? "" : fmt::format(" ({})", v.pre), v.tokens.size()));
    out.emplace_back(
        "special",
        fmt::format("begin {}, end {}{}{}", token_text(v, v.bos), token_text(v, v.model == "bert" ? v.sep : v.eos),
                    v.add_bos ? ", begin added" : "", v.add_eos || v.add_sep ? ", end added" : ""));
    out.emplace_back("chat template", v.chat_template.empty() ? "none" : size_text(v.chat_template.size()));
  } else {
    out.emplace_back("tokenizer", "unusable: " + model.vocab.error().message);
  }
  out.emplace_back("runs here", model.runnable ? "yes" : "no: " + model.runnable.error().message);
  if (model.runnable) out.emplace_back("instructions", kernels::active_kernels().isa);
  if (model.runnable && model.config) out.emplace_back("memory", memory_text(model));
  return out;
}

json::Object config_json(const model::LlamaConfig& c) {
  return {{"layers", c.layers},
          {"width", c.dim},
          {"heads", c.heads},
          {"kv_heads", c.kv_heads},
          {"head_size", c.head_dim},
          {"feed_forward", c.ffn_dim},
          {"vocabulary", c.vocab},
          {"context", c.context},
          {"long_context", c.long_context},
          {"rope_base", c.rope_base},
          {"rope_size", c.rope_dim},
          {"norm_eps", c.norm_eps},
          {"tied", c.tied},
          {"window", c.window},
          {"experts", c.experts},
          {"experts_used", c.experts_used},
          {"features", features_text(c)}};
}

json::Value id_json(const std::optional<std::int32_t>& id) { return id ? json::Value(*id) : json::Value(nullptr); }

json::Object vocab_json(const model::Vocab& v) {
  return {{"model", v.model},          {"pre", v.pre},
          {"tokens", v.tokens.size()}, {"bos", id_json(v.bos)},
          {"eos", id_json(v.eos)},     {"add_bos", v.add_bos},
          {"add_eos", v.add_eos},      {"chat_template", !v.chat_template.empty()}};
}

json::Object to_json(const Description& model) {
  json::Object types;
  for (const auto& [name, count] : model.types) types[name] = count;
  json::Object out = {{"file", model.path},
                      {"bytes", model.bytes},
                      {"architecture", valid_utf8(model.architecture)},
                      {"name", valid_utf8(model.name)},
                      {"parameters", model.parameters},
                      {"tensors", model.tensors},
                      {"types", types},
                      {"runs_here", model.runnable.has_value()}};
  if (model.runnable) {
    out["isa"] = kernels::active_kernels().isa;
  } else {
    out["reason"] = valid_utf8(model.runnable.error().message);
  }
  if (model.runnable && model.config) {
    out["memory"] = json::Object{{"weights_bytes", model.memory.weights},
                                 {"kv_bytes_per_token", model.memory.position},
                                 {"kv_bytes_context", context_bytes(model)},
                                 {"machine_bytes", platform::memory_bytes()}};
  }
  if (model.config) out["network"] = config_json(*model.config);
  if (model.vocab) out["tokenizer"] = vocab_json(*model.vocab);
  return out;
}

Result<model::GgufFile> open_model(const std::string& path) {
  auto file = model::GgufFile::open(path);
  if (!file && file.error().message.contains("is not \"GGUF\"")) {
    file.error().message += "; `sedge model import` makes one";
  }
  return file;
}

struct InfoOptions {
  std::string file;
  unsigned threads = 0;
  bool no_speed = false;
  bool json = false;
  bool metadata = false;
};

// Long enough to be a figure, short enough to wait for; once unmeasured, so that pages and caches are warm.
constexpr platform::SpeedSample kSample{.prompt = 256, .tokens = 32};

Result<platform::ModelSpeed> speed_of(const Description& model, unsigned threads) {
  if (!model.runnable) return std::unexpected(model.runnable.error());
  const std::uint64_t machine = platform::memory_bytes();
  const std::uint64_t needed = model.memory.weights + kSample.prompt * model.memory.position;
  if (machine != 0 && needed > platform::weights_memory_bytes(machine, 0)) {
    return fail(Code::kResourceExhausted, "{} needed, {} in this machine: use a smaller type or model",
                size_text(needed), size_text(machine));
  }
  SEDGE_TRY(const auto loaded, engine::Model::load(model.path));
  SEDGE_CHECK(platform::measure_speed(loaded, threads));
  return platform::measure_speed(loaded, threads, kSample);
}

Status run_info(const InfoOptions& options) {
  SEDGE_TRY(const model::GgufFile file, open_model(options.file));
  const Description model = describe(options.file, file);
  const unsigned threads = options.threads == 0 ? engine::hardware_threads() : options.threads;
  Result<platform::ModelSpeed> speed = fail(Code::kCancelled, "not asked for");
  if (!options.no_speed) {
    if (on_terminal()) fmt::print(stderr, "\rmeasuring...");
    speed = speed_of(model, threads);
    if (on_terminal()) fmt::print(stderr, "\r{:12}\r", "");
  }
  if (options.json) {
    json::Object out = to_json(model);
    if (speed) {
      out["speed"] = json::Object{
          {"prompt_tok_s", speed->prompt_tok_s}, {"generate_tok_s", speed->generate_tok_s}, {"threads", threads}};
    } else {
      out["not_measured"] = valid_utf8(speed.error().message);
    }
    fmt::print("{}\n", json::write(out));
    return {};
  }
  for (const auto& [label, text] : rows(model)) fmt::print("{:<14} {}\n", label, text);
  if (speed && model.config->features.causal) {
    fmt::print("{:<14} {:.4g} tokens/s of a prompt, {:.3g} generated, by {} threads (just measured)\n", "speed here",
               speed->prompt_tok_s, speed->generate_tok_s, threads);
  } else if (speed) {
    fmt::print("{:<14} {:.4g} tokens/s, by {} threads (just measured)\n", "speed here", speed->prompt_tok_s, threads);
  } else if (model.runnable && !options.no_speed) {
    fmt::print("{:<14} not measured: {}\n", "speed here", speed.error().message);
  }
  if (!options.metadata) return {};
  for (const auto& entry : file.metadata()) fmt::print("{} = {}\n", entry.key, entry.describe());
  for (const auto& tensor : file.tensors()) {
    fmt::print("{} {} {}\n", tensor.name, model::dtype_name(tensor.type), model::shape_text(tensor.shape));
  }
  return {};
}

struct ImportCommand {
  std::string in, out, type, tokenizer, name;
  bool json = false;
};

// A line that is drawn over, at whole percents.
auto progress_line() {
  return [last = std::uint64_t{101}](std::uint64_t done, std::uint64_t total) mutable {
    const std::uint64_t percent =
        total == 0 ? 100 : static_cast<std::uint64_t>(100.0 * static_cast<double>(done) / static_cast<double>(total));
    if (percent == last) return;
    last = percent;
    fmt::print(stderr, "\rwriting {:>3} % of {}{}", percent, size_text(total), percent == 100 ? "\n" : "");
  };
}

Status run_import(const ImportCommand& command) {
  model::ImportOptions options{
      .type = std::nullopt, .tokenizer = command.tokenizer, .name = command.name, .progress = {}};
  if (!command.type.empty()) {
    SEDGE_TRY(options.type, model::type_choice_from_name(command.type));
  }
  if (on_terminal()) options.progress = progress_line();
  SEDGE_TRY(const model::ImportReport report, model::import_model(command.in, command.out, options));
  SEDGE_TRY(const model::GgufFile file, model::GgufFile::open(command.out));
  const Description model = describe(command.out, file);
  if (command.json) {
    json::Object out = to_json(model);
    out["source"] = report.source;
    out["notes"] = json::Array(report.notes.begin(), report.notes.end());
    fmt::print("{}\n", json::write(out));
    return {};
  }
  for (const std::string& note : report.notes) fmt::print(stderr, "note: {}\n", note);
  fmt::print("{} from a {}: {} parameters, {}, {}\n", command.out, report.source, count_text(model.parameters),
             types_text(model), size_text(model.bytes));
  if (!model.runnable) fmt::print("it does not run here: {}\n", model.runnable.error().message);
  return {};
}

struct TokenizeOptions {
  std::string file, text;
  bool no_special = false;
  bool parse_special = false;
  bool json = false;
};

Result<std::string> read_text(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return fail(Code::kNotFound, "{}: cannot be opened", path);
  }
  std::istream& stream = path == "-" ? std::cin : file;
  std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (stream.bad()) return fail(Code::kUnknown, "{}: cannot be read", path);
  return text;
}

Status run_tokenize(const TokenizeOptions& options) {
  SEDGE_TRY(const model::GgufFile file, open_model(options.file));
  SEDGE_TRY(model::Vocab vocab, model::vocab_from_gguf(file));
  SEDGE_TRY(const model::Tokenizer tokenizer, model::Tokenizer::make(std::move(vocab)));
  SEDGE_TRY(const std::string text, read_text(options.text));
  const auto ids = tokenizer.encode(text, {.add_special = !options.no_special, .parse_special = options.parse_special});
  const std::string back = tokenizer.decode(ids);
  if (options.json) {
    fmt::print("{}\n",
               json::write(json::Object{{"ids", json::Array(ids.begin(), ids.end())}, {"text", valid_utf8(back)}}));
    return {};
  }
  fmt::print("{}\n", fmt::join(ids, " "));
  fmt::print("{} tokens: {}\n", ids.size(), back);
  return {};
}

struct RandomCommand {
  std::string shape, out, hf, type = "f32";
  std::uint64_t seed = 1;
};

Status run_random(const RandomCommand& command) {
  model::RandomOptions options{.shape = command.shape, .seed = command.seed, .progress = {}};
  SEDGE_TRY(options.type, model::type_choice_from_name(command.type));
  if (on_terminal()) options.progress = progress_line();
  if (command.out.empty() == command.hf.empty()) return fail(Code::kInvalidArgument, "give one of --output and --hf");
  const bool hf = command.out.empty();
  SEDGE_CHECK(hf ? model::write_random_hf(command.hf, options) : model::write_random(command.out, options));
  fmt::print("{}: random weights in the shape of {}\n", hf ? command.hf : command.out, command.shape);
  return {};
}

struct RandomLoraCommand {
  std::string base, out, type = "f32";
  std::size_t rank = model::RandomLoraOptions().rank;
  std::uint64_t seed = model::RandomLoraOptions().seed;
};

Status run_random_lora(const RandomLoraCommand& command) {
  SEDGE_TRY(const model::GgufFile file, open_model(command.base));
  SEDGE_TRY(const model::LlamaConfig base, model::read_llama_config(file));
  SEDGE_TRY(const model::DType type, model::dtype_from_name(command.type));
  SEDGE_CHECK(model::write_random_lora(command.out, base, {.rank = command.rank, .type = type, .seed = command.seed}));
  fmt::print("{}: a random adapter of rank {} for {}\n", command.out, command.rank, command.base);
  return {};
}

void add_info(Commands& commands, CLI::App& parent) {
  auto* command =
      commands.add(parent, "info", "Says what a GGUF file holds, whether it runs here, in what memory, how fast",
                   "sedge model info models/heron/heron.gguf");
  const auto options = std::make_shared<InfoOptions>();
  command->add_option("FILE", options->file, "a GGUF file")->required();
  command->add_option("--threads", options->threads, "0: as many as the machine runs at once")->capture_default_str();
  command->add_flag("--no-speed", options->no_speed, "do not load it and run it for a moment to see how fast it is");
  command->add_flag("--metadata", options->metadata, "print every metadata entry and tensor as well");
  command->add_flag("--json", options->json, "print one JSON object");
  commands.on(command, [options] { return run_info(*options); });
}

void add_import(Commands& commands, CLI::App& parent) {
  auto* command = commands.add(parent, "import", "Writes a model of another format as GGUF",
                               "sedge model import TinyLlama-1.1B/ -o tinyllama.gguf --type q8_0");
  const auto options = std::make_shared<ImportCommand>();
  command
      ->add_option("IN", options->in,
                   "a Hugging Face directory or its .safetensors file, a llama2.c checkpoint, or a GGUF")
      ->required();
  command->add_option("-o,--output", options->out, "the GGUF to write")->required();
  command->add_option("--type", options->type,
                      "of the matrices: f32, f16, bf16, q8_0, q4_0, q4_k_m, q6_k, ... ; without it as they are");
  command->add_option(
      "--tokenizer", options->tokenizer,
      "tokenizer.json, a SentencePiece .model or a llama2.c .bin; without it the one beside the weights");
  command->add_option("--name", options->name, "the model's name; without it the folder's or file's");
  command->add_flag("--json", options->json, "print one JSON object");
  commands.on(command, [options] { return run_import(*options); });
}

void add_random(Commands& commands, CLI::App& parent) {
  auto* command = commands.add(parent, "random", "Writes a model with random weights, for tests and benchmarks",
                               "sedge model random --shape SmolLM2-135M --type q4_0 -o random.gguf");
  const auto options = std::make_shared<RandomCommand>();
  command->add_option("--shape", options->shape, fmt::format("one of {}", fmt::join(model::random_shapes(), ", ")))
      ->required();
  command->add_option("--type", options->type, "of the matrices: f32, f16, bf16, q8_0, q4_0, q4_k_m, q6_k, ...")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "the same seed gives the same file")->capture_default_str();
  command->add_option("-o,--output", options->out, "the GGUF to write");
  command->add_option("--hf", options->hf, "a Hugging Face directory to write instead, in F32");
  commands.on(command, [options] { return run_random(*options); });
}

void add_random_lora(Commands& commands, CLI::App& parent) {
  auto* command = commands.add(parent, "random-lora", "Writes a LoRA adapter of random values for a model, for tests",
                               "sedge model random-lora models/heron/heron.gguf -o adapter.gguf");
  const auto options = std::make_shared<RandomLoraCommand>();
  command->add_option("BASE", options->base, "the model, a GGUF file")->required();
  command->add_option("--rank", options->rank, "of its matrices")->capture_default_str();
  command->add_option("--type", options->type, "of its matrices: f32, f16 or bf16")->capture_default_str();
  command->add_option("--seed", options->seed, "the same seed gives the same file")->capture_default_str();
  command->add_option("-o,--output", options->out, "the GGUF to write")->required();
  commands.on(command, [options] { return run_random_lora(*options); });
}

void add_tokenize(Commands& commands, CLI::App& parent) {
  auto* command = commands.add(parent, "tokenize", "Cuts a text into a model's token ids and puts it together again",
                               "echo -n \"Once upon a time\" | sedge model tokenize model.gguf --text -");
  const auto options = std::make_shared<TokenizeOptions>();
  command->add_option("FILE", options->file, "a GGUF file, a vocabulary alone will do")->required();
  command->add_option("--text", options->text, "a text file, or - for standard input")->required();
  command->add_flag("--no-special", options->no_special, "without the begin and end tokens that the model asks for");
  command->add_flag("--parse-special", options->parse_special,
                    "take control tokens spelled in the text for what they say");
  command->add_flag("--json", options->json, "print one JSON object: ids, text");
  commands.on(command, [options] { return run_tokenize(*options); });
}

}  // namespace

void add_model(Commands& commands) {
  auto* parent = commands.add(commands.root(), "model", "Looks into model files, imports and tokenizes",
                              "sedge model info models/heron/heron.gguf");
  parent->require_subcommand(1);
  add_info(commands, *parent);
  add_import(commands, *parent);
  add_random(commands, *parent);
  add_random_lora(commands, *parent);
  add_tokenize(commands, *parent);
}

}  // namespace sedge::apps
