// The schema stays JSON and is walked with the value beside it. Compiling it into objects first would be faster, but
// an action is 60 bytes and the walk takes microseconds. References may loop (an action holds actions), so the depth of
// the walk is bounded; the value's own depth is bounded by json::parse.
#include "train/heron/schema.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <sstream>

#include <boost/json/string.hpp>

namespace sedge::train::heron {
namespace {

using json::Array;
using json::Object;
using json::Value;

constexpr int kDepthMax = 96;  // three schema levels ($ref, anyOf, property) for each of the 32 that json::parse allows
constexpr std::size_t kTextMax = 200;  // one spoken sentence

std::string_view view(const boost::json::string& text) { return {text.data(), text.size()}; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// A decimal number without sign, leading zeros or a bare point: "0", "20", "2.5". Returns its length, 0 if none.
std::size_t number_length(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size() && is_digit(text[i])) ++i;
  if (i == 0 || i > 6 || (i > 1 && text[0] == '0')) return 0;
  if (i + 1 < text.size() && text[i] == '.' && is_digit(text[i + 1])) {
    for (++i; i < text.size() && is_digit(text[i]);) ++i;
  }
  return i;
}

bool is_quantity(std::string_view text, std::initializer_list<std::string_view> units, bool sign = false) {
  if (sign && !text.empty() && (text[0] == '+' || text[0] == '-')) text.remove_prefix(1);
  const std::size_t digits = number_length(text);
  return digits > 0 && std::ranges::find(units, text.substr(digits)) != units.end();
}

bool is_clock(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return false;
  for (const int i : {0, 1, 3, 4}) {
    if (!is_digit(text[static_cast<std::size_t>(i)])) return false;
  }
  return text.substr(0, 2) < "24" && text.substr(3) < "60";
}

// Words separated by single spaces, none of them upper case: the canonical form of everything copied from a sentence.
bool is_words(std::string_view text, bool spaces) {
  if (text.empty() || text.size() > kTextMax || text.front() == ' ' || text.back() == ' ') return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7F || (c >= 'A' && c <= 'Z') || c == '"' || c == '\\') return false;
    if (c == ' ' && (!spaces || text[i + 1] == ' ')) return false;
  }
  return true;
}

struct Format {
  std::string_view name;
  bool (*test)(std::string_view);
};

constexpr std::array kFormats = {
    Format{"agent", [](std::string_view t) { return is_words(t, false); }},
    Format{"name", [](std::string_view t) { return is_words(t, true); }},
    Format{"text", [](std::string_view t) { return is_words(t, true); }},
    Format{"length", [](std::string_view t) { return is_quantity(t, {" m", " km", " cm", " ft", " mi"}, true); }},
    Format{"speed", [](std::string_view t) { return is_quantity(t, {" m/s", " km/h", " mph", " kn"}); }},
    Format{"duration", [](std::string_view t) { return is_quantity(t, {" s", " min", " h"}); }},
    Format{"angle", [](std::string_view t) { return is_quantity(t, {" deg"}, true); }},
    Format{"percent", [](std::string_view t) { return is_quantity(t, {"%"}); }},
    Format{"clock", is_clock},
};

const Format* find_format(std::string_view name) {
  const auto* found = std::ranges::find(kFormats, name, &Format::name);
  return found == kFormats.end() ? nullptr : found;
}

bool has_type(const Value& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_int64() || value.is_uint64();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_bool();
  return type == "null" && value.is_null();
}

Status bad(const std::string& at, std::string_view why) { return fail(Code::kInvalidArgument, "{}: {}", at, why); }

class Walk {
 public:
  explicit Walk(const Value& root) : root_(root) {}

  Status check(const Value& schema, const Value& value, const std::string& at, int depth) const {
    if (depth > kDepthMax) return bad(at, "nested too deep");
    if (const bool* always = schema.if_bool()) return *always ? Status{} : bad(at, "not allowed");
    const Object& rules = schema.get_object();  // Schema::parse has seen to the shapes
    if (const Value* ref = rules.if_contains("$ref")) {
      SEDGE_CHECK(check(root_.at_pointer(view(ref->get_string()).substr(1)), value, at, depth + 1));
    }
    SEDGE_CHECK(check_scalar(rules, value, at));
    if (const Object* object = value.if_object()) SEDGE_CHECK(check_object(rules, *object, at, depth));
    if (const Array* array = value.if_array()) SEDGE_CHECK(check_array(rules, *array, at, depth));
    if (const Value* any = rules.if_contains("anyOf")) SEDGE_CHECK(check_any(any->get_array(), value, at, depth));
    if (const Value* one = rules.if_contains("oneOf")) return check_one(one->get_array(), value, at, depth);
    return {};
  }

 private:
  static Status check_scalar(const Object& rules, const Value& value, const std::string& at) {
    const Value* rule = rules.if_contains("type");
    if (rule != nullptr && !has_type(value, view(rule->get_string()))) {
      return bad(at, fmt::format("{} is not of type {}", json::write(value), view(rule->get_string())));
    }
    rule = rules.if_contains("const");
    if (rule != nullptr && *rule != value) return bad(at, fmt::format("is not {}", json::write(*rule)));
    rule = rules.if_contains("enum");
    if (rule != nullptr && std::ranges::find(rule->get_array(), value) == rule->get_array().end()) {
      return bad(at, fmt::format("{} is none of {}", json::write(value), json::write(*rule)));
    }
    rule = rules.if_contains("format");
    if (rule != nullptr && value.is_string() && !has_format(view(rule->get_string()), view(value.get_string()))) {
      return bad(at, fmt::format("{} is not a {}", json::write(value), view(rule->get_string())));
    }
    if (!value.is_number()) return {};
    const auto number = value.to_number<double>();
    rule = rules.if_contains("minimum");
    if (rule != nullptr && number < rule->to_number<double>()) return bad(at, "too small");
    rule = rules.if_contains("maximum");
    if (rule != nullptr && number > rule->to_number<double>()) return bad(at, "too large");
    return {};
  }

  static Status check_size(const Object& rules, std::size_t size, const char* least, const char* most,
                           const std::string& at) {
    const Value* rule = rules.if_contains(least);
    if (rule != nullptr && size < rule->to_number<std::size_t>()) return bad(at, fmt::format("{} members", size));
    rule = rules.if_contains(most);
    if (rule != nullptr && size > rule->to_number<std::size_t>()) return bad(at, fmt::format("{} members", size));
    return {};
  }

  Status check_object(const Object& rules, const Object& object, const std::string& at, int depth) const {
    SEDGE_CHECK(check_size(rules, object.size(), "minProperties", "maxProperties", at));
    if (const Value* required = rules.if_contains("required")) {
      for (const Value& key : required->get_array()) {
        if (!object.contains(key.get_string())) return bad(at, fmt::format("'{}' is missing", view(key.get_string())));
      }
    }
    const Value* properties = rules.if_contains("properties");
    const Value* additional = rules.if_contains("additionalProperties");
    for (const auto& [key, member] : object) {
      const Value* rule = properties == nullptr ? nullptr : properties->get_object().if_contains(key);
      if (rule == nullptr) rule = additional;
      if (rule == nullptr) continue;
      SEDGE_CHECK(check(*rule, member, fmt::format("{}.{}", at, std::string_view(key.data(), key.size())), depth + 1));
    }
    return {};
  }

  Status check_array(const Object& rules, const Array& array, const std::string& at, int depth) const {
    SEDGE_CHECK(check_size(rules, array.size(), "minItems", "maxItems", at));
    const Value* items = rules.if_contains("items");
    for (std::size_t i = 0; items != nullptr && i < array.size(); ++i) {
      SEDGE_CHECK(check(*items, array[i], fmt::format("{}[{}]", at, i), depth + 1));
    }
    return {};
  }

  Status check_any(const Array& choices, const Value& value, const std::string& at, int depth) const {
    Status last = bad(at, "matches no alternative");
    for (const Value& choice : choices) {
      last = check(choice, value, at, depth + 1);
      if (last) return {};
    }
    return last;
  }

  // Reports the complaint of the alternative that names the value's own constants (its `do`): every other one could
  // only say that it is about another action.
  Status check_one(const Array& choices, const Value& value, const std::string& at, int depth) const {
    int matches = 0;
    Status last = bad(at, "matches no alternative");
    for (const Value& choice : choices) {
      const Status status = check(choice, value, at, depth + 1);
      if (status) ++matches;
      if (!status && same_constants(choice, value)) last = status;
    }
    if (matches > 1) return bad(at, "matches several alternatives");
    return matches == 1 ? Status{} : last;
  }

  static bool same_constants(const Value& schema, const Value& value) {
    const Value* properties = schema.is_object() ? schema.get_object().if_contains("properties") : nullptr;
    if (properties == nullptr || !value.is_object()) return true;
    for (const auto& [key, rule] : properties->get_object()) {
      const Value* constant = rule.is_object() ? rule.get_object().if_contains("const") : nullptr;
      const Value* member = value.get_object().if_contains(key);
      if (constant != nullptr && (member == nullptr || *member != *constant)) return false;
    }
    return true;
  }

  const Value& root_;
};

// What each keyword must hold, so that Walk may take it for granted.
Status check_schema(const Value& root, const Value& schema, const std::string& at, int depth);

Status check_schemas(const Value& root, const Value& holder, const std::string& at, int depth) {
  if (const Array* array = holder.if_array()) {
    for (const Value& item : *array) SEDGE_CHECK(check_schema(root, item, at, depth + 1));
    return {};
  }
  if (!holder.is_object()) return bad(at, "holds no schemas");
  for (const auto& [key, item] : holder.get_object()) {
    SEDGE_CHECK(
        check_schema(root, item, fmt::format("{}/{}", at, std::string_view(key.data(), key.size())), depth + 1));
  }
  return {};
}

Status check_ref(const Value& root, const Value& ref, const std::string& at) {
  constexpr std::string_view kPrefix = "#/$defs/";  // a direct member of $defs is known to be a schema
  const std::string_view name = ref.is_string() ? view(ref.get_string()) : std::string_view();
  if (!name.starts_with(kPrefix) || name.find('/', kPrefix.size()) != name.npos)
    return bad(at, "is not '#/$defs/NAME'");
  boost::system::error_code error;
  if (root.find_pointer(name.substr(1), error) == nullptr) return bad(at, "points nowhere");
  return {};
}

Status check_keyword(const Value& root, std::string_view key, const Value& rule, const std::string& at, int depth) {
  if (key == "$schema" || key == "title" || key == "description" || key == "const") return {};
  if (key == "$ref") return check_ref(root, rule, at);
  if (key == "type") return rule.is_string() ? Status{} : bad(at, "is not a string");
  if (key == "format") {
    if (rule.is_string() && is_known_format(view(rule.get_string()))) return {};
    return bad(at, "is not a format that we know");
  }
  if (key == "enum") return rule.is_array() ? Status{} : bad(at, "is not an array");
  if (key == "required") {
    if (rule.is_array() && std::ranges::all_of(rule.get_array(), [](const Value& v) { return v.is_string(); }))
      return {};
    return bad(at, "is not an array of strings");
  }
  if (key == "properties" || key == "$defs") {
    return rule.is_object() ? check_schemas(root, rule, at, depth) : bad(at, "is not an object");
  }
  if (key == "oneOf" || key == "anyOf") {
    return rule.is_array() ? check_schemas(root, rule, at, depth) : bad(at, "is not an array");
  }
  if (key == "items" || key == "additionalProperties") return check_schema(root, rule, at, depth + 1);
  if (key == "minimum" || key == "maximum") return rule.is_number() ? Status{} : bad(at, "is not a number");
  if (key == "minItems" || key == "maxItems" || key == "minProperties" || key == "maxProperties") {
    return rule.is_int64() && rule.get_int64() >= 0 ? Status{} : bad(at, "is not a count");
  }
  return bad(at, "is a keyword that we do not know");
}

Status check_schema(const Value& root, const Value& schema, const std::string& at, int depth) {
  if (depth > kDepthMax) return bad(at, "nested too deep");
  if (schema.is_bool()) return {};
  if (!schema.is_object()) return bad(at, "is not a schema");
  for (const auto& [key, rule] : schema.get_object()) {
    const std::string_view name(key.data(), key.size());
    SEDGE_CHECK(check_keyword(root, name, rule, fmt::format("{}/{}", at, name), depth));
  }
  return {};
}

}  // namespace

bool is_known_format(std::string_view format) { return find_format(format) != nullptr; }

bool has_format(std::string_view format, std::string_view text) {
  const Format* found = find_format(format);
  return found != nullptr && found->test(text);
}

Result<Schema> Schema::parse(std::string_view text, std::string_view what) {
  SEDGE_TRY(Value root, json::parse(text, what));
  SEDGE_CHECK(check_schema(root, root, std::string(what) + "#", 0));
  return Schema(std::move(root));
}

Result<Schema> Schema::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Code::kNotFound, "{} cannot be read", path);
  std::ostringstream text;
  text << file.rdbuf();
  return parse(text.str(), path);
}

Status Schema::validate(const Value& value) const { return Walk(root_).check(root_, value, "$", 0); }

}  // namespace sedge::train::heron
