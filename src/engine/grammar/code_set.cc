#include "engine/grammar/code_set.h"

#include <algorithm>

namespace sedge::engine {
namespace {

constexpr char32_t kSurrogateFirst = 0xD800, kSurrogateLast = 0xDFFF;

std::size_t spell(char32_t code, std::uint8_t* out) {
  const auto byte = [](char32_t value) { return static_cast<std::uint8_t>(value); };
  if (code < 0x80) return out[0] = byte(code), 1;
  if (code < 0x800) return out[0] = byte(0xC0 | code >> 6), out[1] = byte(0x80 | (code & 63)), 2;
  if (code < 0x10000) {
    return out[0] = byte(0xE0 | code >> 12), out[1] = byte(0x80 | (code >> 6 & 63)), out[2] = byte(0x80 | (code & 63)),
           3;
  }
  out[0] = byte(0xF0 | code >> 18), out[1] = byte(0x80 | (code >> 12 & 63));
  return out[2] = byte(0x80 | (code >> 6 & 63)), out[3] = byte(0x80 | (code & 63)), 4;
}

// Cuts a range into such as have every byte free to run from its low to its high whatever the others are: at the
// borders of lengths, then where a continuation byte would wrap around.
void cut(char32_t first, char32_t last, std::vector<ByteSequence>& out) {
  for (const char32_t border : {0x7Fu, 0x7FFu, 0xFFFFu}) {
    if (first <= border && last > border) return cut(first, border, out), cut(border + 1, last, out);
  }
  for (int bits = 6; bits <= 18 && first >= 0x80; bits += 6) {
    const char32_t low = (char32_t{1} << bits) - 1;
    if ((first | low) == (last | low)) continue;
    if ((first & low) != 0) return cut(first, first | low, out), cut((first | low) + 1, last, out);
    if ((last & low) != low) return cut(first, (last & ~low) - 1, out), cut(last & ~low, last, out);
  }
  std::uint8_t a[4], b[4];
  ByteSequence sequence;
  sequence.length = static_cast<std::uint8_t>(spell(first, a));
  spell(last, b);
  for (std::size_t i = 0; i < sequence.length; ++i) sequence.bytes[i] = {a[i], b[i]};
  out.push_back(sequence);
}

}  // namespace

CodeSet CodeSet::any() { return {{0, kSurrogateFirst - 1}, {kSurrogateLast + 1, kCodePointMax}}; }

void CodeSet::add(char32_t first, char32_t last) {
  auto from = std::ranges::partition_point(ranges_, [&](const Range& each) { return each.last + 1 < first; });
  auto to = from;
  for (; to != ranges_.end() && to->first <= last + 1; ++to) {
    first = std::min(first, to->first);
    last = std::max(last, to->last);
  }
  ranges_.insert(ranges_.erase(from, to), {first, last});
}

void CodeSet::add(const CodeSet& other) {
  for (const Range& range : other.ranges_) add(range.first, range.last);
}

CodeSet CodeSet::without(const CodeSet& other) const {
  CodeSet left;
  for (const Range& range : ranges_) {
    char32_t first = range.first;
    bool over = false;
    auto hole = std::ranges::partition_point(other.ranges_, [&](const Range& each) { return each.last < first; });
    for (; hole != other.ranges_.end() && hole->first <= range.last && !over; ++hole) {
      if (hole->first > first) left.ranges_.push_back({first, hole->first - 1});
      over = hole->last >= range.last;
      first = hole->last + 1;
    }
    if (!over) left.ranges_.push_back({first, range.last});
  }
  return left;
}

bool CodeSet::contains(char32_t code) const {
  return std::ranges::any_of(ranges_, [&](const Range& each) { return code >= each.first && code <= each.last; });
}

std::vector<ByteSequence> utf8_sequences(const CodeSet& set) {
  std::vector<ByteSequence> sequences;
  const CodeSet scalars = set.within(CodeSet::any());
  for (const CodeSet::Range& range : scalars.ranges()) cut(range.first, range.last, sequences);
  return sequences;
}

}  // namespace sedge::engine
