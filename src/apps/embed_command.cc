// sedge embed: vectors of texts, by the node that runs here and its fleet; without one in this very process.
#include <algorithm>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "api/embeddings.h"
#include "apps/command.h"
#include "apps/control_client.h"
#include "apps/run_fleet.h"
#include "engine/embedding.h"
#include "engine/thread_pool.h"
#include "platform/model_figures.h"

namespace sedge::apps {
namespace {

constexpr std::size_t kTextsTogether = 256;  // vectors that are held before they are printed

struct EmbedOptions {
  std::string model, lines;
  std::vector<std::string> texts;
  std::string pooling;
  std::size_t dimensions = 0;
  bool raw = false;
  unsigned threads = 0;
  bool json = false, local = false;
  std::string home;
  double deadline_ms = 0;
};

struct PoolingName {
  std::string_view name;
  model::Pooling pooling;
};
constexpr PoolingName kPoolings[] = {
    {"mean", model::Pooling::kMean}, {"cls", model::Pooling::kFirst}, {"last", model::Pooling::kLast}};

std::string_view name_of(model::Pooling pooling) {
  return std::ranges::find(kPoolings, pooling, &PoolingName::pooling)->name;
}

Status read_lines(const std::string& path, std::vector<std::string>& texts) {
  std::ifstream file(path);
  if (!file) return fail(Code::kNotFound, "{}: cannot be opened", path);
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) texts.push_back(line);
  }
  if (file.bad()) return fail(Code::kUnknown, "{}: cannot be read", path);
  return {};
}

void print_vector(const std::vector<float>& vector) {
  for (std::size_t d = 0; d < vector.size(); ++d) fmt::print("{}{}", d == 0 ? "" : " ", vector[d]);
  fmt::print("\n");
}

// How many of `texts` go in the next task.
std::size_t together(std::span<const std::string> texts) {
  std::size_t count = 0, bytes = 0;
  for (; count < std::min(texts.size(), api::kEmbeddingTextsMax); ++count) {
    bytes += texts[count].size();
    if (count > 0 && bytes > api::kEmbeddingBytesMax) break;
  }
  return count;
}

// One task after the other; the vectors of each come as they are made.
Status embed_by_fleet(const EmbedOptions& options, std::span<const std::string> texts) {
  json::Array vectors;
  json::Object result;
  std::int64_t tokens = 0;
  double total_ms = 0;
  const auto hear = [&](const json::Object& line) {
    if (const auto* done = line.if_contains("result"); done != nullptr && done->is_object()) {
      result = done->get_object();
    }
    const auto* vector = line.if_contains("vector");
    if (vector == nullptr || !vector->is_array()) return true;
    if (options.json) {
      vectors.push_back(*vector);
    } else {
      std::vector<float> numbers;
      for (const json::Value& number : vector->get_array()) numbers.push_back(number.to_number<float>());
      print_vector(numbers);
    }
    return true;
  };
  while (!texts.empty()) {
    const auto next = texts.first(together(texts));
    texts = texts.subspan(next.size());
    SEDGE_CHECK(ask(options.home,
                    {{"op", "embed"},
                     {"model", offered_name(options.model)},
                     {"texts", json::Array(next.begin(), next.end())},
                     {"deadline_ms", options.deadline_ms}},
                    hear));
    SEDGE_CHECK(judge(result));
    tokens += result.at("prompt_tokens").to_number<std::int64_t>();
    total_ms += result.at("total_ms").to_number<double>();
  }
  if (!options.json) return {};
  const json::Object report = {{"embeddings", std::move(vectors)},
                               {"prompt_tokens", tokens},
                               {"served_by", result.at("served_by")},
                               {"total_ms", total_ms}};
  fmt::print("{}\n", json::write(report));
  return {};
}

Status embed_here(const EmbedOptions& options, std::span<const std::string> texts) {
  platform::PackedStore kept({.folder = platform::packed_folder(options.home)});  // by a node, if there was one
  SEDGE_TRY(const auto model, platform::load_here(options.model, {}, 0, &kept));
  engine::EmbeddingOptions how{.normalize = !options.raw, .dimensions = options.dimensions};
  const auto* named = std::ranges::find(kPoolings, options.pooling, &PoolingName::name);
  how.pooling = named != std::end(kPoolings) ? named->pooling : engine::pooling_of(model->config());
  engine::Engine engine({.threads = options.threads == 0 ? engine::hardware_threads() : options.threads});
  std::vector<std::vector<std::int32_t>> group;
  json::Array vectors, tokens;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    auto ids = engine::encode_for_embedding(*model, texts[i]);
    if (!ids) return in_context(fmt::format("text {}", i + 1), std::move(ids).error());
    tokens.emplace_back(ids->size());
    group.push_back(*std::move(ids));
    if (group.size() < kTextsTogether && i + 1 < texts.size()) continue;
    SEDGE_TRY(const auto made, engine::embed_texts(engine, *model, group, how));
    group.clear();
    for (const std::vector<float>& vector : made) {
      if (options.json) {
        vectors.emplace_back(json::Array(vector.begin(), vector.end()));
      } else {
        print_vector(vector);
      }
    }
  }
  if (!options.json) return {};
  const json::Object report = {{"embeddings", std::move(vectors)},
                               {"tokens", std::move(tokens)},
                               {"pooling", name_of(how.pooling)},
                               {"threads", engine.threads()},
                               {"numeric_class", model->numeric_class()}};
  fmt::print("{}\n", json::write(report));
  return {};
}

Status run_embed(const EmbedOptions& options) {
  std::vector<std::string> texts = options.texts;
  if (!options.lines.empty()) SEDGE_CHECK(read_lines(options.lines, texts));
  if (texts.empty()) return fail(Code::kInvalidArgument, "give a TEXT, or --lines FILE");
  if (options.local || !node_runs(options.home)) {
    if (options.deadline_ms == 0) return embed_here(options, texts);
    return fail(Code::kFailedPrecondition, "--deadline needs a running node on {}: start `sedge up --model {}`",
                options.home, options.model);
  }
  if (options.pooling.empty() && options.dimensions == 0 && !options.raw) return embed_by_fleet(options, texts);
  return fail(Code::kFailedPrecondition,
              "--pooling, --dimensions and --raw are of a local run, and a node is running on {}: add --local",
              options.home);
}

}  // namespace

void add_embed(Commands& commands) {
  auto* command = commands.add(
      commands.root(), "embed", "Prints the vector of each text: what is alike in meaning points the same way",
      "sedge embed bge-small.gguf \"where is the charger\" \"the dock is by the door\" --json");
  const auto options = std::make_shared<EmbedOptions>();
  command->add_option("MODEL", options->model, "a GGUF file: an encoder (BERT), or a model that generates")->required();
  command->add_option("TEXT", options->texts, "the texts; each gives a line of numbers");
  command->add_option("--lines", options->lines, "a file with a text a line, besides");
  command
      ->add_option("--pooling", options->pooling,
                   "of a local run: mean, cls or last; without it what the model was trained with")
      ->check(CLI::IsMember({"mean", "cls", "last"}));
  command->add_option("--dimensions", options->dimensions, "of a local run: the first so many alone; 0: all")
      ->capture_default_str();
  command->add_flag("--raw", options->raw, "of a local run: do not scale vectors to length 1");
  command->add_option("--threads", options->threads, "0: as many as the machine runs at once")->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object");
  command->add_flag("--local", options->local, "run here, even when a node is running");
  options->home = default_home();
  command->add_option("--home", options->home, "folder of the running node")->capture_default_str();
  command
      ->add_option_function<std::string>(
          "--deadline", [options](const std::string& text) { options->deadline_ms = parse_ms(text); },
          "time for each 256 texts, such as 300ms or 2s; needs a running node")
      ->check(check_ms);
  commands.on(command, [options] { return run_embed(*options); });
}

}  // namespace sedge::apps
