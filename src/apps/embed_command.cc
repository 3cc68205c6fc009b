// sedge embed: vectors of texts, by a model in this very process.
#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "apps/command.h"
#include "engine/embedding.h"
#include "engine/thread_pool.h"

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
  bool json = false;
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

Status run_embed(const EmbedOptions& options) {
  std::vector<std::string> texts = options.texts;
  if (!options.lines.empty()) SEDGE_CHECK(read_lines(options.lines, texts));
  if (texts.empty()) return fail(Code::kInvalidArgument, "give a TEXT, or --lines FILE");
  SEDGE_TRY(const auto model, engine::Model::load(options.model));
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

}  // namespace

void add_embed(Commands& commands) {
  auto* command = commands.add(
      commands.root(), "embed", "Prints the vector of each text: what is alike in meaning points the same way",
      "sedge embed bge-small.gguf \"where is the charger\" \"the dock is by the door\" --json");
  const auto options = std::make_shared<EmbedOptions>();
  command->add_option("MODEL", options->model, "a GGUF file: an encoder (BERT), or a model that generates")->required();
  command->add_option("TEXT", options->texts, "the texts; each gives a line of numbers");
  command->add_option("--lines", options->lines, "a file with a text a line, besides");
  command->add_option("--pooling", options->pooling, "mean, cls or last; without it what the model was trained with")
      ->check(CLI::IsMember({"mean", "cls", "last"}));
  command->add_option("--dimensions", options->dimensions, "the first so many alone; 0: all")->capture_default_str();
  command->add_flag("--raw", options->raw, "do not scale vectors to length 1");
  command->add_option("--threads", options->threads, "0: as many as the machine runs at once")->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object");
  commands.on(command, [options] { return run_embed(*options); });
}

}  // namespace sedge::apps
