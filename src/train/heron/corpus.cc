// How a sentence is written is drawn apart from what it says: as a speech recogniser writes (lower case, no
// punctuation), as people type in a hurry, or as they write with care. Some words of the rows get a typing mistake;
// phrases never do, because what is copied must be right in the sentence to be right in the action.
#include "train/heron/corpus.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string_view>

#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/prng.h"
#include "train/heron/expand.h"

namespace sedge::train::heron {
namespace {

constexpr std::size_t kHeldOutCount = 1000;
constexpr std::uint64_t kHeldOutOneIn = 40;
constexpr double kTypoChance = 0.05;
constexpr double kTypoChanceTrained = 0.12;  // rarer than that they are hardly learnt
constexpr std::size_t kSentenceBytesMax = 220;

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }
bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

void erase_at(Expansion& out, std::size_t i) {
  out.text.erase(i, 1);
  out.mask.erase(i, 1);
}

// Swaps, drops or doubles one letter inside a word of the rows with at least five letters.
void add_typo(Expansion& out, Prng& prng) {
  std::vector<std::size_t> places;
  std::size_t run = 0;
  for (std::size_t i = 0; i <= out.text.size(); ++i) {
    if (i < out.text.size() && is_letter(out.text[i]) && out.mask[i] == 't') {
      ++run;
      continue;
    }
    for (std::size_t k = 1; run >= 5 && k + 2 < run; ++k) places.push_back(i - run + k);
    run = 0;
  }
  if (places.empty()) return;
  const std::size_t at = places[prng.below(places.size())];
  switch (prng.below(3)) {
    case 0:
      std::swap(out.text[at], out.text[at + 1]);
      break;
    case 1:
      erase_at(out, at);
      break;
    default:
      out.text.insert(at, 1, out.text[at]);
      out.mask.insert(at, 1, 't');
  }
}

// As a speech recogniser writes: no capitals, and no punctuation but what belongs to a number or a word.
void write_as_heard(Expansion& out, Prng& prng) {
  const bool drop_apostrophes = prng.chance(0.3);
  for (std::size_t i = out.text.size(); i-- > 0;) {
    const char c = out.text[i];
    const bool inside = i > 0 && i + 1 < out.text.size() && out.text[i - 1] != ' ' && out.text[i + 1] != ' ';
    const bool separator = c == ',' || c == '?' || c == '"' || ((c == '.' || c == ':') && !inside);
    if (separator || (c == '\'' && drop_apostrophes && out.mask[i] == 't')) erase_at(out, i);
  }
}

void write_with_care(Expansion& out, Prng& prng) {
  for (std::size_t i = 0; i < out.text.size(); ++i) {
    const bool starts =
        i == 0 || (i > 1 && out.text[i - 1] == ' ' && (out.text[i - 2] == '.' || out.text[i - 2] == '?'));
    const bool alone = out.text[i] == 'i' && out.mask[i] == 't' && (i == 0 || out.text[i - 1] == ' ') &&
                       (i + 1 == out.text.size() || !is_letter(out.text[i + 1]));
    if (starts || alone) out.text[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(out.text[i])));
  }
  if (is_letter(out.text.back()) && prng.chance(0.75)) out.text += prng.chance(0.05) ? '!' : '.';
}

std::string write_sentence(Expansion out, double typo_chance, Prng& prng) {
  while (!out.text.empty() && out.text.back() == ' ') erase_at(out, out.text.size() - 1);
  if (prng.chance(typo_chance)) add_typo(out, prng);
  const std::uint64_t style = prng.below(20);
  if (style < 8 || style >= 13) {
    // heard and hasty sentences have no capitals, except that hasty writers now and then keep those of names
    const bool keep = style >= 18;
    if (!keep) std::ranges::transform(out.text, out.text.begin(), lower);
    if (style < 8) write_as_heard(out, prng);
    if (style >= 13 && is_letter(out.text.back()) && prng.chance(0.3)) out.text += '.';
  } else {
    write_with_care(out, prng);
  }
  return out.text;
}

// Letters and digits only: what stays the same in any way of writing.
std::string skeleton(std::string_view sentence) {
  std::string out;
  for (const char c : sentence) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) out += lower(c);
  }
  return out;
}

bool is_held_out_sentence(std::string_view sentence) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a, then mixed: its low bits alone are poor
  for (const char c : skeleton(sentence)) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return splitmix64(hash) % kHeldOutOneIn == 0;
}

std::string action_name(const Example& example) {
  constexpr std::string_view kStart = "{\"do\":\"";
  const std::size_t end = example.action.find('"', kStart.size());
  return example.action.substr(kStart.size(), end - kStart.size());
}

Status write_lines(const std::filesystem::path& path, const std::vector<Example>& examples) {
  std::ofstream file(path, std::ios::binary);
  for (const Example& example : examples) file << to_jsonl(example) << '\n';
  file.flush();
  if (!file) return fail(Code::kUnavailable, "{} cannot be written", path.string());
  return {};
}

}  // namespace

std::vector<Example> generate(std::uint64_t seed, std::size_t count, Split split) {
  Prng prng(seed * 3 + static_cast<std::uint64_t>(split));
  std::vector<Example> examples;
  std::set<std::string> seen;
  while (examples.size() < count) {
    Expansion made = expand(prng, split == Split::kHeldOutTemplates);
    Example example{"", made.action, made.template_id};
    const bool held_out = made.held_out;
    example.sentence = write_sentence(std::move(made), split == Split::kTrain ? kTypoChanceTrained : kTypoChance, prng);
    if (example.sentence.size() > kSentenceBytesMax) continue;
    if ((split == Split::kHeldOutTemplates) != held_out) continue;
    if (split != Split::kHeldOutTemplates &&
        is_held_out_sentence(example.sentence) != (split == Split::kHeldOutSentences)) {
      continue;
    }
    if (split != Split::kTrain && !seen.insert(skeleton(example.sentence)).second) continue;
    examples.push_back(std::move(example));
  }
  return examples;
}

std::string to_jsonl(const Example& example) {
  json::Object object;
  object["prompt"] = example.sentence + "\n";
  object["completion"] = example.action;
  return boost::json::serialize(object);
}

Status write_corpus(const std::string& dir, std::uint64_t seed, std::size_t count) {
  const std::filesystem::path folder(dir);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(Code::kUnavailable, "{} cannot be made: {}", dir, error.message());
  SEDGE_CHECK(write_lines(folder / "train.jsonl", generate(seed, count, Split::kTrain)));
  SEDGE_CHECK(write_lines(folder / "heldout_sentences.jsonl", generate(seed, kHeldOutCount, Split::kHeldOutSentences)));
  return write_lines(folder / "heldout_templates.jsonl", generate(seed, kHeldOutCount, Split::kHeldOutTemplates));
}

std::string coverage(const std::vector<Example>& examples) {
  struct Sums {
    std::size_t examples = 0, sentence_bytes = 0, action_bytes = 0, bytes_max = 0;
    std::set<int> templates;
  };
  std::map<std::string, Sums> by_action;
  for (const Example& example : examples) {
    for (const std::string& name : {action_name(example), std::string("total")}) {
      Sums& sums = by_action[name];
      ++sums.examples;
      sums.sentence_bytes += example.sentence.size();
      sums.action_bytes += example.action.size();
      sums.bytes_max = std::max(sums.bytes_max, example.sentence.size() + 1 + example.action.size());
      sums.templates.insert(example.template_id);
    }
  }
  std::string out = fmt::format("{:<9}{:>9}{:>11}{:>15}{:>13}{:>11}\n", "action", "examples", "templates",
                                "sentence bytes", "action bytes", "max bytes");
  for (const auto& [name, sums] : by_action) {
    const auto n = static_cast<double>(sums.examples);
    out += fmt::format("{:<9}{:>9}{:>11}{:>15.1f}{:>13.1f}{:>11}\n", name, sums.examples, sums.templates.size(),
                       static_cast<double>(sums.sentence_bytes) / n, static_cast<double>(sums.action_bytes) / n,
                       sums.bytes_max);
  }
  return out;
}

}  // namespace sedge::train::heron
