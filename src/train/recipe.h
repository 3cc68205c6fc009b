// What to train and how: one flat struct, one table that says how each field is spelled in a recipe file (TOML) and
// on the command line. A recipe kept beside its model is the model's birth certificate: with it the same numbers
// come out again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "train/net.h"

namespace sedge::train {

struct Recipe {
  std::string name = "model";
  // model
  std::size_t dim = 256, layers = 4, heads = 8, kv_heads = 4, ffn = 512, vocab = 1024, context = 512;
  double rope_base = 10000;
  std::string spaces = "joined";  // to the word that follows, as GPT-2 has them, or "alone"
  // data; paths are relative to the current directory
  std::vector<std::string> train, valid;
  std::string corpus;  // a built-in corpus to write first: "heron"
  std::size_t corpus_count = 400000, corpus_seed = 1;
  std::string prompt_suffix;  // put between a prompt and its completion
  std::string init;           // weights and vocabulary of this checkpoint
  // optimization
  std::size_t steps = 1000, batch = 4096;  // batch in tokens
  double lr = 2e-3, lr_final = 0;          // peak, and at the end as a fraction of the peak
  std::size_t warmup = 100;                // steps
  std::string optimizer = "adamw";         // or "muon": for the matrices of the layers
  double momentum = 0.95;                  // Muon's
  double decay = 0.1, beta1 = 0.9, beta2 = 0.95, clip = 1.0;
  std::size_t seed = 1;
  std::string precision = "auto";                                           // f32, bf16
  std::size_t threads = 2;                                                  // part of what makes a run repeat exactly
  std::size_t checkpoint_every = 250, eval_every = 1000, eval_items = 500;  // steps, steps, examples
  // output
  std::string out = "trained";  // folder: checkpoint, log.jsonl, Hugging Face files
  std::string gguf;             // file; empty: <out>/<name>.gguf
  std::string type = "f32";     // of the GGUF's matrices
  std::string chat_template;
};

struct RecipeField {
  std::string_view key;  // "train.lr"; the flag is --lr
  std::string_view help;
  std::variant<std::size_t Recipe::*, double Recipe::*, std::string Recipe::*, std::vector<std::string> Recipe::*> at;

  std::string flag() const;  // "--lr", "--checkpoint-every"
};

std::span<const RecipeField> recipe_fields();

// Errors: InvalidArgument naming the field: not a number, not in this table.
Status set_field(Recipe& recipe, const RecipeField& field, std::span<const std::string> values);
Status read_recipe(const std::string& path, Recipe& recipe);  // also NotFound
Status parse_recipe(std::string_view toml, std::string_view what, Recipe& recipe);

// Errors: InvalidArgument with the relation that does not hold.
Status check_recipe(const Recipe& recipe);

NetConfig net_config(const Recipe& recipe, std::size_t vocab);

// The fields that decide the numbers, one "key=value" a line: a checkpoint only goes on under the same ones.
std::string fingerprint(const Recipe& recipe);

// The learning rate at `step` (from 0): a straight warm-up, then half a cosine. Loshchilov & Hutter 2017.
double learning_rate(const Recipe& recipe, std::size_t step);

}  // namespace sedge::train
