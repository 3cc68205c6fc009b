// Floats to words of a code book.
//
// A sub-block's scale is chosen as elsewhere (quantize_blocks.cc): among some twenty, by the squared error with each
// value at its nearest level, as if every word were in the book. Then words are looked for with the scale as it will be
// stored: all of a book are tried, and the one with the smallest squared error is taken. Where only seven of eight
// signs are stored and their number would be odd, the value of least magnitude gives way. At last the block's scale is
// fitted to the words.
// Rejected: weighing errors by activations, which is how stock tools make these formats worth having; that is
// calibration and belongs to whoever has some.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/formats/books.h"

namespace sedge::kernels {
namespace {

// A book's words as values: IQ1's are 8 · (-1, 0, 1) until the flag says one more or one less.
class Book {
 public:
  Book(const BookCoding& book, const BlockCoding& block) : book_(book), block_(block) {
    words_.reserve(book.count() * book.word_values);
    for (std::size_t w = 0; w < book.count(); ++w) {
      const std::uint64_t bytes = book.word_values == 8 ? words_of_eight(book.type)[w] : words_of_four(book.type)[w];
      for (std::size_t i = 0; i < book.word_values; ++i) {
        words_.push_back(static_cast<float>(bytes >> (8 * i) & 255) - (book.has_signs() ? 0.0f : 64.0f));
      }
    }
    levels_ = words_;
    std::ranges::sort(levels_);
    levels_.erase(std::ranges::unique(levels_).begin(), levels_.end());
  }

  float largest() const { return levels_.back(); }

  float nearest(float value) const {
    float best = levels_[0];
    for (const float level : levels_) {
      if (std::fabs(level - value) < std::fabs(best - value)) best = level;
    }
    return best;
  }

  // The word nearest to x[0 ..] in units of the scale, and how far it is.
  std::size_t nearest_word(const float* x, float& distance) const {
    return book_.word_values == 8 ? nearest_of<8>(x, distance) : nearest_of<4>(x, distance);
  }

  const BookCoding& coding() const { return book_; }
  const BlockCoding& block() const { return block_; }

 private:
  template <std::size_t values>
  std::size_t nearest_of(const float* x, float& distance) const {
    std::size_t best = 0;
    distance = std::numeric_limits<float>::infinity();
    for (std::size_t word = 0; word < book_.count(); ++word) {
      float sum = 0;
      for (std::size_t i = 0; i < values; ++i) {
        const float off = x[i] - words_[word * values + i];
        sum += off * off;
      }
      if (sum < distance) distance = sum, best = word;
    }
    return best;
  }

  const BookCoding& book_;
  const BlockCoding& block_;
  std::vector<float> words_;   // [count, word_values]
  std::vector<float> levels_;  // ascending
};

float fit_scale(const Book& book, const float* x, std::size_t count) {
  float extreme = 0;
  for (std::size_t i = 0; i < count; ++i) extreme = std::max(extreme, std::fabs(x[i]));
  float best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int step = -9; step <= 9 && extreme != 0; ++step) {
    const float tried = extreme / book.largest() * (1.2f + 0.06f * static_cast<float>(step));
    double products = 0, squares = 0, error = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const float value = book.coding().has_signs() ? std::fabs(x[i]) : x[i];
      const auto level = static_cast<double>(book.nearest(value / tried)), exact = static_cast<double>(value);
      products += level * exact, squares += level * level, error += exact * exact;
    }
    if (squares > 0) error -= products * products / squares;
    if (error < least && squares > 0) least = error, best = static_cast<float>(products / squares);
  }
  return best;
}

void choose_scales(const Book& book, const float* x, BookParts& parts) {
  const BlockCoding& c = book.block();
  std::array<float, kUnitSubs> scales{};
  for (std::size_t k = 0; k < c.values / c.sub; ++k) scales[k] = fit_scale(book, x + k * c.sub, c.sub);
  const float end = *std::ranges::max_element(scales) / static_cast<float>(c.high);
  parts.scale = f32_to_f16(std::min(end / c.unit(), kF16Max));
  const float d = f16_to_f32(parts.scale) * c.unit();
  const auto most = c.high / 2;  // of n, since c.high is 2n + 1
  for (std::size_t k = 0; d > 0 && k < c.values / c.sub; ++k) {
    const float n = std::nearbyint((scales[k] / d - 1) / 2);
    parts.sub[k] = static_cast<std::uint8_t>(std::clamp(n, 0.0f, static_cast<float>(most)));
  }
}

// Eight values to signs, which are taken from them.
std::uint8_t take_signs(float* x, bool even) {
  unsigned signs = 0;
  std::size_t least = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    if (std::signbit(x[i])) signs |= 1u << i;
    x[i] = std::fabs(x[i]);
    if (x[i] < x[least]) least = i;
  }
  if (even && std::popcount(signs) % 2 != 0) signs ^= 1u << least, x[least] = -x[least];
  return static_cast<std::uint8_t>(signs);
}

// The words from `word` on that share a flag, with the flag that suits them.
void choose_flagged(const Book& book, const float* x, std::size_t word, std::size_t count, BookParts& parts) {
  float least = std::numeric_limits<float>::infinity();
  for (unsigned flag = 0; flag < 2; ++flag) {
    std::array<std::uint16_t, 4> index{};
    float sum = 0;
    for (std::size_t w = 0; w < count; ++w) {
      float shifted[8], distance = 0;
      for (std::size_t i = 0; i < 8; ++i) shifted[i] = x[8 * w + i] - (flag == 0 ? 1.0f : -1.0f);
      index[w] = static_cast<std::uint16_t>(book.nearest_word(shifted, distance));
      sum += distance;
    }
    if (!(sum < least)) continue;
    least = sum;
    for (std::size_t w = 0; w < count; ++w) {
      parts.index[word + w] = index[w], parts.flags[word + w] = static_cast<std::uint8_t>(flag);
    }
  }
}

// The scale that suits the words best, in place of the one they were chosen with.
void refine_scale(const Book& book, const float* in, BookParts& fields) {
  BlockParts parts;
  split_words(book.coding(), fields, parts);
  double products = 0, squares = 0;
  for (std::size_t i = 0; i < kUnitValues; ++i) {
    const double value = parts.sub_scale[i / book.block().sub] * book.block().level(parts.codes[i]);
    products += value * static_cast<double>(in[i]), squares += value * value;
  }
  fields.scale =
      f32_to_f16(std::clamp(static_cast<float>(products / squares) / book.block().unit(), -kF16Max, kF16Max));
}

void choose_words(const Book& book, float* x, BookParts& parts) {
  const BookCoding& coding = book.coding();
  if (!coding.has_signs()) {
    const std::size_t shared = coding.flags.run > 1 ? coding.flags.run : 1;
    for (std::size_t w = 0; w < coding.words(); w += shared) choose_flagged(book, x + 8 * w, w, shared, parts);
    return;
  }
  for (std::size_t n = 0; n < kUnitValues / 8; ++n) parts.flags[n] = take_signs(x + 8 * n, coding.flags.bits == 7);
  float distance = 0;
  for (std::size_t w = 0; w < coding.words(); ++w) {
    parts.index[w] = static_cast<std::uint16_t>(book.nearest_word(x + w * coding.word_values, distance));
  }
}

}  // namespace

void quantize_words(const BlockCoding& c, const float* in, std::uint8_t* out, std::size_t count) {
  const Book book(*find_book(c.type), c);
  const float largest = kF16Max * c.unit() * static_cast<float>(c.high) * book.largest();
  for (std::size_t at = 0; at < count; at += kUnitValues, out += c.bytes) {
    std::array<float, kUnitValues> x;
    for (std::size_t i = 0; i < kUnitValues; ++i) {
      x[i] = std::isnan(in[at + i]) ? 0.0f : std::clamp(in[at + i], -largest, largest);
    }
    const std::array<float, kUnitValues> exact = x;
    BookParts parts;
    choose_scales(book, x.data(), parts);
    const float d = f16_to_f32(parts.scale) * c.unit();
    for (std::size_t i = 0; i < kUnitValues; ++i) {
      if (d != 0) x[i] /= d * static_cast<float>(2 * parts.sub[i / c.sub] + 1);
    }
    choose_words(book, x.data(), parts);
    refine_scale(book, exact.data(), parts);
    join_book(book.coding(), parts, out);
  }
}

}  // namespace sedge::kernels
