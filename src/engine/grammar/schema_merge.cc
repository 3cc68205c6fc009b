#include "engine/grammar/schema_merge.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
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

// Takes what a comparison costs; false where that is not left.
bool take(SchemaBudget& budget, std::size_t cost) {
  if (cost > budget.compared) return budget.compared = 0, false;
  budget.compared -= cost;
  return true;
}

// The schema and those that its references lead to, the one without a reference last; none where that leads nowhere or
// the budget is spent.
std::vector<const json::Object*> objects_behind(const json::Value& document, const json::Value* schema,
                                                SchemaBudget& budget) {
  std::vector<const json::Object*> objects;
  for (int hop = 0; hop < kHopsMax && schema != nullptr && schema->is_object(); ++hop) {
    objects.push_back(&schema->get_object());
    const auto* reference = objects.back()->if_contains("$ref");
    if (reference == nullptr || !reference->is_string()) return objects;
    if (!take(budget, 1 + reference->get_string().size() / 16)) break;
    schema = resolve_reference(document, text_of(*reference)).value_or(nullptr);
  }
  return {};
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

enum Type : unsigned { kNull = 1, kBoolean = 2, kNumber = 4, kString = 8, kArray = 16, kObject = 32 };
constexpr unsigned kAnyType = 63;

// A schema's types: those of the texts that are made for it, and those that satisfy it. Where none is declared any
// satisfies it, and of those that its keywords are about texts are made.
struct Types {
  unsigned made = kAnyType, right = kAnyType;
};

unsigned type_named(std::string_view name) {
  static constexpr std::pair<std::string_view, unsigned> kNames[] = {
      {"null", kNull},     {"boolean", kBoolean}, {"integer", kNumber}, {"number", kNumber},
      {"string", kString}, {"array", kArray},     {"object", kObject}};
  const auto* const known = std::ranges::find(kNames, name, &std::pair<std::string_view, unsigned>::first);
  return known != std::end(kNames) ? known->second : 0;
}

Types types_of(const std::vector<const json::Object*>& objects, SchemaBudget& budget) {
  static constexpr std::string_view kOfObjects[] = {"properties",    "required",      "additionalProperties",
                                                    "minProperties", "maxProperties", "$ref"};
  bool of_objects = true;  // by what its keywords are about
  for (const json::Object* const object : objects) {
    if (const auto* type = object->if_contains("type")) {
      const json::Array one = {*type};
      const json::Array& names = type->is_array() ? type->get_array() : one;
      if (!take(budget, names.size())) return {};
      unsigned declared = 0;
      for (const json::Value& name : names) declared |= name.is_string() ? type_named(text_of(name)) : kAnyType;
      return {declared, declared};
    }
    of_objects = of_objects && std::ranges::all_of(*object, [](const auto& member) {
                   return is_annotation(member.key()) ||
                          std::ranges::find(kOfObjects, std::string_view(member.key())) != std::end(kOfObjects);
                 });
  }
  return {of_objects ? unsigned{kObject} : kAnyType, kAnyType};
}

bool requires_member(const json::Object& schema, std::string_view name, SchemaBudget& budget) {
  const auto* required = schema.if_contains("required");
  return required != nullptr && required->is_array() && take(budget, required->get_array().size()) &&
         std::ranges::any_of(required->get_array(),
                             [&](const json::Value& each) { return each.is_string() && text_of(each) == name; });
}

// Whether two values are one to a reader of JSON: 1 and 1.0 are.
bool same(const json::Value& a, const json::Value& b) {
  if (a.is_number() && b.is_number()) return a == b || a.to_number<double>() == b.to_number<double>();
  if (a.is_array() && b.is_array()) return std::ranges::equal(a.get_array(), b.get_array(), same);
  if (!a.is_object() || !b.is_object() || a.get_object().size() != b.get_object().size()) return a == b;
  return std::ranges::all_of(a.get_object(), [&](const auto& member) {
    const auto* other = b.get_object().if_contains(member.key());
    return other != nullptr && same(member.value(), *other);
  });
}

bool lists_apart(const json::Object& a, const json::Object& b, SchemaBudget& budget) {
  const auto left = listed(a), right = listed(b);
  if (!left || !right) return false;
  if (!take(budget, left->size() * right->size() + left->size() + right->size())) return false;
  return std::ranges::none_of(*left, [&](const json::Value* value) {
    return std::ranges::any_of(*right, [&](const json::Value* other) { return same(*value, *other); });
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
  if (!take(budget, left->size() * right->size())) return fail(Code::kResourceExhausted, "too many listed values");
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
  const bool exact = a.is_int64() && b.is_int64();  // beyond 2^53 different ones are the same double
  const bool larger = exact ? b.get_int64() > a.get_int64() : b.to_number<double>() > a.to_number<double>();
  if (larger == low) a = b;
  return true;
}

// Items that one schema means all of are the first ones of the other too, which a schema of both would not say.
Status check_items(const json::Object& a, const json::Object& b) {
  for (const auto& [first, all] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    if (!first->contains("prefixItems") || all->contains("prefixItems") || !all->contains("items")) continue;
    return fail(Code::kInvalidArgument, "'prefixItems' and the 'items' of another schema must hold at once");
  }
  return {};
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
  SEDGE_CHECK(check_items(a, b));
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
  const auto left_all = objects_behind(document, &a, budget), right_all = objects_behind(document, &b, budget);
  if (left_all.empty() || right_all.empty()) return false;
  const json::Object &left = *left_all.back(), &right = *right_all.back();
  if (lists_apart(left, right, budget)) return true;
  const Types left_types = types_of(left_all, budget), right_types = types_of(right_all, budget);
  const unsigned in_common = (left_types.made & right_types.right) | (right_types.made & left_types.right);
  if (in_common == 0) return true;
  const auto* properties = left.if_contains("properties");
  const auto* others = right.if_contains("properties");
  if (properties == nullptr || others == nullptr || !properties->is_object() || !others->is_object()) return false;
  if (in_common != kObject) return false;  // of other types a member says nothing
  return std::ranges::any_of(properties->get_object(), [&](const auto& member) {
    const auto* other = others->get_object().if_contains(member.key());
    if (!take(budget, 1) || other == nullptr || !requires_member(left, member.key(), budget) ||
        !requires_member(right, member.key(), budget)) {
      return false;
    }
    const auto one = objects_behind(document, &member.value(), budget);
    const auto two = objects_behind(document, other, budget);
    return !one.empty() && !two.empty() && lists_apart(*one.back(), *two.back(), budget);
  });
}

}  // namespace sedge::engine
