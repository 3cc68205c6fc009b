// For tests: texts of a grammar by chance, and a judge of JSON.
//
// The judge is one of JSON texts that shares nothing with the grammars it judges: the text parsed, and the schema's
// keywords asked one by one of the value. Slow and plain.
#pragma once

#include <algorithm>
#include <cmath>
#include <compare>
#include <memory>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/prng.h"
#include "engine/grammar/matcher.h"

namespace sedge::engine {

// One byte after the other, each the first that may follow from a drawn one on, until a whole text is there and a coin
// says so, or 2,000 bytes are. Nothing: there was no way on, which never is.
inline std::optional<std::string> random_text(const std::shared_ptr<const Grammar>& grammar, Prng& prng) {
  Matcher matcher(grammar);
  std::string text;
  while (text.size() < 2000) {
    const std::size_t before = text.size();
    if (matcher.finished() || (matcher.complete() && prng.below(4) == 0)) return text;
    const std::uint64_t start = prng.below(256);
    for (std::uint64_t tries = 0; tries < 256; ++tries) {
      const char byte = static_cast<char>(start + tries);
      if (!matcher.advance({&byte, 1})) continue;
      text += byte;
      break;
    }
    if (text.size() == before) return std::nullopt;
  }
  return text;
}

class SchemaJudge {
 public:
  explicit SchemaJudge(std::string_view schema) : document_(json::parse(schema, "the schema").value()) {}

  // Empty: the text satisfies the schema.
  std::string complaint(std::string_view text) const {
    const auto value = json::parse(text, "the text", {.depth_max = 512});
    if (!value) return value.error().message;
    return judge(document_, *value) ? "" : "the schema is not satisfied";
  }

 private:
  static std::string_view text_of(const json::Value& value) {
    return {value.get_string().data(), value.get_string().size()};
  }
  static std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
  }

  static bool is_type(std::string_view type, const json::Value& v) {
    if (type == "integer") return v.is_number() && v.to_number<double>() == std::floor(v.to_number<double>());
    return (type == "null" && v.is_null()) || (type == "boolean" && v.is_bool()) ||
           (type == "string" && v.is_string()) || (type == "number" && v.is_number()) ||
           (type == "array" && v.is_array()) || (type == "object" && v.is_object());
  }

  // The parser reads a number of many digits to the nearest double but one or two.
  static bool same(const json::Value& a, const json::Value& b) {
    if (a.is_double() && b.is_double()) return std::abs(a.get_double() / b.get_double() - 1) < 1e-15 || a == b;
    if (a.is_array() && b.is_array()) return std::ranges::equal(a.get_array(), b.get_array(), same);
    if (!a.is_object() || !b.is_object() || a.get_object().size() != b.get_object().size()) return a == b;
    return std::ranges::all_of(a.get_object(), [&](const auto& member) {
      const auto* other = b.get_object().if_contains(member.key());
      return other != nullptr && same(member.value(), *other);
    });
  }

  bool judge(const json::Value& schema, const json::Value& v) const {
    if (schema.is_bool()) return schema.get_bool();
    const json::Object& s = schema.get_object();
    const auto has = [&](const char* name) { return s.if_contains(name); };
    if (const auto* to = has("$ref"); to && !judge(behind(text_of(*to)), v)) return false;
    if (const auto* type = has("type")) {
      const json::Array one = {*type};
      const json::Array& types = type->is_array() ? type->get_array() : one;
      if (std::ranges::none_of(types, [&](const auto& t) { return is_type(text_of(t), v); })) return false;
    }
    const auto is_v = [&](const json::Value& each) { return same(each, v); };
    if (const auto* only = has("const"); only && !is_v(*only)) return false;
    if (const auto* list = has("enum"); list && std::ranges::none_of(list->get_array(), is_v)) return false;
    const auto count = [&](const char* name) {
      return std::ranges::count_if(has(name)->get_array(), [&](const auto& each) { return judge(each, v); });
    };
    if (has("anyOf") && count("anyOf") == 0) return false;
    if (has("oneOf") && count("oneOf") != 1) return false;
    if (const auto* all = has("allOf"); all && count("allOf") != std::ssize(all->get_array())) return false;
    if (v.is_string()) return judge_string(s, text_of(v));
    if (v.is_number()) return judge_number(s, v);
    if (v.is_array()) return judge_array(s, v.get_array());
    return !v.is_object() || judge_object(s, v.get_object());
  }

  const json::Value& behind(std::string_view reference) const {
    return reference == "#" ? document_ : document_.at_pointer(reference.substr(1));
  }

  static bool judge_string(const json::Object& s, std::string_view text) {
    const auto length = static_cast<double>(characters(text));
    if (const auto* min = s.if_contains("minLength"); min && length < min->to_number<double>()) return false;
    if (const auto* max = s.if_contains("maxLength"); max && length > max->to_number<double>()) return false;
    const auto matches = [&](const std::string& pattern) {
      return std::regex_search(text.begin(), text.end(), std::regex(pattern, std::regex::ECMAScript));
    };
    if (const auto* pattern = s.if_contains("pattern"); pattern && !matches(std::string(text_of(*pattern))))
      return false;
    const auto* format = s.if_contains("format");
    if (format == nullptr) return true;
    if (text_of(*format) == "uuid") return matches("^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$");
    if (text_of(*format) == "date") return text.size() == 10 && is_date(text);
    if (text_of(*format) == "date-time") {
      return text.size() >= 20 && is_date(text.substr(0, 10)) &&
             std::regex_match(std::string(text.substr(10)), std::regex(R"(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))"));
    }
    return true;
  }

  static bool is_date(std::string_view text) {
    const auto number = [&](std::size_t at, std::size_t count) {
      return std::stoi(std::string(text.substr(at, count)));
    };
    static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int month = number(5, 2), day = number(8, 2);
    return text[4] == '-' && text[7] == '-' && month >= 1 && month <= 12 && day >= 1 && day <= kDays[month - 1];
  }

  static std::optional<std::int64_t> whole(const json::Value& value) {
    if (value.is_int64()) return value.get_int64();
    const double number = value.to_number<double>();
    if (!value.is_double() || number != std::floor(number) || std::abs(number) >= 0x1p63) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }

  // Whole numbers exactly.
  static std::partial_ordering compare(const json::Value& a, const json::Value& b) {
    const auto left = whole(a), right = whole(b);
    if (left && right) return *left <=> *right;
    return a.to_number<double>() <=> b.to_number<double>();
  }

  static bool judge_number(const json::Object& s, const json::Value& number) {
    const auto holds = [&](const char* name, auto right) {
      const auto* bound = s.if_contains(name);
      return bound == nullptr || right(compare(number, *bound));
    };
    return std::isfinite(number.to_number<double>()) && holds("minimum", [](auto order) { return order >= 0; }) &&
           holds("maximum", [](auto order) { return order <= 0; }) &&
           holds("exclusiveMinimum", [](auto order) { return order > 0; }) &&
           holds("exclusiveMaximum", [](auto order) { return order < 0; });
  }

  bool judge_array(const json::Object& s, const json::Array& items) const {
    const auto size = static_cast<double>(items.size());
    if (const auto* min = s.if_contains("minItems"); min && size < min->to_number<double>()) return false;
    if (const auto* max = s.if_contains("maxItems"); max && size > max->to_number<double>()) return false;
    const auto* prefix = s.if_contains("prefixItems");
    const auto* rest = s.if_contains("items");
    for (std::size_t i = 0; i < items.size(); ++i) {
      const bool first = prefix != nullptr && i < prefix->get_array().size();
      if (first && !judge(prefix->get_array()[i], items[i])) return false;
      if (!first && rest != nullptr && !judge(*rest, items[i])) return false;
    }
    return true;
  }

  bool judge_object(const json::Object& s, const json::Object& members) const {
    if (const auto* required = s.if_contains("required")) {
      for (const auto& name : required->get_array()) {
        if (!members.contains(name.get_string())) return false;
      }
    }
    const auto size = static_cast<double>(members.size());
    if (const auto* min = s.if_contains("minProperties"); min && size < min->to_number<double>()) return false;
    if (const auto* max = s.if_contains("maxProperties"); max && size > max->to_number<double>()) return false;
    const auto* properties = s.if_contains("properties");
    const auto* others = s.if_contains("additionalProperties");
    return std::ranges::all_of(members, [&](const auto& member) {
      const auto* known = properties ? properties->get_object().if_contains(member.key()) : nullptr;
      if (known != nullptr) return judge(*known, member.value());
      return others == nullptr || judge(*others, member.value());
    });
  }

  json::Value document_;
};

}  // namespace sedge::engine
