#include "train/dataset.h"

#include <algorithm>
#include <fstream>

#include "base/json.h"
#include "base/prng.h"

namespace sedge::train {
namespace {

constexpr std::string_view kDocumentEnd = "<|endoftext|>";

Result<TextExample> parse_line(std::string_view line, std::string_view prompt_suffix) {
  SEDGE_TRY(const json::Value value, json::parse(line, "the line"));
  SEDGE_TRY(const json::Object* object, json::as_object(value, "the line"));
  TextExample example;
  if (object->contains("text")) {
    SEDGE_TRY(example.completion, json::get_string(*object, "text"));
    return example;
  }
  SEDGE_TRY(example.prompt, json::get_string(*object, "prompt"));
  SEDGE_TRY(example.completion, json::get_string(*object, "completion"));
  example.prompt += prompt_suffix;
  example.whole = true;
  return example;
}

Status read_jsonl(std::ifstream& file, const std::filesystem::path& path, std::string_view prompt_suffix,
                  const std::function<void(TextExample)>& use) {
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    Result<TextExample> example = parse_line(line, prompt_suffix);
    if (!example) return in_context(fmt::format("{}: line {}", path.string(), number), std::move(example).error());
    use(*std::move(example));
  }
  return {};
}

void read_text(std::ifstream& file, const std::function<void(TextExample)>& use) {
  TextExample document;
  const auto finish = [&] {
    if (document.completion.find_first_not_of(" \r\n\t") != std::string::npos) use(std::move(document));
    document = {};
  };
  for (std::string line; std::getline(file, line);) {
    if (line == kDocumentEnd) {
      finish();
    } else {
      document.completion.append(line).push_back('\n');
    }
  }
  finish();
}

}  // namespace

Status read_examples(const std::filesystem::path& path, std::string_view prompt_suffix,
                     const std::function<void(TextExample)>& use) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Code::kNotFound, "{}: cannot be read", path.string());
  if (path.extension() == ".jsonl") return read_jsonl(file, path, prompt_suffix, use);
  read_text(file, use);
  return {};
}

void Dataset::add_item(std::vector<std::int32_t>::const_iterator begin, std::vector<std::int32_t>::const_iterator end,
                       std::size_t first_target) {
  const auto length = static_cast<std::uint32_t>(end - begin);
  if (length < 2) return;  // nothing to predict
  items_.push_back({static_cast<std::uint32_t>(tokens_.size()), length, static_cast<std::uint32_t>(first_target)});
  tokens_.insert(tokens_.end(), begin, end);
}

void Dataset::add(const TextExample& example, const model::Tokenizer& tokenizer, std::size_t context) {
  const model::Vocab& vocab = tokenizer.vocab();
  std::vector<std::int32_t> ids;
  if (vocab.bos) ids.push_back(*vocab.bos);
  const auto append = [&](std::string_view text) {
    const auto more = tokenizer.encode(text, {.add_special = false});
    ids.insert(ids.end(), more.begin(), more.end());
  };
  if (!example.prompt.empty()) append(example.prompt);
  const std::size_t first_target = std::max<std::size_t>(1, ids.size());
  append(example.completion);
  if (vocab.eos) ids.push_back(*vocab.eos);
  const std::size_t longest = context + 1;  // the last token is a target only
  if (example.whole) {
    if (ids.size() > longest) {
      ++left_out_;
    } else {
      add_item(ids.begin(), ids.end(), first_target);
    }
    return;
  }
  for (std::size_t begin = 0; begin + 1 < ids.size(); begin += context) {  // neighbours share one token
    const std::size_t end = std::min(ids.size(), begin + longest);
    add_item(ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end), 1);
  }
}

std::uint64_t Dataset::hash() const {
  std::uint64_t hash = items_.size();
  const auto mix = [&hash](std::uint64_t value) {
    hash ^= value;
    hash = splitmix64(hash);
  };
  for (const std::int32_t token : tokens_) mix(static_cast<std::uint64_t>(token));
  for (const Item& item : items_) mix(static_cast<std::uint64_t>(item.begin) << 32 | item.first_target);
  return hash;
}

void clear_batch(Batch& batch, std::size_t capacity) {
  batch.tokens.assign(capacity, 0);
  batch.sequences.clear();
  batch.rows.clear();
  batch.targets.clear();
}

bool add_to_batch(Batch& batch, const Dataset& data, std::size_t item, std::size_t capacity) {
  const Dataset::Item& it = data.items()[item];
  const std::uint32_t begin =
      batch.sequences.empty() ? 0 : batch.sequences.back().begin + batch.sequences.back().length;
  const std::uint32_t length = it.length - 1;
  if (begin + length > capacity) return false;
  batch.sequences.push_back({begin, length});
  for (std::uint32_t i = 0; i < length; ++i) {
    batch.tokens[begin + i] = data.tokens()[it.begin + i];
    if (i + 1 < it.first_target) continue;
    batch.rows.push_back(begin + i);
    batch.targets.push_back(data.tokens()[it.begin + i + 1]);
  }
  return true;
}

Batcher::Batcher(const Dataset& data, std::size_t capacity, std::uint64_t seed, DataPosition at)
    : data_(data), capacity_(capacity), seed_(seed), at_(at) {
  SEDGE_ASSERT(!data.items().empty());
  shuffle();
}

void Batcher::shuffle() {
  order_.resize(data_.items().size());
  for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<std::uint32_t>(i);
  std::uint64_t mixed = seed_ ^ (at_.epoch * 0x9E3779B97F4A7C15ULL);
  Prng(splitmix64(mixed)).shuffle(order_);
}

void Batcher::fill(Batch& batch) {
  clear_batch(batch, capacity_);
  for (;;) {
    if (at_.next >= order_.size()) {
      at_ = {at_.epoch + 1, 0};
      shuffle();
    }
    if (!add_to_batch(batch, data_, order_[at_.next], capacity_)) break;
    ++at_.next;
  }
  SEDGE_ASSERT(!batch.sequences.empty());
}

}  // namespace sedge::train
