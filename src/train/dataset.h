// Examples as tokens, and the order in which training sees them.
//
// Text files are one document a piece, cut at lines that hold only <|endoftext|>; JSONL lines are {"text": ...} or
// {"prompt": ..., "completion": ...}, where only the completion and the end token count for the loss. Every sequence
// is <|begin|> tokens <|end|>; a document longer than the context goes on in the next sequence without <|begin|>,
// and a prompt with its completion that does not fit is left out and counted.
//
// A batch is filled with whole examples of a seeded shuffle until the next one does not fit: with 100 examples in
// it less than one in a hundred rows is filler, and no sorting by length biases the order.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/tokenizer.h"
#include "train/net.h"

namespace sedge::train {

struct TextExample {
  std::string prompt;      // empty for plain text
  std::string completion;  // what counts
  bool whole = false;      // must not be cut: it came as prompt and completion
};

// Errors: NotFound, DataLoss (a line that is not such JSON: named with its number).
Status read_examples(const std::filesystem::path& path, std::string_view prompt_suffix,
                     const std::function<void(TextExample)>& use);

class Dataset {
 public:
  struct Item {
    std::uint32_t begin = 0, length = 0;  // in tokens(): inputs and, one further on, targets
    std::uint32_t first_target = 1;       // targets from this token of the item on count
  };

  void add(const TextExample& example, const model::Tokenizer& tokenizer, std::size_t context);

  const std::vector<Item>& items() const { return items_; }
  const std::vector<std::int32_t>& tokens() const { return tokens_; }
  std::size_t left_out() const { return left_out_; }
  std::uint64_t hash() const;  // of tokens and items: names the data in a checkpoint

 private:
  void add_item(std::vector<std::int32_t>::const_iterator begin, std::vector<std::int32_t>::const_iterator end,
                std::size_t first_target);

  std::vector<std::int32_t> tokens_;
  std::vector<Item> items_;
  std::size_t left_out_ = 0;
};

// Where training stands in its data: all that a checkpoint needs to go on with the same batches.
struct DataPosition {
  std::uint64_t epoch = 0, next = 0;
  bool operator==(const DataPosition&) const = default;
};

class Batcher {
 public:
  // Requires: no item longer than `capacity`, at least one item.
  Batcher(const Dataset& data, std::size_t capacity, std::uint64_t seed, DataPosition at = {});

  void fill(Batch& batch);
  DataPosition position() const { return at_; }

 private:
  void shuffle();

  const Dataset& data_;
  std::size_t capacity_;
  std::uint64_t seed_;
  DataPosition at_;
  std::vector<std::uint32_t> order_;
};

// Empties `batch`, and adds an item to it: false when it does not fit.
void clear_batch(Batch& batch, std::size_t capacity);
bool add_to_batch(Batch& batch, const Dataset& data, std::size_t item, std::size_t capacity);

}  // namespace sedge::train
