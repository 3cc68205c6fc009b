#include "engine/grammar/schema_merge.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace sedge::engine {
namespace {

constexpr int kHopsMax = 16;  // of references to references

std::string_view text_of(const json::Value& value) {
  const auto& text = value.get_string();
  return {text.data(), text.size()};
}

const json::Value* step(const json::Value& at, const std::string& name) {
  if (const auto* object = at.if_object()) return object->if_contains(name);
  const auto* array = at.if_array();
  if (array == nullptr || name.empty() || name.size() > 6) return nullptr;
  if (name.find_first_not_of("0123456789") != std::string::npos) return nullptr;
  return array->if_contains(static_cast<std::size_t>(std::stoul(name)));
}

// The schema itself, references followed; null where that leads nowhere.
const json::Object* object_behind(const json::Value& document, const json::Value* schema) {
  for (int hop = 0; hop < kHopsMax && schema != nullptr; ++hop) {
    const auto* object = schema->if_object();
    const auto* reference = object != nullptr ? object->if_contains("$ref") : nullptr;
    if (reference == nullptr || !reference->is_string()) return object;
    schema = resolve_reference(document, text_of(*reference)).value_or(nullptr);
  }
  return nullptr;
}

// The values that a schema lists, where it lists them.
std::optional<std::vector<const json::Value*>> listed(const json::Object& schema) {
  std::vector<const json::Value*> values;
  if (const auto* only = schema.if_contains("const")) return values.push_back(only), values;
  const auto* list = schema.if_contains("enum");
  if (list == nullptr || !list->is_array()) return std::nullopt;
  for (const json::Value& value : list->get_array()) values.push_back(&value);
  return values;
}

// The types that a schema declares, "integer" told as "number"; none: it declares none.
std::vector<std::string_view> declared_types(const json::Object& schema) {
  std::vector<std::string_view> types;
  const auto add = [&](const json::Value& value) {
    if (value.is_string()) types.push_back(text_of(value) == "integer" ? std::string_view("number") : text_of(value));
  };
  const auto* type = schema.if_contains("type");
  if (type != nullptr && type->is_array()) {
    for (const json::Value& each : type->get_array()) add(each);
  } else if (type != nullptr) {
    add(*type);
  }
  return types;
}

bool requires_member(const json::Object& schema, std::string_view name) {
  const auto* required = schema.if_contains("required");
  return required != nullptr && required->is_array() &&
         std::ranges::any_of(required->get_array(),
                             [&](const json::Value& each) { return each.is_string() && text_of(each) == name; });
}

bool lists_apart(const json::Object& a, const json::Object& b, SchemaBudget& budget) {
  const auto left = listed(a), right = listed(b);
  if (!left || !right) return false;
  const std::size_t cost = left->size() * right->size() + left->size() + right->size();
  if (cost > budget.compared) return false;
  budget.compared -= cost;
  return std::ranges::none_of(*left, [&](const json::Value* value) {
    return std::ranges::any_of(*right, [&](const json::Value* other) { return *value == *other; });
  });
}

std::size_t size_of(const json::Value& value) {
  std::size_t size = 1;
  if (const auto* object = value.if_object()) {
    for (const auto& member : *object) size += 1 + member.key().size() / 16 + size_of(member.value());
  } else if (const auto* array = value.if_array()) {
    for (const json::Value& each : *array) size += size_of(each);
  } else if (value.is_string()) {
    size += value.get_string().size() / 16;
  }
  return size;
}

Result<json::Value> merge_values(const json::Value& a, const json::Value& b, SchemaBudget& budget);

// What holds for a member under one schema: its own, else that of members not named, else anything.
const json::Value& schema_of(const json::Object& schema, std::string_view name) {
  static const json::Value kAnything(true);
  const auto* properties = schema.if_contains("properties");
  const auto* own =
      properties != nullptr && properties->is_object() ? properties->get_object().if_contains(name) : nullptr;
  if (own != nullptr) return *own;
  const auto* others = schema.if_contains("additionalProperties");
  return others != nullptr ? *others : kAnything;
}

Status merge_members(json::Object& merged, const json::Object& a, const json::Object& b, SchemaBudget& budget) {
  json::Object members;
  for (const auto* each : {&a, &b}) {
    const auto* properties = each->if_contains("properties");
    if (properties == nullptr || !properties->is_object()) continue;
    for (const auto& member : properties->get_object()) {
      if (members.contains(member.key())) continue;
      auto both = merge_values(schema_of(a, member.key()), schema_of(b, member.key()), budget);
      if (!both) return in_context(std::string(member.key()), both.error());
      members[member.key()] = *std::move(both);
    }
  }
  if (!members.empty()) merged["properties"] = std::move(members);
  if (a.contains("additionalProperties") && b.contains("additionalProperties")) {
    SEDGE_TRY(merged["additionalProperties"],
              merge_values(a.at("additionalProperties"), b.at("additionalProperties"), budget));
  }
  return {};
}

// Both schemas' values, where each lists some.
Status merge_listed(json::Object& merged, const json::Object& a, const json::Object& b, SchemaBudget& budget) {
  const auto left = listed(a), right = listed(b);
  if (!left || !right) return {};
  if (left->size() * right->size() > budget.compared) return fail(Code::kResourceExhausted, "too many listed values");
  budget.compared -= left->size() * right->size();
  json::Array common;
  for (const json::Value* value : *left) {
    if (std::ranges::any_of(*right, [&](const json::Value* other) { return *value == *other; }))
      common.push_back(*value);
  }
  merged.erase("const");
  merged["enum"] = std::move(common);
  return {};
}

// Bounds: the narrower one holds.
bool merge_bound(std::string_view name, json::Value& a, const json::Value& b) {
  static constexpr std::string_view kLow[] = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"};
  static constexpr std::string_view kHigh[] = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"};
  const bool low = std::ranges::find(kLow, name) != std::end(kLow);
  const bool high = std::ranges::find(kHigh, name) != std::end(kHigh);
  if ((!low && !high) || !a.is_number() || !b.is_number()) return false;
  const bool larger = b.to_number<double>() > a.to_number<double>();
  if (larger == low) a = b;
  return true;
}

Result<json::Value> merge_values(const json::Value& a, const json::Value& b, SchemaBudget& budget) {
  const auto is = [](const json::Value& value, bool what) { return value.is_bool() && value.get_bool() == what; };
  if (is(a, true) || is(b, false) || a == b) return b;
  if (is(b, true) || is(a, false)) return a;
  if (!a.is_object() || !b.is_object() || a.get_object().contains("$ref") || b.get_object().contains("$ref")) {
    return fail(Code::kInvalidArgument, "two different schemas must hold at once");
  }
  SEDGE_TRY(json::Object merged, merge_schemas(a.get_object(), b.get_object(), budget));
  return json::Value(std::move(merged));
}

}  // namespace

bool is_annotation(std::string_view keyword) {
  static constexpr std::string_view kAnnotations[] = {"title",      "description", "default",   "examples",
                                                      "deprecated", "readOnly",    "writeOnly", "$schema",
                                                      "$id",        "$comment",    "$defs",     "definitions"};
  return std::ranges::find(kAnnotations, keyword) != std::end(kAnnotations);
}

Result<const json::Value*> resolve_reference(const json::Value& document, std::string_view reference) {
  const auto refuse = [&] { return fail(Code::kInvalidArgument, "'$ref' {} names nothing in this schema", reference); };
  if (!reference.starts_with('#') || reference.find('%') != std::string_view::npos) return refuse();
  const json::Value* at = &document;
  std::string_view rest = reference.substr(1);
  while (!rest.empty()) {
    if (rest[0] != '/') return refuse();
    const std::size_t end = std::min(rest.find('/', 1), rest.size());
    std::string name;
    for (std::size_t i = 1; i < end; ++i) {
      const bool escape = rest[i] == '~' && i + 1 < end && (rest[i + 1] == '0' || rest[i + 1] == '1');
      name += escape ? (rest[++i] == '0' ? '~' : '/') : rest[i];
    }
    at = step(*at, name);
    if (at == nullptr) return refuse();
    rest.remove_prefix(end);
  }
  return at;
}

Result<json::Object> merge_schemas(const json::Object& a, const json::Object& b, SchemaBudget& budget) {
  std::size_t cost = 0;
  for (const auto* each : {&a, &b}) {
    for (const auto& member : *each) cost += 1 + size_of(member.value());
  }
  if (cost > budget.copied) {
    return fail(Code::kResourceExhausted, "schemas that must hold together grow too large; write them as one");
  }
  budget.copied -= cost;
  json::Object merged = a;
  for (const auto& [name, value] : b) {
    if (is_annotation(name) || name == "properties") continue;
    const auto [at, made] = merged.emplace(name, value);
    if (made || at->value() == value || name == "additionalProperties" || name == "const" || name == "enum") continue;
    if (name == "required" && at->value().is_array() && value.is_array()) {
      auto& list = at->value().get_array();  // a name that comes twice is one
      list.insert(list.end(), value.get_array().begin(), value.get_array().end());
    } else if (!merge_bound(name, at->value(), value)) {
      return fail(Code::kInvalidArgument, "two different '{}' must hold at once", std::string_view(name));
    }
  }
  SEDGE_CHECK(merge_members(merged, a, b, budget));
  SEDGE_CHECK(merge_listed(merged, a, b, budget));
  return merged;
}

bool never_both(const json::Value& document, const json::Value& a, const json::Value& b, SchemaBudget& budget) {
  const auto* left = object_behind(document, &a);
  const auto* right = object_behind(document, &b);
  if (left == nullptr || right == nullptr) return false;
  if (lists_apart(*left, *right, budget)) return true;
  const auto left_types = declared_types(*left), right_types = declared_types(*right);
  if (!left_types.empty() && !right_types.empty() && std::ranges::none_of(left_types, [&](auto each) {
        return std::ranges::find(right_types, each) != right_types.end();
      })) {
    return true;
  }
  const auto* properties = left->if_contains("properties");
  const auto* others = right->if_contains("properties");
  if (properties == nullptr || others == nullptr || !properties->is_object() || !others->is_object()) return false;
  return std::ranges::any_of(properties->get_object(), [&](const auto& member) {
    const auto* other = others->get_object().if_contains(member.key());
    if (other == nullptr || !requires_member(*left, member.key()) || !requires_member(*right, member.key()))
      return false;
    const auto* one = object_behind(document, &member.value());
    const auto* two = object_behind(document, other);
    return one != nullptr && two != nullptr && lists_apart(*one, *two, budget);
  });
}

}  // namespace sedge::engine
