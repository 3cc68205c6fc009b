// sedge-train: the trainer's command line. `sedge train` starts it, so that libtorch is only in this process.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "train/backend.h"
#include "train/heron/corpus.h"
#include "train/recipe.h"
#include "train/trainer.h"

namespace {

using namespace sedge;
using namespace sedge::train;

volatile std::sig_atomic_t stop_asked = 0;

// One line that is drawn over on a terminal; elsewhere a line every hundredth of the way.
class Display {
 public:
  explicit Display(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}

  void say(const std::string& line) {
    if (quiet_) return;
    std::fprintf(stderr, "%s%s\n", drawn_ ? "\r\033[K" : "", line.c_str());
    drawn_ = false;
  }

  void progress(const Progress& at) {
    const double now = seconds();
    if (first_step_ == 0) start(at, now);
    loss_ = loss_ == 0 ? at.loss : 0.95 * loss_ + 0.05 * at.loss;
    const std::size_t part = std::max<std::size_t>(1, at.steps / 100);
    const bool due = terminal_ ? now - last_drawn_ > 0.5 : at.step % part == 0;
    if (quiet_ || !(due || at.step == at.steps)) return;
    last_drawn_ = now;
    const double taken = std::max(1e-9, now - begin_);
    const auto done = static_cast<double>(at.step - first_step_);
    const auto left = static_cast<long>(done == 0 ? 0 : taken / done * static_cast<double>(at.steps - at.step));
    const std::string line =
        fmt::format("step {}/{}  loss {:.4f}  lr {:.2e}  {:.0f} tokens/s  {}:{:02} left", at.step, at.steps, loss_,
                    at.lr, static_cast<double>(at.tokens - first_tokens_) / taken, left / 60, left % 60);
    std::fprintf(stderr, terminal_ ? "\r\033[K%s" : "%s\n", line.c_str());
    drawn_ = terminal_;
  }

  void finish() {
    if (drawn_) std::fputc('\n', stderr);
  }

 private:
  static double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  void start(const Progress& at, double now) {
    begin_ = now;
    first_step_ = at.step;
    first_tokens_ = at.tokens;
  }

  bool quiet_, terminal_, drawn_ = false;
  double begin_ = 0, last_drawn_ = 0, loss_ = 0;
  std::size_t first_step_ = 0, first_tokens_ = 0;
};

// Every field of a recipe is a flag too; flags override the file.
struct Flags {
  std::vector<std::vector<std::string>> values = std::vector<std::vector<std::string>>(recipe_fields().size());

  void add_to(CLI::App& app) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const RecipeField& field = recipe_fields()[i];
      app.add_option(field.flag(), values[i], std::string(field.help))
          ->allow_extra_args(false)  // one value a flag: what follows may be the recipe; lists repeat the flag
          ->group(std::string(group_of(field)));
    }
  }
  Status apply(Recipe& recipe) const {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!values[i].empty()) SEDGE_CHECK(set_field(recipe, recipe_fields()[i], values[i]));
    }
    return {};
  }
  static std::string_view group_of(const RecipeField& field) {
    const std::size_t dot = field.key.find('.');
    return dot == std::string_view::npos ? "Options" : field.key.substr(0, dot);
  }
};

Status run_training(const std::string& file, const Flags& flags, bool fresh, bool quiet) {
  Recipe recipe;
  if (!file.empty()) SEDGE_CHECK(read_recipe(file, recipe));
  SEDGE_CHECK(flags.apply(recipe));
  SEDGE_CHECK(check_recipe(recipe));
  if (fresh) {
    std::error_code ignored;
    std::filesystem::remove(std::filesystem::path(recipe.out) / "checkpoint.safetensors", ignored);
  }
  std::signal(SIGINT, [](int) { stop_asked = 1; });
  std::signal(SIGTERM, [](int) { stop_asked = 1; });
  Display display(quiet);
  const std::unique_ptr<Backend> backend = make_torch_backend(recipe.threads);
  const Status status = sedge::train::train(recipe, *backend,
                                            {.progress = [&](const Progress& at) { display.progress(at); },
                                             .say = [&](const std::string& line) { display.say(line); },
                                             .stop = [] { return stop_asked != 0; },
                                             .write_corpus =
                                                 [](const Recipe& r, const std::string& folder) {
                                                   return heron::write_corpus(folder, r.corpus_seed, r.corpus_count);
                                                 }});
  display.finish();
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains a Llama-architecture language model.", "sedge train");
  app.footer(
      "Examples:\n  sedge train models/heron/heron.toml\n"
      "  sedge train --train stories.txt --steps 2000 --vocab 2048 --out stories --type q8_0\n"
      "  sedge train corpus --out corpus --seed 7 --count 100000");
  std::string file;
  bool fresh = false, quiet = false;
  Flags flags;
  app.add_option("recipe", file, "a recipe (TOML); flags override what it says");
  app.add_flag("--fresh", fresh, "start over, whatever checkpoint is there");
  app.add_flag("--quiet", quiet, "say nothing unless it fails");
  flags.add_to(app);

  CLI::App* corpus = app.add_subcommand("corpus", "Writes heron's corpus as JSONL.");
  std::string folder = "corpus";
  std::size_t seed = 1, count = 100000;
  corpus->add_option("--out", folder, "folder")->capture_default_str();
  corpus->add_option("--seed", seed, "seed")->capture_default_str();
  corpus->add_option("--count", count, "training examples")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  const Status status =
      corpus->parsed() ? heron::write_corpus(folder, seed, count) : run_training(file, flags, fresh, quiet);
  if (status) return 0;
  std::fprintf(stderr, "sedge train: %s\n", status.error().message.c_str());
  return status.error().code == Code::kInvalidArgument ? 2 : 1;
}
