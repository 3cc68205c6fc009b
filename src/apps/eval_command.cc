// sedge eval: how well a model predicts a text, and how fast.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <vector>

#include <sys/resource.h>

#include "apps/adapter_option.h"
#include "apps/command.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "engine/perplexity.h"
#include "engine/thread_pool.h"
#include "platform/model_figures.h"
#include "platform/system.h"

namespace sedge::apps {
namespace {

constexpr std::size_t kWindowDefault = 512;  // at most; a model's context may be less

struct EvalOptions {
  std::string model, text, ids, logits;
  std::size_t window = 0;  // tokens
  std::size_t limit = 0;   // windows
  std::string kv = "f32";
  bool long_context = false;
  std::vector<std::string> adapters;  // parse_adapter_file
  unsigned threads = 0;
  bool json = false;
};

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Code::kNotFound, "{}: cannot be opened", path);
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad()) return fail(Code::kUnknown, "{}: cannot be read", path);
  return bytes;
}

Result<std::vector<std::int32_t>> ids_from_json(const std::string& path, std::string_view bytes) {
  SEDGE_TRY(const json::Value value, json::parse(bytes, path, {.bytes_max = std::size_t{1} << 30}));
  const json::Array* array = value.if_array();
  if (array == nullptr) return fail(Code::kDataLoss, "{}: not an array of token ids", path);
  std::vector<std::int32_t> ids;
  ids.reserve(array->size());
  for (const json::Value& element : *array) {
    const std::int64_t* id = element.if_int64();
    if (id == nullptr || *id < 0 || *id > INT32_MAX)
      return fail(Code::kDataLoss, "{}: element {} is not a token id", path, ids.size());
    ids.push_back(static_cast<std::int32_t>(*id));
  }
  return ids;
}

Result<std::vector<std::int32_t>> ids_from_u16(const std::string& path, std::string_view bytes) {
  if (bytes.size() % 2 != 0)
    return fail(Code::kDataLoss, "{}: {} bytes are not a row of 16-bit ids", path, bytes.size());
  std::vector<std::int32_t> ids(bytes.size() / 2);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<unsigned char>(bytes[2 * i]) | static_cast<unsigned char>(bytes[2 * i + 1]) << 8;
  }
  return ids;
}

Result<std::vector<std::int32_t>> load_ids(const EvalOptions& options, const engine::Model& model) {
  SEDGE_TRY(const std::string bytes, read_file(options.ids.empty() ? options.text : options.ids));
  if (options.ids.empty()) return model.tokenizer().encode(bytes);
  return options.ids.ends_with(".json") ? ids_from_json(options.ids, bytes) : ids_from_u16(options.ids, bytes);
}

std::uint64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

// What is measured while windows pass.
struct Progress {
  engine::Perplexity perplexity;
  std::size_t tokens = 0;  // passed through the model, the first of each window too
  Duration busy{};

  double tok_s() const { return busy.count() > 0 ? static_cast<double>(tokens) / to_seconds(busy) : 0.0; }
  std::string line() const {
    return fmt::format("perplexity {:.4f} ± {:.4f}, {:.0f} tokens/s", perplexity.value(), perplexity.standard_error(),
                       tok_s());
  }
};

json::Object report(const Progress& done, std::size_t window, unsigned threads, double load_ms) {
  return {{"perplexity", done.perplexity.value()},
          {"standard_error", done.perplexity.standard_error()},
          {"tokens", done.perplexity.tokens()},
          {"windows", done.perplexity.windows()},
          {"window", window},
          {"tok_s", done.tok_s()},
          {"peak_rss_bytes", peak_rss_bytes()},
          {"load_ms", load_ms},
          {"threads", threads}};
}

// The logits behind each token of the first window, as little-endian F32 [tokens, vocabulary]: for comparison with
// other runtimes. In pieces, for those of a large vocabulary would take gigabytes.
Status write_logits(const std::string& path, engine::Engine& engine, const engine::Model& model,
                    std::span<const std::int32_t> window, std::span<const engine::AdapterUse> adapters) {
  constexpr std::size_t kPieceTokens = 32;
  SEDGE_TRY(engine::Sequence sequence, engine::Sequence::make(model, {.capacity = window.size()}));
  std::ofstream file(path, std::ios::binary);
  std::vector<float> hidden, logits;
  for (std::size_t at = 0; at < window.size(); at += kPieceTokens) {
    const auto piece = window.subspan(at, std::min(kPieceTokens, window.size() - at));
    hidden.resize(piece.size() * model.config().dim);
    logits.resize(piece.size() * model.config().vocab);
    SEDGE_CHECK(engine.embed(model, piece, hidden));
    const engine::Slice slice{&sequence, piece.size(), adapters};
    SEDGE_CHECK(engine.forward(model, {&slice, 1}, 0, model.config().layers, hidden));
    SEDGE_CHECK(engine.head(model, hidden, logits));
    file.write(reinterpret_cast<const char*>(logits.data()),
               static_cast<std::streamsize>(logits.size() * sizeof(float)));
  }
  file.close();
  if (file) return {};
  return fail(Code::kUnknown, "{}: cannot be written", path);
}

Status run_eval(const EvalOptions& options) {
  if (options.text.empty() == options.ids.empty()) return fail(Code::kInvalidArgument, "give one of --text and --ids");
  const Instant begun = platform::now();
  engine::ModelOptions how_kept;
  SEDGE_TRY(how_kept.cache, engine::cache_format_of(options.kv));
  how_kept.long_context = options.long_context;
  SEDGE_TRY(const auto model, platform::load_here(options.model, how_kept));
  SEDGE_TRY(const auto adapters, load_adapters(model, options.adapters));
  const double load_ms = to_ms(platform::now() - begun);
  SEDGE_TRY(const auto ids, load_ids(options, *model));
  const std::size_t context = model->config().context;
  const std::size_t window = options.window == 0 ? std::min(kWindowDefault, context) : options.window;
  if (window < 2 || window > context)
    return fail(Code::kInvalidArgument, "--window is {}, 2 to {} fit this model", window, context);
  const auto windows = engine::cut_windows(ids, window, options.limit);
  if (windows.empty() || windows.front().size() < 2)
    return fail(Code::kInvalidArgument, "{} tokens are too few to predict any", ids.size());

  engine::Engine engine({.threads = options.threads == 0 ? engine::hardware_threads() : options.threads});
  if (!options.logits.empty()) SEDGE_CHECK(write_logits(options.logits, engine, *model, windows.front(), adapters));
  SEDGE_TRY(engine::Sequence sequence, engine::Sequence::make(*model, {.capacity = window}));
  Progress progress;
  for (const auto each : windows) {
    const Instant start = platform::now();
    SEDGE_TRY(const engine::WindowLoss loss, engine::window_loss(engine, *model, sequence, each, adapters));
    progress.busy += platform::now() - start;
    progress.perplexity.add(loss);
    progress.tokens += each.size();
    if (on_terminal())
      fmt::print(stderr, "\rwindow {} of {}: {}  ", progress.perplexity.windows(), windows.size(), progress.line());
  }
  if (on_terminal()) fmt::print(stderr, "\r\x1b[K");
  if (options.json) {
    fmt::print("{}\n", json::write(report(progress, window, engine.threads(), load_ms)));
  } else {
    fmt::print("{}\n{} tokens in {} windows of {}, peak memory {:.1f} MiB, {} threads\n", progress.line(),
               progress.perplexity.tokens(), windows.size(), window, static_cast<double>(peak_rss_bytes()) / (1 << 20),
               engine.threads());
  }
  return {};
}

}  // namespace

void add_eval(Commands& commands) {
  auto* command = commands.add(commands.root(), "eval", "Measures a model's perplexity on a text, and its speed",
                               "sedge eval model.gguf --text book.txt --window 256");
  const auto options = std::make_shared<EvalOptions>();
  command->add_option("MODEL", options->model, "a GGUF file")->required();
  command->add_option("--text", options->text, "a text file");
  command->add_option("--ids", options->ids,
                      "token ids instead: 16-bit little-endian, or a JSON array in a file named .json");
  command->add_option("--window", options->window,
                      "tokens a window; without it 512, or the model's context when that is less");
  command->add_option("--limit", options->limit, "stop after this many windows; 0: all")->capture_default_str();
  command->add_option("--logits", options->logits,
                      "write the first window's logits there as well: little-endian F32, a row a token");
  command->add_option("--kv", options->kv, fmt::format("keys and values kept as {}", engine::kCacheFormats))
      ->capture_default_str();
  command->add_flag("--long-context", options->long_context, std::string(kLongContextHelp));
  command->add_option("--lora", options->adapters, "a LoRA adapter, FILE or FILE=SCALE; several are stacked")
      ->allow_extra_args(false);
  command->add_option("--threads", options->threads, "0: as many as the machine runs at once")->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object");
  commands.on(command, [options] { return run_eval(*options); });
}

}  // namespace sedge::apps
