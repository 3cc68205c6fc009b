// Each row of a table is a name and a function of the arguments. What a row does is what Jinja and Python document
// for the name; arguments that no chat template gives are not read.
#include "model/chat_template_builtins.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "model/chat_template_time.h"
#include "model/unicode.h"

namespace sedge::model::jinja {

namespace {

constexpr std::string_view kWhite = " \t\n\r\v\f";
constexpr std::size_t kRangeMax = 100'000;

template <class... Args>
std::unexpected<Error> wrong(fmt::format_string<Args...> format, Args&&... args) {
  return fail(Code::kInvalidArgument, "{}", fmt::format(format, std::forward<Args>(args)...));
}

Result<std::string> text_of(const Value& value, std::string_view who) {
  if (const std::string* text = value.string()) return *text;
  return wrong("{} needs a string, this is {}", who, type_name(value));
}

Result<std::int64_t> integer_of(const Value& value, std::string_view who) {
  if (value.is_integer()) return value.integer();
  return wrong("{} needs an integer, this is {}", who, type_name(value));
}

// ---- strings

enum Side { kLeft = 1, kRight = 2 };

std::string strip(std::string_view text, std::string_view what, int sides) {
  std::array<bool, 256> goes{};  // asked for each byte of the text, however many are named
  for (const char c : what) goes[static_cast<unsigned char>(c)] = true;
  const auto at = [&](char c) { return goes[static_cast<unsigned char>(c)]; };
  while ((sides & kLeft) && !text.empty() && at(text.front())) text.remove_prefix(1);
  while ((sides & kRight) && !text.empty() && at(text.back())) text.remove_suffix(1);
  return std::string(text);
}

// Looking for `part` compares it, 32 bytes in the time of a unit's sixteen, at any place of the text.
Status spend_search(std::string_view text, std::string_view part, Budget& budget) {
  return budget.spend_bytes(text.size() * (1 + part.size() / 32));
}

// A part becomes a value of some 120 bytes.
Status push_part(List& parts, std::string part, Budget& budget) {
  SEDGE_CHECK(budget.spend(4));
  parts.push_back(make_string(std::move(part)));
  return {};
}

// ASCII only: what templates change the case of are role names.
std::string upper(std::string text) {
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text;
}
std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}
std::string capitalize(std::string text) {
  text = lower(std::move(text));
  if (!text.empty()) text.replace(0, 1, upper(text.substr(0, 1)));
  return text;
}
std::string title(std::string text) {
  bool start = true;
  for (char& c : text) {
    const std::string one(1, c);
    c = start ? upper(one)[0] : lower(one)[0];
    start = char_class(static_cast<unsigned char>(c)) != CharClass::kLetter && static_cast<unsigned char>(c) < 0x80;
  }
  return text;
}

template <std::string (*kChange)(std::string)>
Result<Value> change_case(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(std::string text, print(arguments.get(0, ""), budget));
  return make_string(kChange(std::move(text)));
}

template <int kSides>
Result<Value> strip_method(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const std::string text, print(arguments.get(0, ""), budget));
  const Value what = arguments.get(1, "chars");
  return make_string(strip(text, what.string() != nullptr ? std::string_view(*what.string()) : kWhite, kSides));
}

Result<Value> replace(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const std::string text, print(arguments.get(0, ""), budget));
  SEDGE_TRY(const std::string from, text_of(arguments.get(1, "old"), "replace"));
  SEDGE_TRY(const std::string to, text_of(arguments.get(2, "new"), "replace"));
  if (from.empty()) return wrong("replace needs something to look for");
  SEDGE_CHECK(spend_search(text, from, budget));
  std::string result;
  std::size_t done = 0;
  for (std::size_t at; (at = text.find(from, done)) != std::string::npos; done = at + from.size()) {
    result.append(text, done, at - done).append(to);
    SEDGE_CHECK(budget.spend_bytes(at - done + to.size()));
  }
  result.append(text, done);
  return make_string(std::move(result));
}

Result<Value> split(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const std::string text, text_of(arguments.get(0, ""), "split"));
  const Value separator = arguments.get(1, "sep");
  std::int64_t left = -1;
  if (const Value most = arguments.get(2, "maxsplit"); !most.is_undefined()) {
    SEDGE_TRY(left, integer_of(most, "split"));
  }
  List parts;
  SEDGE_CHECK(spend_search(text, separator.string() != nullptr ? *separator.string() : "", budget));
  if (separator.string() == nullptr) {  // any run of white space
    for (std::size_t at = 0; (at = text.find_first_not_of(kWhite, at)) != std::string::npos;) {
      const std::size_t end = left-- == 0 ? text.size() : std::min(text.find_first_of(kWhite, at), text.size());
      SEDGE_CHECK(push_part(parts, text.substr(at, end - at), budget));
      at = end;
    }
    return make_list(std::move(parts));
  }
  const std::string& by = *separator.string();
  if (by.empty()) return wrong("split needs a separator");
  std::size_t from = 0;
  for (std::size_t at; left-- != 0 && (at = text.find(by, from)) != std::string::npos; from = at + by.size()) {
    SEDGE_CHECK(push_part(parts, text.substr(from, at - from), budget));
  }
  SEDGE_CHECK(push_part(parts, text.substr(from), budget));
  return make_list(std::move(parts));
}

// At \n, \r\n and \r; the last line needs no end.
Result<Value> splitlines(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const std::string text, text_of(arguments.get(0, ""), "splitlines"));
  SEDGE_CHECK(budget.spend_bytes(text.size()));
  List lines;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = std::min(text.find_first_of("\r\n", from), text.size());
    SEDGE_CHECK(push_part(lines, text.substr(from, end - from), budget));
    from = end + (text.compare(end, 2, "\r\n") == 0 ? 2 : 1);
  }
  return make_list(std::move(lines));
}

// How often one string stands in another, without overlaps.
Result<Value> count_of(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const std::string text, text_of(arguments.get(0, ""), "count"));
  SEDGE_TRY(const std::string part, text_of(arguments.get(1, "sub"), "count"));
  if (part.empty()) return wrong("count needs something to look for");
  SEDGE_CHECK(spend_search(text, part, budget));
  std::int64_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return make_int(count);
}

// The index, in characters, of one string in another; -1 for none.
Result<Value> find_in(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const std::string text, text_of(arguments.get(0, ""), "find"));
  SEDGE_TRY(const std::string part, text_of(arguments.get(1, "sub"), "find"));
  SEDGE_CHECK(spend_search(text, part, budget));
  const std::size_t found = text.find(part);
  if (found == std::string::npos) return make_int(-1);
  std::int64_t characters = 0;
  for (std::size_t at = 0; at < found; at += next_code_point(text, at).bytes) ++characters;
  return make_int(characters);
}

template <bool kAtEnd>
Result<Value> has_affix(const Arguments& arguments, Budget&) {
  SEDGE_TRY(const std::string text, text_of(arguments.get(0, ""), "startswith"));
  const Value affix = arguments.get(1, "");
  const auto matches = [&](const Value& each) {
    return each.string() != nullptr && (kAtEnd ? text.ends_with(*each.string()) : text.starts_with(*each.string()));
  };
  return make_bool(affix.list() != nullptr ? std::ranges::any_of(*affix.list(), matches) : matches(affix));
}

Result<Value> indent(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const std::string text, text_of(arguments.get(0, ""), "indent"));
  SEDGE_TRY(const std::int64_t width, integer_of(arguments.get(1, "width", make_int(4)), "indent"));
  if (width < 0 || width > 64) return wrong("indent by {}", width);
  const bool first = truth(arguments.get(2, "first")), blank = truth(arguments.get(3, "blank"));
  const std::string spaces(static_cast<std::size_t>(width), ' ');
  std::string result;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find('\n', from), text.size());
    if ((from > 0 || first) && (end > from || blank)) result += spaces;
    result.append(text, from, end - from + 1);
    SEDGE_CHECK(budget.spend_bytes(end - from + spaces.size()));
    from = end + 1;
  }
  return make_string(std::move(result));
}

Result<Value> strftime(const Arguments& arguments, Budget&) {
  const Value at = arguments.get(0, "");
  SEDGE_TRY(const std::string format, text_of(arguments.get(1, "format"), "strftime"));
  SEDGE_TRY(std::string text, format_time(format, std::get<Moment>(at.data).local_s));
  return make_string(std::move(text));
}

// ---- any value

Result<Value> length(const Arguments& arguments, Budget& budget) {
  const Value value = arguments.get(0, "");
  if (value.is_undefined()) return make_int(0);
  if (const List* list = value.list()) return make_int(static_cast<std::int64_t>(list->size()));
  if (const Dict* dict = value.dict()) return make_int(static_cast<std::int64_t>(dict->size()));
  SEDGE_TRY(const List characters, items_of(value, budget));
  return make_int(static_cast<std::int64_t>(characters.size()));
}

Result<Value> default_value(const Arguments& arguments, Budget&) {
  Value value = arguments.get(0, "");
  const bool falsy_too = truth(arguments.get(2, "boolean"));
  if (!value.is_undefined() && (!falsy_too || truth(value))) return value;
  return arguments.get(1, "default_value", make_string(""));
}

Result<Value> to_text(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(std::string text, print(arguments.get(0, ""), budget));
  return make_string(std::move(text));
}

Result<Value> tojson(const Arguments& arguments, Budget& budget) {
  const Value indent_by = arguments.get(1, "indent");
  SEDGE_TRY(std::string text,
            to_json(arguments.get(0, ""), indent_by.is_integer() ? std::max<std::int64_t>(indent_by.integer(), -1) : -1,
                    budget));
  return make_string(std::move(text));
}

Result<Value> to_int(const Arguments& arguments, Budget&) {
  const Value value = arguments.get(0, "");
  if (value.is_integer()) return make_int(value.integer());
  if (value.is_number() && value.number() > -9e18 && value.number() < 9e18) {
    return make_int(static_cast<std::int64_t>(value.number()));
  }
  std::int64_t number = 0;
  if (const std::string* text = value.string()) {
    const std::string trimmed = strip(*text, kWhite, kLeft | kRight);
    const auto [end, error] = std::from_chars(trimmed.data(), trimmed.data() + trimmed.size(), number);
    if (error == std::errc{} && end == trimmed.data() + trimmed.size()) return make_int(number);
  }
  return arguments.get(1, "default", make_int(0));
}

Result<Value> to_float(const Arguments& arguments, Budget&) {
  const Value value = arguments.get(0, "");
  if (value.is_number()) return Value{value.number()};
  double number = 0;
  if (const std::string* text = value.string()) {
    const std::string trimmed = strip(*text, kWhite, kLeft | kRight);
    const auto [end, error] = std::from_chars(trimmed.data(), trimmed.data() + trimmed.size(), number);
    if (error == std::errc{} && end == trimmed.data() + trimmed.size()) return Value{number};
  }
  return arguments.get(1, "default", Value{0.0});
}

Result<Value> absolute(const Arguments& arguments, Budget&) {
  const Value value = arguments.get(0, "");
  if (value.is_integer() && value.integer() != INT64_MIN) return make_int(std::abs(value.integer()));
  if (value.is_number()) return Value{std::abs(value.number())};
  return wrong("abs needs a number, this is {}", type_name(value));
}

// ---- sequences

Result<Value> join(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const List items, items_of(arguments.get(0, ""), budget));
  SEDGE_TRY(const std::string by, print(arguments.get(1, "d", make_string("")), budget));
  std::string text;
  for (const Value& item : items) {
    if (&item != &items.front()) text += by;
    SEDGE_TRY(const std::string part, print(item, budget));
    SEDGE_CHECK(budget.spend_bytes(part.size() + by.size()));
    text += part;
  }
  return make_string(std::move(text));
}

template <bool kLast>
Result<Value> end_item(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const List items, items_of(arguments.get(0, ""), budget));
  return items.empty() ? Value{} : kLast ? items.back() : items.front();
}

Result<Value> to_list(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(List items, items_of(arguments.get(0, ""), budget));
  return make_list(std::move(items));
}

Result<Value> reverse(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(List items, items_of(arguments.get(0, ""), budget));
  std::ranges::reverse(items);
  if (arguments.get(0, "").string() == nullptr) return make_list(std::move(items));
  std::string text;
  for (const Value& item : items) text += *item.string();
  return make_string(std::move(text));
}

Result<Value> unique(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const List items, items_of(arguments.get(0, ""), budget));
  List kept;
  for (const Value& item : items) {
    bool seen = false;
    for (std::size_t i = 0; i < kept.size() && !seen; ++i) {
      SEDGE_TRY(seen, equal(kept[i], item, budget));
    }
    if (!seen) kept.push_back(item);
  }
  return make_list(std::move(kept));
}

// What two values are sorted by: numbers among themselves, and strings, without their case unless asked.
struct SortKey {
  double number = 0;
  std::string text;
  bool is_text = false;
};

Result<SortKey> sort_key(const Value& value, bool with_case) {
  if (value.is_number()) return SortKey{.number = value.number()};
  SEDGE_TRY(std::string text, text_of(value, "sort"));
  return SortKey{.text = with_case ? std::move(text) : lower(std::move(text)), .is_text = true};
}

// `items`, each beside what it is sorted by. Errors: InvalidArgument (strings beside numbers).
Result<Value> sorted(List items, const std::vector<Value>& by, const Arguments& arguments, std::size_t first_option,
                     Budget& budget) {
  const bool backwards = truth(arguments.get(first_option, "reverse"));
  const bool with_case = truth(arguments.get(first_option + 1, "case_sensitive"));
  std::vector<std::pair<SortKey, std::size_t>> order;
  for (std::size_t i = 0; i < items.size(); ++i) {
    SEDGE_TRY(SortKey key, sort_key(by[i], with_case));
    SEDGE_CHECK(budget.spend_bytes(key.text.size() * 20));  // compared some log2(2^20) times
    if (i > 0 && key.is_text != order[0].first.is_text) return wrong("sort of strings beside numbers");
    order.emplace_back(std::move(key), i);
  }
  std::ranges::stable_sort(order, [&](const auto& a, const auto& b) {
    const SortKey &less = backwards ? b.first : a.first, &more = backwards ? a.first : b.first;
    return less.is_text ? less.text < more.text : less.number < more.number;
  });
  List result;
  for (const auto& [key, index] : order) result.push_back(items[index]);
  return make_list(std::move(result));
}

Result<Value> sort(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(List items, items_of(arguments.get(0, ""), budget));
  const Value attribute = arguments.get(3, "attribute");
  std::vector<Value> by;
  for (const Value& item : items) {
    const Value* member = item.dict() != nullptr && attribute.string() != nullptr
                              ? find_member(*item.dict(), *attribute.string())
                              : nullptr;
    SEDGE_CHECK(budget.spend(1 + (item.dict() != nullptr ? item.dict()->size() : 0)));
    by.push_back(member != nullptr ? *member : item);
  }
  return sorted(std::move(items), by, arguments, 1, budget);
}

Result<Value> pairs(const Arguments& arguments, Budget& budget) {
  const Value value = arguments.get(0, "");
  List items;
  if (value.is_undefined()) return make_list({});
  if (value.dict() == nullptr) return wrong("items needs a dict, this is {}", type_name(value));
  SEDGE_CHECK(budget.spend(value.dict()->size()));
  for (const auto& [key, member] : *value.dict()) {
    SEDGE_TRY(Value pair, make_list({make_string(key), member}));
    items.push_back(std::move(pair));
  }
  return make_list(std::move(items));
}

// The pairs of a dict in the order of their keys.
Result<Value> dictsort(const Arguments& arguments, Budget& budget) {
  const Value dict = arguments.get(0, "");
  if (dict.dict() == nullptr) return wrong("dictsort needs a dict, this is {}", type_name(dict));
  SEDGE_TRY(const Value list, pairs(arguments, budget));
  std::vector<Value> keys;
  for (const auto& [key, member] : *dict.dict()) keys.push_back(make_string(key));
  Arguments options{{}, arguments.named};
  if (arguments.values.size() > 1) options.named.emplace_back("case_sensitive", arguments.values[1]);
  return sorted(*list.list(), keys, options, SIZE_MAX - 1, budget);
}

template <bool kKeys>
Result<Value> one_side(const Arguments& arguments, Budget& budget) {
  const Value value = arguments.get(0, "");
  SEDGE_CHECK(budget.spend(value.dict()->size()));
  List items;
  for (const auto& [key, member] : *value.dict()) items.push_back(kKeys ? make_string(key) : member);
  return make_list(std::move(items));
}

Result<Value> get_member(const Arguments& arguments, Budget& budget) {
  const Value subject = arguments.get(0, "");
  SEDGE_TRY(const std::string key, text_of(arguments.get(1, "key"), "get"));
  SEDGE_CHECK(budget.spend(subject.dict()->size()));
  const Value* found = find_member(*subject.dict(), key);
  return found != nullptr ? *found : arguments.get(2, "default", {None{}});
}

// These filters take what is false, none above all, for an empty list.
Result<List> items_or_none(const Value& value, Budget& budget) {
  return truth(value) ? items_of(value, budget) : List{};
}

// select, reject, selectattr, rejectattr: the items for which a test holds, of the item or of one of its members.
template <bool kMember, bool kKeep>
Result<Value> select(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const List items, items_or_none(arguments.get(0, ""), budget));
  const std::size_t test_at = kMember ? 2 : 1;
  std::string member, test;
  if (kMember) {
    SEDGE_TRY(member, text_of(arguments.get(1, "attribute"), "selectattr"));
  }
  if (arguments.values.size() > test_at) {
    SEDGE_TRY(test, text_of(arguments.values[test_at], "select"));
  }
  List kept;
  for (const Value& item : items) {
    SEDGE_CHECK(budget.spend(1 + (item.dict() != nullptr ? item.dict()->size() : 0)));
    const Value* found = kMember && item.dict() != nullptr ? find_member(*item.dict(), member) : nullptr;
    Arguments tested{{kMember ? (found != nullptr ? *found : Value{}) : item}, {}};
    for (std::size_t i = test_at + 1; i < arguments.values.size(); ++i) tested.values.push_back(arguments.values[i]);
    bool holds = truth(tested.values[0]);
    if (!test.empty()) {
      SEDGE_TRY(holds, call_test(test, tested, budget));
    }
    if (holds == kKeep) kept.push_back(item);
  }
  return make_list(std::move(kept));
}

// map(attribute='x', default=...) and map('filter', ...).
Result<Value> map(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const List items, items_or_none(arguments.get(0, ""), budget));
  const Value attribute = arguments.get(SIZE_MAX, "attribute");
  List results;
  for (const Value& item : items) {
    SEDGE_CHECK(budget.spend(1 + (item.dict() != nullptr ? item.dict()->size() : 0)));
    if (attribute.string() != nullptr) {
      const Value* found = item.dict() != nullptr ? find_member(*item.dict(), *attribute.string()) : nullptr;
      results.push_back(found != nullptr ? *found : arguments.get(SIZE_MAX, "default"));
      continue;
    }
    SEDGE_TRY(const std::string filter, text_of(arguments.get(1, ""), "map"));
    if (filter == "map") return wrong("map of map");
    Arguments inner{arguments.values, arguments.named};
    inner.values.erase(inner.values.begin() + 1);
    inner.values[0] = item;
    SEDGE_TRY(Value result, call_filter(filter, inner, budget));
    results.push_back(std::move(result));
  }
  return make_list(std::move(results));
}

Result<Value> range(const Arguments& arguments, Budget& budget) {
  std::array<std::int64_t, 3> bounds = {0, 0, 1};
  const std::size_t given = arguments.values.size();
  if (given < 1 || given > 3) return wrong("range takes one to three numbers");
  for (std::size_t i = 0; i < given; ++i) {
    SEDGE_TRY(bounds[given == 1 ? 1 : i], integer_of(arguments.values[i], "range"));
  }
  constexpr std::int64_t kFar = std::int64_t{1} << 40;  // no sum below can overflow
  const auto [from, to, step] = bounds;
  if (step == 0 || std::ranges::any_of(bounds, [](std::int64_t n) { return n < -kFar || n > kFar; })) {
    return wrong("range({}, {}, {})", from, to, step);
  }
  List items;
  for (std::int64_t n = from; step > 0 ? n < to : n > to; n += step) {
    if (items.size() == kRangeMax) return fail(Code::kResourceExhausted, "a range of more than {} numbers", kRangeMax);
    SEDGE_CHECK(budget.spend(2));
    items.push_back(make_int(n));
  }
  return make_list(std::move(items));
}

Result<Value> make_namespace(const Arguments& arguments, Budget&) {
  for (const auto& [name, value] : arguments.named) {
    if (value.space() != nullptr) return wrong("a namespace inside a namespace");
  }
  return Value{std::make_shared<Namespace>(Namespace{arguments.named})};
}

Result<Value> make_dict_of(const Arguments& arguments, Budget&) { return make_dict(arguments.named); }

Result<Value> raise(const Arguments& arguments, Budget& budget) {
  SEDGE_TRY(const std::string text, print(arguments.get(0, ""), budget));
  return wrong("the template refuses these messages: {}", text);
}

struct Row {
  std::string_view name;
  Result<Value> (*call)(const Arguments&, Budget&);
};

constexpr auto kFilters = std::to_array<Row>({
    {"trim", strip_method<kLeft | kRight>},
    {"upper", change_case<upper>},
    {"lower", change_case<lower>},
    {"capitalize", change_case<capitalize>},
    {"title", change_case<title>},
    {"replace", replace},
    {"indent", indent},
    {"length", length},
    {"count", length},
    {"default", default_value},
    {"d", default_value},
    {"string", to_text},
    {"safe", to_text},
    {"tojson", tojson},
    {"int", to_int},
    {"float", to_float},
    {"abs", absolute},
    {"sort", sort},
    {"dictsort", dictsort},
    {"join", join},
    {"first", end_item<false>},
    {"last", end_item<true>},
    {"list", to_list},
    {"reverse", reverse},
    {"unique", unique},
    {"items", pairs},
    {"select", select<false, true>},
    {"reject", select<false, false>},
    {"selectattr", select<true, true>},
    {"rejectattr", select<true, false>},
    {"map", map},
});

constexpr auto kFunctions = std::to_array<Row>({
    {"range", range},
    {"namespace", make_namespace},
    {"dict", make_dict_of},
    {"raise_exception", raise},
});

constexpr auto kStringMethods = std::to_array<Row>({
    {"strip", strip_method<kLeft | kRight>},
    {"lstrip", strip_method<kLeft>},
    {"rstrip", strip_method<kRight>},
    {"upper", change_case<upper>},
    {"lower", change_case<lower>},
    {"capitalize", change_case<capitalize>},
    {"title", change_case<title>},
    {"replace", replace},
    {"split", split},
    {"splitlines", splitlines},
    {"find", find_in},
    {"count", count_of},
    {"startswith", has_affix<false>},
    {"endswith", has_affix<true>},
});

constexpr auto kDictMethods = std::to_array<Row>({
    {"items", pairs},
    {"keys", one_side<true>},
    {"values", one_side<false>},
    {"get", get_member},
});

constexpr auto kMomentMethods = std::to_array<Row>({
    {"strftime", strftime},
});

const Row* find_row(std::span<const Row> rows, std::string_view name) {
  const auto found = std::ranges::find(rows, name, &Row::name);
  return found == rows.end() ? nullptr : &*found;
}

const Row* find_method(const Value& subject, std::string_view name) {
  if (subject.string() != nullptr) return find_row(kStringMethods, name);
  if (std::holds_alternative<Moment>(subject.data)) return find_row(kMomentMethods, name);
  return subject.dict() != nullptr ? find_row(kDictMethods, name) : nullptr;
}

// Every call may copy the texts that it is given.
Status spend_on(const Arguments& arguments, Budget& budget) {
  std::size_t bytes = 0;
  const auto add = [&](const Value& value) { bytes += value.string() != nullptr ? value.string()->size() : 0; };
  for (const Value& value : arguments.values) add(value);
  for (const auto& [name, value] : arguments.named) add(value);
  return budget.spend_bytes(bytes);
}

// ---- tests

bool is_remainder(const Value& value, std::int64_t divisor, std::int64_t remainder) {
  return value.is_integer() && divisor != 0 && divisor != -1 && value.integer() % divisor == remainder;
}

struct TestRow {
  std::string_view name;
  bool (*holds)(const Value& value);
};
constexpr auto kTests = std::to_array<TestRow>({
    {"defined", [](const Value& v) { return !v.is_undefined(); }},
    {"undefined", [](const Value& v) { return v.is_undefined(); }},
    {"none", [](const Value& v) { return v.is_none(); }},
    {"string", [](const Value& v) { return v.string() != nullptr; }},
    {"number", [](const Value& v) { return v.is_number(); }},
    {"integer", [](const Value& v) { return std::holds_alternative<std::int64_t>(v.data); }},
    {"float", [](const Value& v) { return std::holds_alternative<double>(v.data); }},
    {"boolean", [](const Value& v) { return std::holds_alternative<bool>(v.data); }},
    {"true", [](const Value& v) { return std::holds_alternative<bool>(v.data) && truth(v); }},
    {"false", [](const Value& v) { return std::holds_alternative<bool>(v.data) && !truth(v); }},
    {"mapping", [](const Value& v) { return v.dict() != nullptr; }},
    {"iterable",
     [](const Value& v) {
       return v.string() != nullptr || v.list() != nullptr || v.dict() != nullptr || v.is_undefined();
     }},
    {"sequence",
     [](const Value& v) {
       return v.string() != nullptr || v.list() != nullptr || v.dict() != nullptr || v.is_undefined();
     }},
    {"odd", [](const Value& v) { return is_remainder(v, 2, 1) || is_remainder(v, 2, -1); }},
    {"even", [](const Value& v) { return is_remainder(v, 2, 0); }},
});

}  // namespace

Value Arguments::get(std::size_t index, std::string_view name, Value otherwise) const {
  if (index < values.size()) return values[index];
  for (const auto& [key, value] : named) {
    if (key == name) return value;
  }
  return otherwise;
}

Result<List> items_of(const Value& value, Budget& budget) {
  List items;
  if (value.is_undefined()) return items;
  if (const List* list = value.list()) {
    SEDGE_CHECK(budget.spend(list->size()));
    return *list;
  }
  if (const Dict* dict = value.dict()) {
    SEDGE_CHECK(budget.spend(dict->size()));
    for (const auto& [key, member] : *dict) items.push_back(make_string(key));
    return items;
  }
  const std::string* text = value.string();
  if (text == nullptr) return wrong("{} cannot be walked", type_name(value));
  SEDGE_CHECK(budget.spend(text->size() * 4));  // a character becomes a value of some 64 bytes
  for (std::size_t at = 0; at < text->size();) {
    const std::size_t bytes = next_code_point(*text, at).bytes;
    items.push_back(make_string(text->substr(at, bytes)));
    at += bytes;
  }
  return items;
}

Result<bool> contains(const Value& container, const Value& item, Budget& budget) {
  if (const std::string* text = container.string()) {
    if (item.string() == nullptr) return wrong("'in' a string needs a string, this is {}", type_name(item));
    SEDGE_CHECK(spend_search(*text, *item.string(), budget));
    return text->contains(*item.string());
  }
  if (const Dict* dict = container.dict()) {
    SEDGE_CHECK(budget.spend(dict->size()));
    return item.string() != nullptr && find_member(*dict, *item.string()) != nullptr;
  }
  SEDGE_TRY(const List items, items_of(container, budget));
  for (const Value& each : items) {
    SEDGE_TRY(const bool same, equal(each, item, budget));
    if (same) return true;
  }
  return false;
}

Result<Value> call_filter(std::string_view name, const Arguments& arguments, Budget& budget) {
  SEDGE_CHECK(spend_on(arguments, budget));
  const Row* row = find_row(kFilters, name);
  if (row == nullptr) return fail(Code::kUnimplemented, "the filter '{}' is not supported", name);
  return row->call(arguments, budget);
}

Result<bool> call_test(std::string_view name, const Arguments& arguments, Budget& budget) {
  SEDGE_CHECK(spend_on(arguments, budget));
  const Value value = arguments.get(0, ""), other = arguments.get(1, "");
  if (name == "equalto" || name == "eq" || name == "==" || name == "sameas") return equal(value, other, budget);
  if (name == "ne" || name == "!=") {
    SEDGE_TRY(const bool same, equal(value, other, budget));
    return !same;
  }
  if (name == "divisibleby") return other.is_integer() && is_remainder(value, other.integer(), 0);
  if (name == "in") return contains(other, value, budget);
  const auto found = std::ranges::find(kTests, name, &TestRow::name);
  if (found == kTests.end()) return fail(Code::kUnimplemented, "the test '{}' is not supported", name);
  return found->holds(value);
}

bool is_function(std::string_view name) { return find_row(kFunctions, name) != nullptr; }

Result<Value> call_function(std::string_view name, const Arguments& arguments, Budget& budget) {
  SEDGE_CHECK(spend_on(arguments, budget));
  const Row* row = find_row(kFunctions, name);
  if (row == nullptr) return fail(Code::kUnimplemented, "the function '{}' is not supported", name);
  return row->call(arguments, budget);
}

bool is_method(const Value& subject, std::string_view name) { return find_method(subject, name) != nullptr; }

Result<Value> call_method(const Value& subject, std::string_view name, const Arguments& arguments, Budget& budget) {
  const Row* row = find_method(subject, name);
  if (row == nullptr) {
    return fail(Code::kUnimplemented, "the method '{}' of {} is not supported", name, type_name(subject));
  }
  Arguments all{{subject}, arguments.named};
  all.values.insert(all.values.end(), arguments.values.begin(), arguments.values.end());
  SEDGE_CHECK(spend_on(all, budget));
  return row->call(all, budget);
}

}  // namespace sedge::model::jinja
