#include "engine/grammar/json_schema.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/grammar/json_text.h"
#include "engine/grammar/regex.h"
#include "engine/grammar/schema_merge.h"

namespace sedge::engine {
namespace {

using Expr = GrammarBuilder::Expr;

constexpr std::size_t kDepthMax = 64, kAlternativesMax = 256;
constexpr std::size_t kReadingMax = 160;        // schemas within schemas, merged ones too: bounds our recursion
constexpr std::size_t kMemberStatesMax = 4096;  // members by how many stand before
constexpr std::size_t kMembersMax = 2000;       // any may come next where all are optional: two ways each, of kWaysMax
constexpr std::uint32_t kCountMax = 1u << 16;   // of characters, items

enum Types : unsigned { kNull = 1, kBoolean = 2, kInteger = 4, kNumber = 8, kString = 16, kArray = 32, kObject = 64 };
constexpr unsigned kAnyType = 127 & ~kInteger;

constexpr std::pair<std::string_view, unsigned> kTypeNames[] = {
    {"null", kNull},     {"boolean", kBoolean}, {"integer", kInteger}, {"number", kNumber},
    {"string", kString}, {"array", kArray},     {"object", kObject}};

// Keywords that are held to, and the types they are about: of other types they say nothing.
constexpr std::pair<std::string_view, unsigned> kKeywords[] = {{"properties", kObject},
                                                               {"required", kObject},
                                                               {"additionalProperties", kObject},
                                                               {"minProperties", kObject},
                                                               {"maxProperties", kObject},
                                                               {"items", kArray},
                                                               {"prefixItems", kArray},
                                                               {"minItems", kArray},
                                                               {"maxItems", kArray},
                                                               {"minLength", kString},
                                                               {"maxLength", kString},
                                                               {"pattern", kString},
                                                               {"format", kString},
                                                               {"minimum", kInteger | kNumber},
                                                               {"maximum", kInteger | kNumber},
                                                               {"exclusiveMinimum", kInteger | kNumber},
                                                               {"exclusiveMaximum", kInteger | kNumber}};

// Formats by their patterns, RFC 3339's dates among them.
constexpr std::string_view kDate =
    "[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|"
    "02-(?:0[1-9]|1[0-9]|2[0-8]))";
constexpr std::string_view kTime =
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
constexpr std::string_view kOctet = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
constexpr std::string_view kLabel = "[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?";

std::optional<std::string> pattern_of(std::string_view format) {
  if (format == "date") return fmt::format("^{}$", kDate);
  if (format == "time") return fmt::format("^{}$", kTime);
  if (format == "date-time") return fmt::format("^{}T{}$", kDate, kTime);
  if (format == "uuid") return "^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
  if (format == "ipv4") return fmt::format("^{0}(?:\\.{0}){{3}}$", kOctet);
  if (format == "hostname") return fmt::format("^{0}(?:\\.{0}){{0,4}}$", kLabel);
  if (format == "email") return fmt::format("^[a-z0-9](?:[._+-]?[a-z0-9]){{0,31}}@{0}(?:\\.{0}){{1,4}}$", kLabel);
  return std::nullopt;
}

std::string_view text_of(const json::Value& value) {
  const auto& text = value.get_string();
  return {text.data(), text.size()};
}

unsigned type_of(const json::Value& value) {
  if (value.is_null()) return kNull;
  if (value.is_bool()) return kBoolean;
  if (value.is_string()) return kString;
  if (value.is_array()) return kArray;
  if (value.is_object()) return kObject;
  const bool whole = !value.is_double() || value.get_double() == std::floor(value.get_double());
  return whole ? kInteger | kNumber : kNumber;
}

class Reader {
 public:
  Reader(GrammarBuilder& builder, JsonText& text) : builder_(builder), text_(text) {}

  Result<Expr> read(const json::Value& document) {
    document_ = &document;
    SEDGE_TRY(const Expr whole, reference("#"));
    for (; !waiting_.empty(); waiting_.pop_front()) {  // what references name becomes a rule each, one by one
      const auto [place, rule] = waiting_.front();
      SEDGE_TRY(const json::Value* const schema, resolve_reference(document, place));
      SEDGE_TRY(const Expr expr, read_schema(*schema, place));
      builder_.define(rule, expr);
    }
    return whole;
  }

 private:
  // Where in the schema, as a JSON pointer: for errors, and rules' names.
  using Place = std::string;
  static Place within(const Place& place, std::string_view part) { return fmt::format("{}/{}", place, part); }
  template <class... Args>
  static std::unexpected<Error> refuse(const Place& place, fmt::format_string<Args...> format, Args&&... args) {
    return fail(Code::kInvalidArgument, "schema {}: {}", place, fmt::format(format, std::forward<Args>(args)...));
  }

  Result<Expr> reference(std::string_view to) {
    SEDGE_TRY(const json::Value* const schema, resolve_reference(*document_, to));
    (void)schema;
    const auto known = rules_.find(to);
    if (known != rules_.end()) return builder_.call(known->second);
    const GrammarBuilder::Rule rule = builder_.declare(to);
    rules_.emplace(to, rule);
    waiting_.emplace_back(to, rule);
    return builder_.call(rule);
  }

  Result<Expr> read_schema(const json::Value& schema, const Place& place);
  Result<Expr> read_object_schema(const json::Object& schema, const Place& place);
  Result<Expr> read_keywords(const json::Object& schema, const Place& place);
  Result<Expr> read_all(const json::Object& schema, const Place& place);
  Result<Expr> read_alternatives(const json::Object& schema, std::string_view keyword, const Place& place);
  Result<json::Value> with_common(const json::Object& common, const json::Value& alternative, const Place& place);
  Result<Expr> read_listed(const json::Object& schema, unsigned types, const Place& place);
  Result<unsigned> read_types(const json::Object& schema, const Place& place);
  Result<Expr> read_type(unsigned type, const json::Object& schema, const Place& place);
  Result<Expr> read_string(const json::Object& schema, const Place& place);
  Result<Expr> read_array(const json::Object& schema, const Place& place);
  Result<Expr> read_object(const json::Object& schema, const Place& place);
  Result<Expr> read_others(const json::Object& schema, const Place& place);
  Result<Expr> members(const std::vector<Expr>& each, const std::vector<bool>& required, std::optional<Expr> other,
                       std::uint32_t min, std::uint32_t max, const Place& place);

  Result<std::uint32_t> read_count(const json::Object& schema, std::string_view name, std::uint32_t otherwise,
                                   const Place& place);
  Result<std::optional<JsonText::Bound>> read_bound(const json::Object& schema, std::string_view closed,
                                                    std::string_view open, bool integer, const Place& place);

  const json::Value* document_ = nullptr;
  std::size_t reading_ = 0;
  GrammarBuilder& builder_;
  JsonText& text_;
  SchemaBudget budget_;
  std::map<std::string, GrammarBuilder::Rule, std::less<>> rules_;
  std::deque<std::pair<Place, GrammarBuilder::Rule>> waiting_;
};

Result<Expr> Reader::read_schema(const json::Value& schema, const Place& place) {
  SEDGE_CHECK(builder_.status());  // each becomes a rule: past the bound of those there is nothing to read for
  if (schema.is_bool() && schema.get_bool()) return text_.value();
  if (schema.is_bool()) return builder_.choice({});
  if (!schema.is_object()) return refuse(place, "a schema is an object, true or false");
  SEDGE_TRY(const Expr expr, read_object_schema(schema.get_object(), place));
  return builder_.shared(place, expr);  // a rule each keeps expressions shallow
}

Result<Expr> Reader::read_object_schema(const json::Object& schema, const Place& place) {
  if (reading_ >= kReadingMax)
    return refuse(place, "over {} schemas within schemas, or references in a circle", kReadingMax);
  ++reading_;
  auto expr = read_keywords(schema, place);
  --reading_;
  return expr;
}

Result<Expr> Reader::read_keywords(const json::Object& schema, const Place& place) {
  if (const auto* to = schema.if_contains("$ref")) {
    if (!to->is_string()) return refuse(place, "'$ref' is a string");
    const auto more = [](const auto& member) { return member.key() != "$ref" && !is_annotation(member.key()); };
    if (std::ranges::any_of(schema, more)) return read_all(schema, place);
    auto called = reference(text_of(*to));
    if (!called) return in_context(fmt::format("schema {}", place), called.error());
    return called;
  }
  if (schema.contains("allOf")) return read_all(schema, place);
  for (const std::string_view keyword : {"anyOf", "oneOf"}) {
    if (schema.contains(keyword)) return read_alternatives(schema, keyword, place);
  }
  SEDGE_TRY(const unsigned types, read_types(schema, place));
  if (schema.contains("const") || schema.contains("enum")) return read_listed(schema, types, place);
  if (types == kAnyType) return text_.value();
  std::vector<Expr> ways;
  for (const auto& [name, type] : kTypeNames) {
    if ((types & type) == 0) continue;
    SEDGE_TRY(ways.emplace_back(), read_type(type, schema, place));
  }
  return builder_.choice(std::move(ways));
}

// Schemas that must all hold, as the one that they make together.
Result<Expr> Reader::read_all(const json::Object& schema, const Place& place) {
  json::Object together = schema;
  json::Array parts;
  if (const auto* all = schema.if_contains("allOf")) {
    if (!all->is_array() || all->get_array().empty()) return refuse(place, "'allOf' is a list of schemas");
    parts = all->get_array();
  }
  if (const auto* to = schema.if_contains("$ref")) parts.insert(parts.begin(), json::Object{{"$ref", *to}});
  together.erase("allOf"), together.erase("$ref");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const json::Value* part = &parts[i];
    for (int hop = 0; hop < 16 && part->is_object() && part->get_object().contains("$ref"); ++hop) {
      const auto& object = part->get_object();
      const json::Value& to = object.at("$ref");
      if (!to.is_string() || object.size() > 1)
        return refuse(place, "what stands beside '$ref' in 'allOf' is not supported");
      auto behind = resolve_reference(*document_, text_of(to));
      if (!behind) return in_context(fmt::format("schema {}", place), behind.error());
      part = *behind;
    }
    if (!part->is_object()) return refuse(place, "'allOf' is a list of schemas that are objects");
    auto merged = merge_schemas(together, part->get_object(), budget_);
    if (!merged) return in_context(fmt::format("schema {}, of all that must hold", place), merged.error());
    together = *std::move(merged);
    if (together.contains("$ref")) return refuse(place, "references in a circle within 'allOf'");
  }
  return read_object_schema(together, place);
}

// An alternative with what holds whichever is taken. What a reference names is merged when it is read.
Result<json::Value> Reader::with_common(const json::Object& common, const json::Value& alternative,
                                        const Place& place) {
  if (common.empty()) return alternative;
  if (!alternative.is_object()) return refuse(place, "a schema that is an object is needed here");
  json::Object own = alternative.get_object();
  const json::Value* const to = own.if_contains("$ref");
  const std::optional<json::Value> reference = to != nullptr ? std::optional(*to) : std::nullopt;
  own.erase("$ref");
  auto merged = merge_schemas(common, own, budget_);
  if (!merged) return in_context(fmt::format("schema {}", place), merged.error());
  if (reference) (*merged)["$ref"] = *reference;
  return json::Value(*std::move(merged));
}

Result<Expr> Reader::read_alternatives(const json::Object& schema, std::string_view keyword, const Place& place) {
  const auto* list = schema.at(keyword).if_array();
  if (list == nullptr || list->empty() || list->size() > kAlternativesMax) {
    return refuse(place, "'{}' is a list of 1 to {} schemas", keyword, kAlternativesMax);
  }
  json::Object common;  // what holds whichever is taken
  for (const auto& member : schema) {
    if (member.key() != keyword && !is_annotation(member.key())) common.insert(member);
  }
  std::vector<json::Value> each;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const Place at = fmt::format("{}/{}/{}", place, keyword, i);
    SEDGE_TRY(each.emplace_back(), with_common(common, (*list)[i], at));
    for (std::size_t j = 0; keyword == "oneOf" && j < i; ++j) {
      if (never_both(*document_, each[i], each[j], budget_)) continue;
      return refuse(at, "it cannot be told from number {}, and 'oneOf' allows exactly one; write 'anyOf'", j);
    }
  }
  std::vector<Expr> ways;
  for (std::size_t i = 0; i < each.size(); ++i) {
    SEDGE_TRY(ways.emplace_back(), read_schema(each[i], fmt::format("{}/{}/{}", place, keyword, i)));
  }
  return builder_.choice(std::move(ways));
}

Result<Expr> Reader::read_listed(const json::Object& schema, unsigned types, const Place& place) {
  for (const auto& [keyword, about] : kKeywords) {
    if (schema.contains(keyword)) return refuse(place, "'{}' beside 'enum' or 'const' is not supported", keyword);
  }
  if (schema.contains("const") && schema.contains("enum"))
    return refuse(place, "'const' beside 'enum' is not supported");
  std::vector<std::string> texts;
  const auto add = [&](const json::Value& value) {
    if ((type_of(value) & types) != 0) texts.push_back(plain_text(value));
  };
  if (const auto* only = schema.if_contains("const")) {
    add(*only);
  } else {
    const auto* list = schema.at("enum").if_array();
    if (list == nullptr) return refuse(place, "'enum' is a list");
    for (const json::Value& value : *list) add(value);
  }
  return text_.one_of(std::move(texts));
}

// The types that are declared, or that the keywords are about; and no keyword that is not held to.
Result<unsigned> Reader::read_types(const json::Object& schema, const Place& place) {
  unsigned declared = 0, about = 0;
  for (const auto& member : schema) {
    const std::string_view name = member.key();
    if (is_annotation(name) || name == "type" || name == "enum" || name == "const") continue;
    const auto* const known = std::ranges::find(kKeywords, name, &std::pair<std::string_view, unsigned>::first);
    const bool neutral = name == "uniqueItems" && member.value().is_bool() && !member.value().get_bool();
    if (known == std::end(kKeywords) && !neutral) return refuse(place, "'{}' is not supported", name);
    if (!neutral) about |= known->second;
  }
  const auto* type = schema.if_contains("type");
  if (type == nullptr) return about == 0 ? kAnyType : (about & kNumber) != 0 ? about & ~unsigned{kInteger} : about;
  const json::Array one = {*type};
  for (const json::Value& each : type->is_array() ? type->get_array() : one) {
    const auto* const known = std::ranges::find_if(
        kTypeNames, [&](const auto& name) { return each.is_string() && text_of(each) == name.first; });
    if (known == std::end(kTypeNames)) return refuse(place, "'type' is none of JSON's");
    declared |= known->second;
  }
  if (declared == 0) return refuse(place, "'type' lists no type");
  return (declared & kNumber) != 0 ? declared & ~unsigned{kInteger} : declared;
}

Result<Expr> Reader::read_type(unsigned type, const json::Object& schema, const Place& place) {
  switch (type) {
    case kNull:
      return text_.null();
    case kBoolean:
      return text_.boolean();
    case kString:
      return read_string(schema, place);
    case kArray:
      return read_array(schema, place);
    case kObject:
      return read_object(schema, place);
    default:
      break;
  }
  const bool integer = type == kInteger;
  SEDGE_TRY(const auto min, read_bound(schema, "minimum", "exclusiveMinimum", integer, place));
  SEDGE_TRY(const auto max, read_bound(schema, "maximum", "exclusiveMaximum", integer, place));
  if (!integer) return text_.number(min, max);
  const auto closed = [](const auto& bound, int inward) {
    return bound ? std::optional<std::int64_t>(bound->value + (bound->open ? inward : 0)) : std::nullopt;
  };
  return text_.integer(closed(min, 1), closed(max, -1));
}

// Whole numbers within 64 bits are taken as they are. A bound beyond them is drawn in to their edge where that only
// leaves fewer numbers, and refused where it would let others pass.
Result<std::optional<JsonText::Bound>> Reader::read_bound(const json::Object& schema, std::string_view closed,
                                                          std::string_view open, bool integer, const Place& place) {
  constexpr std::int64_t kEdge = std::numeric_limits<std::int64_t>::max() - 1;  // an open bound steps one further
  if (schema.contains(closed) && schema.contains(open)) return refuse(place, "both '{}' and '{}'", closed, open);
  const bool is_open = schema.contains(open), lower = closed == "minimum";
  const auto* value = schema.if_contains(is_open ? open : closed);
  if (value == nullptr) return std::nullopt;
  const std::string_view name = is_open ? open : closed;
  if (!value->is_number()) return refuse(place, "'{}' is a number", name);
  const double number = value->to_number<double>();
  const bool whole = number == std::floor(number);
  if (!whole && !integer) return refuse(place, "'{}' of a number must be whole to be held to", name);
  // Of whole numbers, those on the inner side of a fraction; then it is no bound of its own any more.
  const double inner = lower ? std::ceil(number) : std::floor(number);
  const bool fits =
      value->is_int64() ? value->get_int64() <= kEdge && value->get_int64() >= -kEdge : std::abs(inner) < 0x1p63;
  if (!fits && lower == (number > 0)) return refuse(place, "'{}' is beyond what 64 bits hold", name);
  if (!fits) return JsonText::Bound{lower ? -kEdge : kEdge, false};
  return JsonText::Bound{value->is_int64() ? value->get_int64() : static_cast<std::int64_t>(inner), is_open && whole};
}

Result<std::uint32_t> Reader::read_count(const json::Object& schema, std::string_view name, std::uint32_t otherwise,
                                         const Place& place) {
  const auto* value = schema.if_contains(name);
  if (value == nullptr) return otherwise;
  const double count = value->is_number() ? value->to_number<double>() : -1;
  if (count < 0 || count != std::floor(count)) return refuse(place, "'{}' is a whole number from 0", name);
  if (count > kCountMax) return refuse(place, "'{}' is {} at most", name, kCountMax);
  return static_cast<std::uint32_t>(count);
}

Result<Expr> Reader::read_string(const json::Object& schema, const Place& place) {
  SEDGE_TRY(const std::uint32_t min, read_count(schema, "minLength", 0, place));
  SEDGE_TRY(const std::uint32_t max, read_count(schema, "maxLength", GrammarBuilder::kNoLimit, place));
  std::optional<std::string> regex;  // of a format that is held to, or the pattern
  for (const std::string_view name : {"format", "pattern"}) {
    const auto* value = schema.if_contains(name);
    if (value == nullptr) continue;
    if (!value->is_string()) return refuse(place, "'{}' is a string", name);
    auto meant = name == "pattern" ? std::optional(std::string(text_of(*value))) : pattern_of(text_of(*value));
    if (!meant) continue;  // a name of the schema's own: a remark, as the specification has it
    if (regex || schema.contains("minLength") || schema.contains("maxLength")) {
      return refuse(place, "only one of 'pattern', 'format' and lengths is supported");
    }
    regex = std::move(meant);
  }
  if (!regex) {
    if (max < min) return refuse(place, "'maxLength' is below 'minLength'");
    return text_.string(builder_.repeat(text_.character(), min, max));
  }
  auto inside = read_regex(*regex, builder_, [&](const CodeSet& set) { return text_.spelled(set); });
  if (!inside) return in_context(fmt::format("schema {}", place), inside.error());
  return text_.string(*inside);
}

Result<Expr> Reader::read_array(const json::Object& schema, const Place& place) {
  SEDGE_TRY(const std::uint32_t min, read_count(schema, "minItems", 0, place));
  SEDGE_TRY(std::uint32_t max, read_count(schema, "maxItems", GrammarBuilder::kNoLimit, place));
  const auto* prefix = schema.if_contains("prefixItems");
  const auto* items = schema.if_contains("items");
  if (prefix != nullptr && (!prefix->is_array() || prefix->get_array().empty())) {
    return refuse(place, "'prefixItems' is a list of schemas");
  }
  const std::size_t first = prefix != nullptr ? prefix->get_array().size() : 0;
  const bool none_after = items != nullptr && items->is_bool() && !items->get_bool();
  // Left open what follows the first ones, nothing follows, unless it must.
  if (none_after || (prefix != nullptr && items == nullptr && min <= first)) {
    max = std::min(max, static_cast<std::uint32_t>(first));
  }
  if (max < min) return refuse(place, "no array has {} to {} items", min, max);
  Expr item = builder_.nothing();
  if (max > first) {
    SEDGE_TRY(item, items == nullptr ? Result<Expr>(text_.value()) : read_schema(*items, within(place, "items")));
  }
  if (first == 0) return text_.array(text_.list(item, min, max));

  const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(first, max));
  const auto beyond = [&](std::uint32_t bound) { return bound > count ? bound - count : 0; };
  Expr rest = builder_.nothing();
  if (max > first) {
    rest = builder_.repeat(builder_.sequence({text_.comma(), item}), beyond(min),
                           max == GrammarBuilder::kNoLimit ? max : beyond(max));
  }
  for (std::uint32_t i = count; i-- > 0;) {  // from the last one on, each with all that follows it
    const Place at = fmt::format("{}/prefixItems/{}", place, i);
    SEDGE_TRY(const Expr one, read_schema(prefix->get_array()[i], at));
    rest = builder_.sequence({i > 0 ? text_.comma() : builder_.nothing(), one, rest});
    if (i >= min) rest = builder_.optional(rest);
    rest = builder_.shared(at + " on", rest);
  }
  return text_.array(rest);
}

// What members that `properties` does not name may be.
Result<Expr> Reader::read_others(const json::Object& schema, const Place& place) {
  const auto* others = schema.if_contains("additionalProperties");
  return others == nullptr ? Result<Expr>(text_.value()) : read_schema(*others, within(place, "additionalProperties"));
}

Result<Expr> Reader::read_object(const json::Object& schema, const Place& place) {
  static const json::Object kNone;
  const auto* properties = schema.if_contains("properties");
  if (properties != nullptr && !properties->is_object()) return refuse(place, "'properties' is an object");
  std::set<std::string, std::less<>> required;
  if (const auto* list = schema.if_contains("required")) {
    const bool right = list->is_array() && std::ranges::all_of(list->get_array(), &json::Value::is_string);
    if (!right) return refuse(place, "'required' is a list of names");
    for (const json::Value& name : list->get_array()) required.emplace(text_of(name));
  }
  std::vector<std::string_view> names;
  std::vector<Expr> each;
  std::vector<bool> must;
  const auto add = [&](std::string_view name, Expr value, bool needed) {
    names.push_back(name);
    const Expr quoted = builder_.literal(json::write(json::Value(name)));
    each.push_back(builder_.shared(within(place, name), builder_.sequence({quoted, text_.colon(), value})));
    must.push_back(needed);
  };
  for (const auto& member : properties != nullptr ? properties->get_object() : kNone) {
    const Place at = fmt::format("{}/properties/{}", place, std::string_view(member.key()));
    const bool never = member.value().is_bool() && !member.value().get_bool();
    const auto needed = required.extract(std::string(member.key()));
    if (never && needed) return builder_.choice({});  // an alternative, perhaps, that is never taken
    if (never) {
      names.push_back(member.key());
      continue;
    }
    SEDGE_TRY(const Expr value, read_schema(member.value(), at));
    add(member.key(), value, !needed.empty());
  }
  const auto* others = schema.if_contains("additionalProperties");
  const bool closed = others == nullptr ? properties != nullptr || schema.contains("required")
                                        : others->is_bool() && !others->get_bool();
  std::optional<Expr> other;
  if (!closed || !required.empty()) {  // read once, however many names stand in `required` alone
    SEDGE_TRY(const Expr value, read_others(schema, place));
    for (const std::string& name : required) add(name, value, true);
    if (!closed) other = builder_.sequence({text_.other_name(names), text_.colon(), value});
  }
  SEDGE_TRY(const std::uint32_t min, read_count(schema, "minProperties", 0, place));
  SEDGE_TRY(const std::uint32_t max, read_count(schema, "maxProperties", GrammarBuilder::kNoLimit, place));
  SEDGE_TRY(const Expr inside, members(each, must, other, min, max, place));
  return text_.object(inside);
}

// Members in their order, the optional ones left out or not, commas between those that are there. Told from the end, a
// rule for each member and number of those before it (up to the number that matters), so that nothing is written twice.
// A rule says what comes from its member on, the comma already written: one comma, not one for each that may follow.
Result<Expr> Reader::members(const std::vector<Expr>& each, const std::vector<bool>& required,
                             std::optional<Expr> other, std::uint32_t min, std::uint32_t max, const Place& place) {
  if (!other && max >= each.size()) max = GrammarBuilder::kNoLimit;
  const std::uint32_t most = max != GrammarBuilder::kNoLimit ? max : min;
  if (each.size() > kMembersMax) return refuse(place, "{} members, at most {} are taken", each.size(), kMembersMax);
  if ((each.size() + 1) * (most + std::size_t{1}) > kMemberStatesMax) {
    return refuse(place, "'minProperties' and 'maxProperties' are too large for {} members", each.size());
  }
  const bool open = max == GrammarBuilder::kNoLimit;
  std::vector<std::optional<Expr>> next(most + 1);  // by how many stand before; nothing: none can come and end well
  for (std::uint32_t before = 0; before <= most && other; ++before) {
    const std::uint32_t need = min > before ? min - before : 1;
    if (open || before < max) next[before] = text_.list(*other, need, open ? max : max - before);
  }
  bool may_end = true;  // of the members from here on none is required
  const auto with_end = [&](std::uint32_t before, std::optional<Expr> more) {
    if (!may_end || before < min) return more;
    return std::optional(more ? builder_.optional(*more) : builder_.nothing());
  };
  for (std::size_t i = each.size(); i-- > 0;) {
    for (std::uint32_t before = 0; before <= most; ++before) {  // ascending: the next number is still the one behind
      const std::uint32_t with = open ? std::min(before + 1, most) : before + 1;
      std::vector<Expr> ways;
      if (with <= most) {
        const auto& behind = next[with];
        const auto rest =
            with_end(with, behind ? std::optional(builder_.sequence({text_.comma(), *behind})) : std::nullopt);
        if (rest) ways.push_back(builder_.sequence({each[i], *rest}));
      }
      if (!required[i] && next[before]) ways.push_back(*next[before]);
      next[before] = ways.empty() ? std::nullopt : std::optional(builder_.shared("members", builder_.choice(ways)));
    }
    may_end = may_end && !required[i];
  }
  const auto all = with_end(0, next[0]);
  if (!all || max < min) return refuse(place, "'minProperties' and 'maxProperties' leave no object");
  return *all;
}

}  // namespace

Result<GrammarBuilder::Expr> add_json_schema(const json::Value& schema, GrammarBuilder& builder, JsonText& writing) {
  return Reader(builder, writing).read(schema);
}

Result<std::shared_ptr<const Grammar>> read_json_schema(std::string_view text) {
  if (text.size() > kGrammarBytesMax) {
    return fail(Code::kInvalidArgument, "the schema has {} bytes, at most {} are taken", text.size(), kGrammarBytesMax);
  }
  auto document = json::parse(text, "the schema", {.depth_max = kDepthMax, .bytes_max = kGrammarBytesMax});
  if (!document) return fail(Code::kInvalidArgument, "{}", document.error().message);
  GrammarBuilder builder;
  JsonText writing(builder);
  SEDGE_CHECK(add_json_schema(*document, builder, writing));
  return builder.build();
}

Result<std::shared_ptr<const Grammar>> json_object_grammar() { return read_json_schema(R"({"type": "object"})"); }

}  // namespace sedge::engine
