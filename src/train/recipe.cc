#include "train/recipe.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numbers>

#include <toml++/toml.h>

namespace sedge::train {
namespace {

const RecipeField kFields[] = {
    {"name", "name of the model", &Recipe::name},
    {"model.dim", "width of the hidden state", &Recipe::dim},
    {"model.layers", "layers", &Recipe::layers},
    {"model.heads", "query heads", &Recipe::heads},
    {"model.kv_heads", "key and value heads", &Recipe::kv_heads},
    {"model.ffn", "width of the feed-forward", &Recipe::ffn},
    {"model.vocab", "tokens in the vocabulary", &Recipe::vocab},
    {"model.spaces", "in the vocabulary: joined to the word that follows, or alone", &Recipe::spaces},
    {"model.context", "longest sequence, tokens", &Recipe::context},
    {"model.rope_base", "base of the rotary frequencies", &Recipe::rope_base},
    {"data.train", "training files: text or JSONL", &Recipe::train},
    {"data.valid", "held-out files", &Recipe::valid},
    {"data.corpus", "built-in corpus to write and train on: heron", &Recipe::corpus},
    {"data.corpus_count", "examples in the built-in corpus", &Recipe::corpus_count},
    {"data.corpus_seed", "seed of the built-in corpus", &Recipe::corpus_seed},
    {"data.prompt_suffix", "put between prompt and completion", &Recipe::prompt_suffix},
    {"data.init", "checkpoint to take weights and vocabulary from", &Recipe::init},
    {"train.steps", "optimizer steps", &Recipe::steps},
    {"train.batch", "tokens a step", &Recipe::batch},
    {"train.lr", "highest learning rate", &Recipe::lr},
    {"train.lr_final", "last learning rate, as a fraction of the highest", &Recipe::lr_final},
    {"train.warmup", "steps until the highest learning rate", &Recipe::warmup},
    {"train.optimizer", "adamw, or muon for the matrices of the layers", &Recipe::optimizer},
    {"train.momentum", "momentum of muon", &Recipe::momentum},
    {"train.decay", "weight decay", &Recipe::decay},
    {"train.beta1", "decay of the first moment", &Recipe::beta1},
    {"train.beta2", "decay of the second moment", &Recipe::beta2},
    {"train.clip", "largest norm of the gradient", &Recipe::clip},
    {"train.seed", "seed of weights and order", &Recipe::seed},
    {"train.precision", "auto, f32 or bf16", &Recipe::precision},
    {"train.threads", "threads", &Recipe::threads},
    {"train.checkpoint_every", "steps between checkpoints", &Recipe::checkpoint_every},
    {"train.eval_every", "steps between evaluations", &Recipe::eval_every},
    {"train.eval_items", "examples in an evaluation", &Recipe::eval_items},
    {"output.out", "folder for checkpoint, log and Hugging Face files", &Recipe::out},
    {"output.gguf", "the GGUF to write", &Recipe::gguf},
    {"output.type", "type of the GGUF's matrices: f32, f16, bf16, q8_0, q4_0", &Recipe::type},
    {"output.chat_template", "Jinja template stored in the model", &Recipe::chat_template},
};

// Fields that may differ between the run that wrote a checkpoint and the one that goes on from it.
constexpr std::string_view kFree[] = {
    "name",       "data.valid",  "data.train",  "train.checkpoint_every", "train.eval_every", "train.eval_items",
    "output.out", "output.gguf", "output.type", "output.chat_template"};

template <class Number>
Status set_number(Number& at, const RecipeField& field, std::span<const std::string> values) {
  const std::string text = values.size() == 1 ? values[0] : std::string();
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), at);
  if (error == std::errc() && end == text.data() + text.size() && !text.empty()) return {};
  return fail(Code::kInvalidArgument, "{}: '{}' is not a number", field.key, text);
}

std::string field_text(const Recipe& recipe, const RecipeField& field) {
  return std::visit(
      [&](auto at) {
        if constexpr (std::is_same_v<decltype(at), std::vector<std::string> Recipe::*>) {
          return fmt::format("{}", fmt::join(recipe.*at, " "));
        } else {
          return fmt::format("{}", recipe.*at);
        }
      },
      field.at);
}

Status read_table(const toml::table& table, const std::string& prefix, std::string_view what, Recipe& recipe) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const toml::table* inner = node.as_table(); inner != nullptr && prefix.empty()) {
      SEDGE_CHECK(read_table(*inner, name + ".", what, recipe));
      continue;
    }
    const auto field = std::ranges::find(kFields, name, &RecipeField::key);
    if (field == std::end(kFields)) return fail(Code::kInvalidArgument, "{}: '{}' is no field of a recipe", what, name);
    std::vector<std::string> values;
    const auto take = [&values](const toml::node& value) {
      if (const auto text = value.value<std::string>(); text && value.is_string()) {
        values.push_back(*text);
      } else if (value.is_integer()) {
        values.push_back(fmt::format("{}", value.value_or(std::int64_t{0})));
      } else if (value.is_floating_point()) {
        values.push_back(fmt::format("{}", value.value_or(0.0)));
      }
    };
    if (const toml::array* array = node.as_array()) {
      for (const toml::node& value : *array) take(value);
    } else {
      take(node);
    }
    Status status = set_field(recipe, *field, values);
    if (!status) return in_context(what, std::move(status).error());
  }
  return {};
}

}  // namespace

std::string RecipeField::flag() const {
  std::string flag = "--" + std::string(key.substr(key.find('.') == key.npos ? 0 : key.find('.') + 1));
  std::ranges::replace(flag, '_', '-');
  return flag;
}

std::span<const RecipeField> recipe_fields() { return kFields; }

Status set_field(Recipe& recipe, const RecipeField& field, std::span<const std::string> values) {
  if (const auto* list = std::get_if<std::vector<std::string> Recipe::*>(&field.at)) {
    recipe.*(*list) = {values.begin(), values.end()};
    return {};
  }
  if (const auto* text = std::get_if<std::string Recipe::*>(&field.at)) {
    if (values.size() != 1) return fail(Code::kInvalidArgument, "{}: one text is needed", field.key);
    recipe.*(*text) = values[0];
    return {};
  }
  if (const auto* real = std::get_if<double Recipe::*>(&field.at)) return set_number(recipe.*(*real), field, values);
  return set_number(recipe.*std::get<std::size_t Recipe::*>(field.at), field, values);
}

Status parse_recipe(std::string_view toml, std::string_view what, Recipe& recipe) {
  try {
    return read_table(toml::parse(toml, what), "", what, recipe);
  } catch (const toml::parse_error& error) {
    return fail(Code::kInvalidArgument, "{}: line {}: {}", what, error.source().begin.line, error.description());
  }
}

Status read_recipe(const std::string& path, Recipe& recipe) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Code::kNotFound, "{}: no such recipe", path);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  recipe.name = std::filesystem::path(path).stem().string();
  return parse_recipe(text, path, recipe);
}

Status check_recipe(const Recipe& r) {
  const struct {
    bool holds;
    const char* relation;
  } kRelations[] = {
      {r.dim > 0 && r.layers > 0 && r.heads > 0 && r.kv_heads > 0 && r.ffn > 0, "model sizes are above 0"},
      {r.dim <= 8192 && r.layers <= 128 && r.ffn <= 65536 && r.vocab <= 262144,
       "dim <= 8192, layers <= 128, "
       "ffn <= 65536, vocab <= 262144"},
      {r.heads > 0 && r.dim % r.heads == 0 && r.dim / r.heads % 32 == 0, "dim / heads is a multiple of 32"},
      {r.kv_heads > 0 && r.heads % r.kv_heads == 0, "kv_heads divides heads"},
      {r.context >= 2 && r.context <= 65536 && r.batch >= r.context && r.batch <= 1 << 20,
       "2 <= context <= 65536 and context <= batch <= 1048576"},
      {r.steps > 0 && r.threads > 0 && r.threads <= 1024, "steps and threads are above 0"},
      {r.lr > 0 && r.lr_final >= 0 && r.clip > 0 && r.decay >= 0, "lr and clip are above 0"},
      {r.beta1 >= 0 && r.beta1 < 1 && r.beta2 >= 0 && r.beta2 < 1, "beta1 and beta2 are in [0, 1)"},
      {r.optimizer == "adamw" || r.optimizer == "muon", "the optimizer is adamw or muon"},
      {r.momentum >= 0 && r.momentum < 1, "momentum is in [0, 1)"},
      {r.spaces == "joined" || r.spaces == "alone", "spaces are joined or alone"},
      {r.precision == "auto" || r.precision == "f32" || r.precision == "bf16", "precision is auto, f32 or bf16"},
      {!r.train.empty() || !r.corpus.empty(), "there is something to train on: data.train or data.corpus"},
      {r.corpus.empty() || r.corpus == "heron", "the built-in corpus is heron"},
  };
  for (const auto& [holds, relation] : kRelations) {
    if (!holds) return fail(Code::kInvalidArgument, "this recipe cannot be trained: it needs that {}", relation);
  }
  return {};
}

NetConfig net_config(const Recipe& r, std::size_t vocab) {
  return {.dim = r.dim,
          .layers = r.layers,
          .heads = r.heads,
          .kv_heads = r.kv_heads,
          .ffn = r.ffn,
          .vocab = vocab,
          .context = r.context,
          .rope_base = static_cast<float>(r.rope_base)};
}

std::string fingerprint(const Recipe& recipe) {
  std::string text;
  for (const RecipeField& field : kFields) {
    if (std::ranges::find(kFree, field.key) != std::end(kFree)) continue;
    text += fmt::format("{}={}\n", field.key, field_text(recipe, field));
  }
  return text;
}

double learning_rate(const Recipe& r, std::size_t step) {
  const auto at = static_cast<double>(step);
  const auto warmup = static_cast<double>(r.warmup);
  if (at < warmup) return r.lr * (at + 1) / warmup;
  const double part = std::min(1.0, (at - warmup) / std::max(1.0, static_cast<double>(r.steps) - warmup));
  return r.lr * (r.lr_final + (1 - r.lr_final) * 0.5 * (1 + std::cos(std::numbers::pi * part)));
}

}  // namespace sedge::train
