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

  struct Found {
    const Entry* longest = nullptr;  // the longest token that the text spells here
    bool may_go_on = false;          // the text ends before a longer one does
  };

  // Cost: O(the longest token's length · log of the count).
  Found find(std::string_view text, std::size_t at) const {
    Found found;
    if (!starts_[static_cast<unsigned char>(text[at])]) return found;
    std::span<const Entry> fitting = entries_;
    for (std::size_t depth = 0; at + depth < text.size(); ++depth) {
      const auto letter = [depth](const Entry& entry) {
        return depth < entry.text.size() ? static_cast<unsigned char>(entry.text[depth]) : -1;
      };
      const auto range = std::ranges::equal_range(fitting, static_cast<unsigned char>(text[at + depth]), {}, letter);
      fitting = {range.begin(), range.end()};
      if (fitting.empty()) return found;
      if (fitting.front().text.size() == depth + 1) found.longest = &fitting.front();
    }
    found.may_go_on = fitting.back().text.size() > text.size() - at;
    return found;
  }
  const Entry* match(std::string_view text, std::size_t at) const { return find(text, at).longest; }

 private:
  std::vector<Entry> entries_;
  std::array<bool, 256> starts_{};
};

}  // namespace sedge::model
