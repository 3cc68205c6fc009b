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

Status merge_properties(json::Object& into, const json::Object& from) {
  for (const auto& [name, schema] : from) {
    const auto [at, made] = into.emplace(name, schema);
    if (!made && at->value() != schema) {
      return fail(Code::kInvalidArgument, "the member '{}' is described twice, differently", std::string_view(name));
    }
  }
  return {};
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
  const bool closes = a.contains("additionalProperties") || b.contains("additionalProperties");
  if (closes && a.contains("properties") && b.contains("properties")) {
    return fail(Code::kInvalidArgument, "'additionalProperties' cannot be told of members from two schemas");
  }
  for (const auto& [name, value] : b) {
    if (is_annotation(name)) continue;
    const auto [at, made] = merged.emplace(name, value);
    if (made || at->value() == value) continue;
    if (name == "properties" && at->value().is_object() && value.is_object()) {
      SEDGE_CHECK(merge_properties(at->value().get_object(), value.get_object()));
    } else if (name == "required" && at->value().is_array() && value.is_array()) {
      auto& list = at->value().get_array();  // a name that comes twice is one
      list.insert(list.end(), value.get_array().begin(), value.get_array().end());
    } else {
      return fail(Code::kInvalidArgument, "two different '{}' must hold at once", std::string_view(name));
    }
  }
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
