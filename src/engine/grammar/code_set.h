// Sets of code points, and the byte sequences that spell them. A grammar is told in characters ([a-z], any but a
// quote) and run over bytes, since a token may end inside a character. A table of 1.1 million bits a class was
// rejected: classes are a handful of ranges.
// Source: RFC 3629 (which byte sequences are UTF-8).
#pragma once

#include <cstdint>
#include <vector>

namespace sedge::engine {

inline constexpr char32_t kCodePointMax = 0x10FFFF;

class CodeSet {
 public:
  // Inclusive on both sides.
  struct Range {
    char32_t first, last;
    friend bool operator==(const Range&, const Range&) = default;
  };

  CodeSet() = default;
  CodeSet(std::initializer_list<Range> ranges) {
    for (const Range& range : ranges) add(range.first, range.last);
  }
  // Every scalar value: what UTF-8 can spell, so no surrogates.
  static CodeSet any();

  // Requires: first <= last <= kCodePointMax.
  void add(char32_t first, char32_t last);
  void add(char32_t code) { add(code, code); }
  void add(const CodeSet& other);
  CodeSet without(const CodeSet& other) const;
  CodeSet within(const CodeSet& other) const { return without(without(other)); }
  CodeSet complement() const { return any().without(*this); }
  bool contains(char32_t code) const;
  bool empty() const { return ranges_.empty(); }
  // Ascending, apart from each other.
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
};

// One to four ranges of bytes: the product of them is a set of characters of that many bytes.
struct ByteSequence {
  struct Range {
    std::uint8_t low, high;
  };
  std::uint8_t length = 0;
  Range bytes[4] = {};
};

// What spells the set, and nothing else; surrogates in it are left out.
std::vector<ByteSequence> utf8_sequences(const CodeSet& set);

}  // namespace sedge::engine
