#include "engine/grammar/json_text.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "model/unicode.h"

namespace sedge::engine {
namespace {

constexpr std::uint32_t kIndentMax = 24, kFractionDigitsMax = 15;
constexpr std::uint32_t kListedDepthMax = 32;            // two expressions each, of kGrammarDepthMax
constexpr std::int64_t kWholeMax = 999'999'999'999'999;  // 15 digits
constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

CodeSet plain() { return CodeSet{{0, 0x1F}, {U'"', U'"'}, {U'\\', U'\\'}}.complement(); }

}  // namespace

std::string plain_text(const json::Value& value) {
  std::string text;
  if (const auto* object = value.if_object()) {
    for (const auto& member : *object)
      text += fmt::format("{}{}:{}", text.empty() ? "{" : ",", json::write(json::Value(member.key())),
                          plain_text(member.value()));
    return text.empty() ? "{}" : text + "}";
  }
  if (const auto* array = value.if_array()) {
    for (const json::Value& each : *array) text += (text.empty() ? "[" : ",") + plain_text(each);
    return text.empty() ? "[]" : text + "]";
  }
  if (!value.is_double() || !std::isfinite(value.get_double())) return json::write(value);
  text = fmt::format("{}", value.get_double());
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

JsonText::Expr JsonText::space() {
  if (!space_) {
    const Expr indent = builder_.repeat(builder_.characters({{U' ', U' '}, {U'\t', U'\t'}}), 0, kIndentMax);
    space_ = builder_.shared("space", builder_.choice({builder_.nothing(), builder_.literal(" "),
                                                       builder_.sequence({builder_.literal("\n"), indent})}));
  }
  return *space_;
}

JsonText::Expr JsonText::character() {
  if (!character_) {
    const auto hex = [&](char32_t letter_last) {
      return builder_.characters({{U'0', U'9'}, {U'a', letter_last}, {U'A', letter_last - 32}});
    };
    const Expr any = hex(U'f');
    const Expr code = builder_.choice(
        {builder_.sequence({builder_.characters({{U'0', U'9'}, {U'a', U'c'}, {U'A', U'C'}, {U'e', U'f'}, {U'E', U'F'}}),
                            any, any, any}),
         builder_.sequence(
             {builder_.characters({{U'd', U'd'}, {U'D', U'D'}}), builder_.characters({{U'0', U'7'}}), any, any})});
    CodeSet letters;
    for (const char c : std::string_view("\"\\/bfnrt")) letters.add(static_cast<char32_t>(c));
    const Expr escaped =
        builder_.choice({builder_.characters(letters), builder_.sequence({builder_.literal("u"), code})});
    character_ = builder_.shared("character", builder_.choice({builder_.characters(plain()),
                                                               builder_.sequence({builder_.literal("\\"), escaped})}));
  }
  return *character_;
}

JsonText::Expr JsonText::spelled(const CodeSet& set) {
  std::vector<std::pair<char32_t, char32_t>> key;
  for (const CodeSet::Range& range : set.ranges()) key.emplace_back(range.first, range.last);
  const auto known = spelled_.find(key);
  if (known != spelled_.end()) return known->second;

  std::vector<Expr> ways = {builder_.characters(set.within(plain()))};
  if (set.contains(U'"')) ways.push_back(builder_.literal("\\\""));
  if (set.contains(U'\\')) ways.push_back(builder_.literal("\\\\"));
  static constexpr std::pair<char32_t, std::string_view> kShort[] = {
      {U'\b', "\\b"}, {U'\f', "\\f"}, {U'\n', "\\n"}, {U'\r', "\\r"}, {U'\t', "\\t"}};
  for (char32_t code = 0; code < 0x20; ++code) {
    if (!set.contains(code)) continue;
    const auto* const brief = std::ranges::find(kShort, code, &std::pair<char32_t, std::string_view>::first);
    ways.push_back(builder_.literal(brief != std::end(kShort) ? std::string(brief->second)
                                                              : fmt::format("\\u{:04x}", static_cast<unsigned>(code))));
  }
  const bool ascii = !set.empty() && set.ranges().back().last < 0x80 && ways.size() == 1;
  const Expr expr = builder_.choice(std::move(ways));  // what takes more than one edge is kept once, as a rule
  return spelled_.emplace(std::move(key), ascii ? expr : builder_.shared("class", expr)).first->second;
}

JsonText::Expr JsonText::string(Expr inside) {
  return builder_.sequence({builder_.literal("\""), inside, builder_.literal("\"")});
}

JsonText::Expr JsonText::one_of(std::vector<std::string> texts) {
  std::ranges::sort(texts);
  const auto equal = std::ranges::unique(texts);
  texts.erase(equal.begin(), equal.end());
  std::uint32_t depth = 0;
  return one_of(texts, 0, depth);
}

// Of ascending texts that are alike in their first `begun` bytes, what comes after those. As deep as texts begin each
// other: in 128 KiB some 500. What grows deep is cut into rules, which take no stack where they are called last.
JsonText::Expr JsonText::one_of(std::span<const std::string> texts, std::size_t begun, std::uint32_t& depth) {
  std::vector<Expr> ways;
  while (!texts.empty()) {
    const std::string& first = texts.front();
    const auto alike = [&](const std::string& text) { return begun < first.size() && text[begun] == first[begun]; };
    const auto end = std::ranges::partition_point(texts.subspan(1), alike);
    const auto group = texts.first(static_cast<std::size_t>(end - texts.begin()));
    texts = texts.subspan(group.size());
    const auto shared = static_cast<std::size_t>(std::ranges::mismatch(first, group.back()).in1 - first.begin());
    const Expr head = builder_.literal(std::string_view(first).substr(begun, shared - begun));
    std::uint32_t below = 0;
    ways.push_back(group.size() == 1 ? head : builder_.sequence({head, one_of(group, shared, below)}));
    depth = std::max(depth, below + 1);
  }
  const Expr all = builder_.choice(std::move(ways));
  if (depth < kListedDepthMax) return all;
  depth = 0;
  return builder_.shared("listed", all);
}

JsonText::Expr JsonText::other_name(const std::vector<std::string_view>& names) {
  struct Branch {
    std::map<char32_t, std::size_t> next;
    bool name = false;
  };
  std::vector<Branch> tree(1);
  for (const std::string_view name : names) {
    std::size_t at = 0;
    bool plain_name = true;
    for (std::size_t i = 0; i < name.size() && plain_name;) {
      const model::CodePoint point = model::next_code_point(name, i);
      plain_name = plain().contains(point.code);  // one that needs an escape is no other's spelling
      if (!plain_name) break;
      const auto [found, made] = tree[at].next.try_emplace(point.code, tree.size());
      at = found->second;
      if (made) tree.emplace_back();
      i += point.bytes;
    }
    if (plain_name) tree[at].name = true;
  }
  const Expr rest =
      builder_.repeat(builder_.shared("name character", builder_.characters(plain())), 0, GrammarBuilder::kNoLimit);
  const Expr quote = builder_.literal("\"");
  std::vector<Expr> branches(tree.size());
  for (std::size_t i = tree.size(); i-- > 0;) {  // a branch stands behind those that lead to it
    CodeSet known;
    std::vector<Expr> ways;
    for (const auto& [code, to] : tree[i].next) {
      known.add(code);
      ways.push_back(builder_.sequence({builder_.characters({{code, code}}), branches[to]}));
    }
    ways.push_back(builder_.sequence({builder_.characters(plain().without(known)), rest, quote}));
    if (!tree[i].name) ways.push_back(quote);
    branches[i] = builder_.shared("name", builder_.choice(std::move(ways)));
  }
  return builder_.sequence({quote, branches[0]});
}

JsonText::Expr JsonText::digit(char low, char high) {
  return builder_.characters({{static_cast<char32_t>(low), static_cast<char32_t>(high)}});
}

// Numbers of as many digits as both have, leading zeros written.
JsonText::Expr JsonText::digits(std::string_view low, std::string_view high) {
  if (low.empty()) return builder_.nothing();
  const auto count = static_cast<std::uint32_t>(low.size() - 1);
  const Expr any = builder_.repeat(digit('0', '9'), count, count);
  const bool from_zeros = low.find_first_not_of('0', 1) == std::string_view::npos;
  const bool to_nines = high.find_first_not_of('9', 1) == std::string_view::npos;
  if (from_zeros && to_nines) return builder_.sequence({digit(low[0], high[0]), any});
  if (low[0] == high[0]) return builder_.sequence({digit(low[0], low[0]), digits(low.substr(1), high.substr(1))});
  const std::string nines(count, '9'), zeros(count, '0');
  std::vector<Expr> ways = {builder_.sequence({digit(low[0], low[0]), digits(low.substr(1), nines)}),
                            builder_.sequence({digit(high[0], high[0]), digits(zeros, high.substr(1))})};
  if (high[0] - low[0] > 1) {
    ways.push_back(builder_.sequence({digit(static_cast<char>(low[0] + 1), static_cast<char>(high[0] - 1)), any}));
  }
  return builder_.choice(std::move(ways));
}

// Requires: 0 <= low. An empty interval matches nothing.
JsonText::Expr JsonText::natural(std::int64_t low, std::int64_t high) {
  std::vector<Expr> ways;
  while (low <= high) {
    const std::string first = fmt::format("{}", low), nines(first.size(), '9');
    const bool longest = first.size() == fmt::format("{}", high).size();
    ways.push_back(digits(first, longest ? fmt::format("{}", high) : nines));
    if (longest) break;
    low = 1;
    for (std::size_t i = 0; i < first.size(); ++i) low *= 10;
  }
  return builder_.choice(std::move(ways));
}

JsonText::Expr JsonText::integer(std::optional<std::int64_t> min, std::optional<std::int64_t> max) {
  const std::int64_t low = min.value_or(max && *max < -kWholeMax ? -kLargest : -kWholeMax);
  const std::int64_t high = max.value_or(min && *min > kWholeMax ? kLargest : kWholeMax);
  std::vector<Expr> ways;
  if (high >= 0) ways.push_back(natural(std::max<std::int64_t>(low, 0), high));
  if (low < 0) {
    const std::int64_t least = high < 0 ? -std::max(high, -kLargest) : 1, most = -std::max(low, -kLargest);
    ways.push_back(builder_.sequence({builder_.literal("-"), natural(least, most)}));
  }
  return builder_.choice(std::move(ways));
}

JsonText::Expr JsonText::fraction(bool zero_too, std::uint32_t digits_max) {
  if (digits_max == 0) return zero_too ? builder_.nothing() : builder_.choice({});
  if (zero_too) {
    return builder_.optional(
        builder_.sequence({builder_.literal("."), builder_.repeat(digit('0', '9'), 1, digits_max)}));
  }
  return builder_.sequence(
      {builder_.literal("."), builder_.repeat(digit('0', '9'), 0, digits_max - 1), digit('1', '9')});
}

// Decimal numbers from `low` to `high`, neither below zero. Next to a bound that is open, and behind a whole part of
// more than 15 digits, no more digits than a reader of doubles can tell from the bound.
JsonText::Expr JsonText::magnitude(Bound low, Bound high) {
  if (low.value == high.value) return low.open || high.open ? builder_.choice({}) : natural(low.value, low.value);
  std::vector<Expr> ways;
  const auto told = [](std::int64_t whole) {
    const auto digits = static_cast<std::uint32_t>(fmt::format("{}", whole).size());
    return whole == 0 ? kFractionDigitsMax : kFractionDigitsMax - std::min(digits, kFractionDigitsMax);
  };
  const auto add = [&](std::int64_t first, std::int64_t last, bool zero_too, std::uint32_t digits_max) {
    if (first <= std::min(last, kWholeMax))
      ways.push_back(builder_.sequence({natural(first, std::min(last, kWholeMax)), fraction(zero_too, digits_max)}));
    if (zero_too && last > kWholeMax) ways.push_back(natural(std::max(first, kWholeMax + 1), last));
  };
  std::int64_t first = low.value, last = high.value - 1;  // whole parts with what may stand behind the point
  const std::uint32_t at_last = high.open ? told(high.value) : kFractionDigitsMax;
  if (low.open) {
    add(first, first, false, std::min(told(first), first == last ? at_last : kFractionDigitsMax));
    ++first;
  }
  if (high.open && first <= last) {
    add(last, last, true, at_last);
    --last;
  }
  if (first <= last) add(first, last, true, kFractionDigitsMax);
  if (!high.open) ways.push_back(natural(high.value, high.value));
  return builder_.choice(std::move(ways));
}

JsonText::Expr JsonText::number(std::optional<Bound> min, std::optional<Bound> max) {
  const Expr minus = builder_.literal("-");
  if (!min && !max) {
    const Expr sign = builder_.optional(builder_.characters({{U'+', U'+'}, {U'-', U'-'}}));
    const Expr exponent = builder_.sequence(
        {builder_.characters({{U'e', U'e'}, {U'E', U'E'}}), sign, builder_.repeat(digit('0', '9'), 1, 2)});
    return builder_.sequence({builder_.optional(minus), natural(0, kWholeMax), fraction(true, kFractionDigitsMax),
                              builder_.optional(exponent)});
  }
  const std::int64_t far = kLargest - 1;
  const auto clamped = [&](Bound bound) { return Bound{std::clamp(bound.value, -far, far), bound.open}; };
  const Bound low = clamped(min.value_or(Bound{max && max->value < -kWholeMax ? -far : -kWholeMax, false}));
  const Bound high = clamped(max.value_or(Bound{min && min->value > kWholeMax ? far : kWholeMax, false}));
  std::vector<Expr> ways;
  if (high.value > 0 || (high.value == 0 && !high.open)) {
    const Bound from = low.value >= 0 ? low : Bound{0, false};
    if (from.value <= high.value) ways.push_back(magnitude(from, high));
  }
  if (low.value < 0) {
    const Bound from = high.value < 0 ? Bound{-high.value, high.open} : Bound{0, true};
    if (from.value <= -low.value) {
      ways.push_back(builder_.sequence({minus, magnitude(from, {-low.value, low.open})}));
    }
  }
  return builder_.choice(std::move(ways));
}

JsonText::Expr JsonText::boolean() { return builder_.choice({builder_.literal("true"), builder_.literal("false")}); }

JsonText::Expr JsonText::array(Expr items) {
  return builder_.sequence({builder_.literal("["), space(), items, space(), builder_.literal("]")});
}

JsonText::Expr JsonText::object(Expr members) {
  return builder_.sequence({builder_.literal("{"), space(), members, space(), builder_.literal("}")});
}

JsonText::Expr JsonText::list(Expr item, std::uint32_t min, std::uint32_t max) {
  if (max == 0) return builder_.nothing();
  const std::uint32_t more = max == GrammarBuilder::kNoLimit ? max : max - 1;
  const Expr some =
      builder_.sequence({item, builder_.repeat(builder_.sequence({comma(), item}), min == 0 ? 0 : min - 1, more)});
  return min == 0 ? builder_.optional(some) : some;
}

JsonText::Expr JsonText::value() {
  if (!value_) {
    value_ = builder_.declare("value");
    any_object_ = builder_.declare("object");
    any_array_ = builder_.declare("array");
    const Expr any = builder_.call(*value_);
    const Expr text = builder_.shared("string", string(builder_.repeat(character(), 0, GrammarBuilder::kNoLimit)));
    const Expr member = builder_.sequence({text, colon(), any});
    builder_.define(*any_object_, object(list(member, 0, GrammarBuilder::kNoLimit)));
    builder_.define(*any_array_, array(list(any, 0, GrammarBuilder::kNoLimit)));
    builder_.define(*value_, builder_.choice({builder_.call(*any_object_), builder_.call(*any_array_), text,
                                              number({}, {}), boolean(), null()}));
  }
  return builder_.call(*value_);
}

}  // namespace sedge::engine
