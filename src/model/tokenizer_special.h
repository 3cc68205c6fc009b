// Finds the special tokens that a text spells: at each place the longest one, places from left to right. The tokens
// stand sorted, and reading a byte narrows the range that still fits, which makes the sorted list a trie for nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace sedge::model {

class SpecialTokens {
 public:
  struct Entry {
    std::string_view text;  // borrowed
    std::int32_t id;
  };

  SpecialTokens() = default;
  explicit SpecialTokens(std::vector<Entry> entries) : entries_(std::move(entries)) {
    std::erase_if(entries_, [](const Entry& entry) { return entry.text.empty(); });
    std::ranges::stable_sort(entries_, {}, &Entry::text);
    for (const Entry& entry : entries_) starts_[static_cast<unsigned char>(entry.text[0])] = true;
  }

  // The longest token that `text` spells at `at`, nullptr for none. Cost: O(its length · log of the count).
  const Entry* match(std::string_view text, std::size_t at) const {
    if (!starts_[static_cast<unsigned char>(text[at])]) return nullptr;
    std::span<const Entry> fitting = entries_;
    const Entry* best = nullptr;
    for (std::size_t depth = 0; at + depth < text.size(); ++depth) {
      const auto letter = [depth](const Entry& entry) {
        return depth < entry.text.size() ? static_cast<unsigned char>(entry.text[depth]) : -1;
      };
      const auto range = std::ranges::equal_range(fitting, static_cast<unsigned char>(text[at + depth]), {}, letter);
      fitting = {range.begin(), range.end()};
      if (fitting.empty()) break;
      if (fitting.front().text.size() == depth + 1) best = &fitting.front();
    }
    return best;
  }

 private:
  std::vector<Entry> entries_;
  std::array<bool, 256> starts_{};
};

}  // namespace sedge::model
