#include "train/trainer.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "model/llama.h"
#include "train/bpe_trainer.h"
#include "train/checkpoint.h"

namespace sedge::train {
namespace {

namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A folder of the test's own, with a small corpus and held-out examples in it.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / fmt::format("sedge-train-test-{}", getpid())) {
    fs::remove_all(path_);
    fs::create_directories(path_);
    for (const char* name : {"train.jsonl", "valid.jsonl"}) {
      std::ofstream file(path_ / name);
      for (int i = 0; i < 60; ++i) {
        const int n = static_cast<int>(prng_.below(900));
        file << fmt::format("{{\"prompt\":\"scout {} climb to {}\",\"completion\":\"{{\\\"do\\\":{}}}\"}}\n", i % 7, n,
                            n);
      }
    }
  }
  ~Folder() { fs::remove_all(path_); }
  fs::path operator/(const char* name) const { return path_ / name; }

  Recipe recipe(const char* out) const {
    Recipe r;
    r.dim = 64, r.layers = 1, r.heads = 2, r.kv_heads = 1, r.ffn = 64, r.vocab = 280, r.context = 64, r.batch = 128;
    r.train = {(path_ / "train.jsonl").string()};
    r.valid = {(path_ / "valid.jsonl").string()};
    r.prompt_suffix = "\n";
    r.steps = 12, r.warmup = 3, r.checkpoint_every = 4, r.eval_every = 6, r.eval_items = 10;
    r.out = (path_ / out).string();
    return r;
  }

 private:
  fs::path path_;
  Prng prng_{1};
};

struct Listener {
  std::vector<std::string> lines;
  std::size_t stop_at = 0;
  std::size_t step = 0;
  Status run(const Recipe& recipe) {
    const auto backend = make_plain_backend();
    return train(recipe, *backend,
                 {.progress = [this](const Progress& at) { step = at.step; },
                  .say = [this](const std::string& line) { lines.push_back(line); },
                  .stop = [this] { return step == stop_at; },
                  .write_corpus = [](const Recipe&, const std::string&) { return Status{}; }});
  }
};

TEST(Trainer, a_run_that_was_stopped_gives_the_losses_and_weights_of_one_that_was_not) {
  const Folder folder;
  Listener whole, halted, resumed;
  ASSERT_TRUE(whole.run(folder.recipe("whole")));
  halted.stop_at = 7;
  EXPECT_EQ(halted.run(folder.recipe("parts")).error().code, Code::kCancelled);
  ASSERT_TRUE(resumed.run(folder.recipe("parts")));
  EXPECT_EQ(slurp(folder / "whole/log.jsonl"), slurp(folder / "parts/log.jsonl"));
  EXPECT_EQ(slurp(folder / "whole/checkpoint.safetensors"), slurp(folder / "parts/checkpoint.safetensors"));
}

TEST(Trainer, writes_a_gguf_and_a_hugging_face_folder_that_load) {
  const Folder folder;
  Recipe recipe = folder.recipe("out");
  recipe.name = "small";
  recipe.type = "q8_0";
  recipe.chat_template = "{{ bos_token }}{{ messages[-1]['content'] }}\n";
  ASSERT_TRUE(Listener().run(recipe));
  const auto file = model::GgufFile::open(folder / "out/small.gguf");
  ASSERT_TRUE(file) << file.error().message;
  const auto llama = model::load_llama(*file);
  ASSERT_TRUE(llama) << llama.error().message;
  EXPECT_TRUE(llama->config.tied);
  EXPECT_EQ(llama->config.kv_heads, 1U);
  EXPECT_EQ(llama->weights.layers[0].down.type, model::DType::kQ8_0);
  const auto vocab = model::vocab_from_gguf(*file);
  ASSERT_TRUE(vocab) << vocab.error().message;
  EXPECT_EQ(vocab->chat_template, recipe.chat_template);
  EXPECT_TRUE(vocab->add_bos);
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}) {
    EXPECT_TRUE(fs::exists(folder / "out/huggingface" / name)) << name;
  }
}

TEST(Trainer, refuses_to_go_on_under_another_recipe_and_names_the_field) {
  const Folder folder;
  Recipe recipe = folder.recipe("out");
  ASSERT_TRUE(Listener().run(recipe));
  recipe.lr = 1e-4;
  const Status status = Listener().run(recipe);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kFailedPrecondition);
  EXPECT_NE(status.error().message.find("train.lr"), std::string::npos) << status.error().message;
}

TEST(Trainer, begins_from_the_weights_of_a_checkpoint) {
  const Folder folder;
  ASSERT_TRUE(Listener().run(folder.recipe("first")));
  Recipe recipe = folder.recipe("second");
  recipe.init = (folder / "first/checkpoint.safetensors").string();
  recipe.steps = 1;
  ASSERT_TRUE(Listener().run(recipe));
  const auto first_loss = [&](const char* log) {
    const std::string text = slurp(folder / log);
    return std::stod(text.substr(text.find("\"loss\":") + 7));
  };
  EXPECT_LT(first_loss("second/log.jsonl"), first_loss("first/log.jsonl") - 0.3);
}

// The real program, killed without warning wherever it happens to be.
TEST(Trainer, goes_on_after_sigkill_as_if_nothing_had_happened) {
  const fs::path program = fs::path(SEDGE_BINARY_DIR) / "sedge-train";
  if (!fs::exists(program)) GTEST_SKIP() << "sedge-train is not built (libtorch is not installed)";
  const Folder folder;
  const auto start = [&](const char* out) {
    const std::string train = (folder / "train.jsonl").string(), to = (folder / out).string();
    const pid_t child = fork();
    if (child == 0) {
      execl(program.c_str(), "sedge-train", "--quiet", "--train", train.c_str(), "--out", to.c_str(), "--dim", "64",
            "--layers", "1", "--heads", "2", "--kv-heads", "1", "--ffn", "64", "--vocab", "280", "--context", "64",
            "--batch", "512", "--steps", "200", "--checkpoint-every", "5", static_cast<char*>(nullptr));
      _exit(127);
    }
    return child;
  };
  const auto finish = [](pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return status;
  };
  ASSERT_EQ(finish(start("whole")), 0);
  const pid_t victim = start("killed");
  while (!fs::exists(folder / "killed/checkpoint.safetensors") && waitpid(victim, nullptr, WNOHANG) == 0) usleep(1000);
  kill(victim, SIGKILL);
  finish(victim);
  ASSERT_TRUE(read_checkpoint(folder / "killed/checkpoint.safetensors"));
  ASSERT_EQ(finish(start("killed")), 0);
  EXPECT_EQ(slurp(folder / "whole/log.jsonl"), slurp(folder / "killed/log.jsonl"));
  EXPECT_EQ(slurp(folder / "whole/checkpoint.safetensors"), slurp(folder / "killed/checkpoint.safetensors"));
}

TEST(Checkpoint, a_damaged_or_truncated_one_is_refused_with_a_reason) {
  const Folder folder;
  Recipe recipe = folder.recipe("out");
  recipe.steps = 1;
  ASSERT_TRUE(Listener().run(recipe));
  const fs::path good = folder / "out/checkpoint.safetensors", bad = folder / "bad.safetensors";
  const std::string bytes = slurp(good);
  const auto refused = [&](std::string text) {
    std::ofstream(bad, std::ios::binary) << text;
    const auto read = read_checkpoint(bad);
    return !read && read.error().message.size() > bad.string().size() + 10;
  };
  std::string flipped = bytes;
  flipped[bytes.size() - 5] = static_cast<char>(flipped[bytes.size() - 5] ^ 1);
  EXPECT_TRUE(refused(flipped));
  for (const std::size_t cut : {std::size_t{0}, std::size_t{7}, std::size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    EXPECT_TRUE(refused(bytes.substr(0, cut))) << cut;
  }
  std::string huge = bytes;
  huge.replace(huge.find("\"dim\":\"64\""), 10, "\"dim\":\"96\"");
  EXPECT_TRUE(refused(huge));
  EXPECT_EQ(read_checkpoint(folder / "absent").error().code, Code::kNotFound);
}

TEST(Dataset, a_batcher_goes_on_from_its_position_across_epochs) {
  Dataset data;
  const auto vocab = train_bpe([](const auto& use) { use("abc abc abd"); }, {.vocab = 262});
  const auto tokenizer = model::Tokenizer::make(*vocab);
  for (int i = 0; i < 9; ++i)
    data.add({.prompt = "abc", .completion = std::to_string(i), .whole = true}, *tokenizer, 32);
  Batcher whole(data, 16, 5);
  Batch expected, found;
  for (int i = 0; i < 5; ++i) whole.fill(expected);
  Batcher again(data, 16, 5, whole.position());
  EXPECT_GT(whole.position().epoch, 0U);
  for (int i = 0; i < 9; ++i) {
    whole.fill(expected);
    again.fill(found);
    EXPECT_EQ(expected.tokens, found.tokens);
    EXPECT_EQ(expected.rows, found.rows);
  }
}

TEST(Dataset, only_the_completion_counts_and_long_documents_go_on_in_the_next_sequence) {
  const auto vocab = train_bpe([](const auto& use) { use("abc abc abd"); }, {.vocab = 258});
  const auto tokenizer = model::Tokenizer::make(*vocab);
  Dataset data;
  data.add({.prompt = "abc\n", .completion = "de", .whole = true}, *tokenizer, 32);
  Batch batch;
  clear_batch(batch, 64);
  ASSERT_TRUE(add_to_batch(batch, data, 0, 64));
  EXPECT_EQ(batch.targets, (std::vector<std::int32_t>{2 + 'd', 2 + 'e', 1}));
  EXPECT_EQ(batch.rows, (std::vector<std::uint32_t>{4, 5, 6}));
  data.add({.prompt = "", .completion = std::string(70, 'a'), .whole = false}, *tokenizer, 32);
  EXPECT_EQ(data.items().size(), 4U);  // 72 tokens, 71 to predict, 32 in a sequence
  data.add({.prompt = std::string(40, 'a'), .completion = "b", .whole = true}, *tokenizer, 32);
  EXPECT_EQ(data.left_out(), 1U);
}

TEST(Dataset, a_bad_line_is_named) {
  const Folder folder;
  std::ofstream(folder / "bad.jsonl") << "{\"text\":\"fine\"}\n{\"prompt\":3}\n";
  const Status status = read_examples(folder / "bad.jsonl", "", [](TextExample) {});
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("line 2"), std::string::npos) << status.error().message;
}

TEST(Recipe, toml_is_read_and_what_is_unknown_or_of_a_wrong_kind_is_named) {
  Recipe recipe;
  ASSERT_TRUE(parse_recipe("name='x'\n[train]\nlr=1e-3\nsteps=7\n[data]\ntrain=['a','b']\n", "r.toml", recipe));
  EXPECT_EQ(recipe.steps, 7U);
  EXPECT_EQ(recipe.lr, 1e-3);
  EXPECT_EQ(recipe.train, (std::vector<std::string>{"a", "b"}));
  for (const auto& [toml, word] : {std::pair("[train]\nlearning=1", "train.learning"),
                                   {"[train]\nsteps='no'", "steps"},
                                   {"[train\n", "line 1"},
                                   {"[train]\nsteps=-1", "steps"}}) {
    const Status status = parse_recipe(toml, "r.toml", recipe);
    ASSERT_FALSE(status) << toml;
    EXPECT_NE(status.error().message.find(word), std::string::npos) << status.error().message;
  }
}

TEST(Recipe, the_learning_rate_warms_up_and_ends_at_its_last_value) {
  Recipe recipe;
  recipe.steps = 100, recipe.warmup = 10, recipe.lr = 1.0, recipe.lr_final = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate(recipe, 0), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(recipe, 10), 1.0);
  EXPECT_NEAR(learning_rate(recipe, 55), 0.55, 1e-12);
  EXPECT_NEAR(learning_rate(recipe, 100), 0.1, 1e-12);
}

}  // namespace
}  // namespace sedge::train
