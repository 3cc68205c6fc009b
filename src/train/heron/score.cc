#include "train/heron/score.h"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "base/json.h"

namespace sedge::train::heron {
namespace {

constexpr std::size_t kMistakesKept = 1000;

json::Value sorted(const json::Value& value) {
  if (const json::Array* array = value.if_array()) {
    json::Array out;
    for (const json::Value& item : *array) out.push_back(sorted(item));
    return out;
  }
  const json::Object* object = value.if_object();
  if (object == nullptr) return value;
  std::vector<const json::Object::value_type*> members;
  for (const auto& member : *object) members.push_back(&member);
  std::ranges::sort(members, {}, [](const auto* member) { return std::string(member->key()); });
  json::Object out;
  for (const auto* member : members) out[member->key()] = sorted(member->value());
  return out;
}

std::string action_name(std::string_view action) {
  const auto value = json::parse(action, "action");
  if (!value || !value->is_object()) return "(not JSON)";
  return json::get_string(value->get_object(), "do").value_or("(none)");
}

Result<Case> read_case(const std::string& line, const std::string& where) {
  SEDGE_TRY(const json::Value value, json::parse(line, where));
  SEDGE_TRY(const json::Object* object, json::as_object(value, where));
  Case out;
  if (object->contains("sentence")) {
    SEDGE_TRY(out.sentence, json::get_string(*object, "sentence"));
    SEDGE_TRY(const json::Value* action, json::member(*object, "action"));
    out.action = json::write(*action);
    return out;
  }
  SEDGE_TRY(out.sentence, json::get_string(*object, "prompt"));
  SEDGE_TRY(out.action, json::get_string(*object, "completion"));
  if (out.sentence.ends_with('\n')) out.sentence.pop_back();
  return out;
}

}  // namespace

Result<std::string> sorted_json(std::string_view text) {
  SEDGE_TRY(const json::Value value, json::parse(text, "action"));
  return json::write(sorted(value));
}

bool same_action(std::string_view expected, std::string_view got) {
  const auto a = sorted_json(expected);
  const auto b = sorted_json(got);
  return a && b && *a == *b;
}

Result<std::vector<Case>> read_cases(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(Code::kNotFound, "{} cannot be read", path);
  std::vector<Case> cases;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    const std::string where = fmt::format("{}:{}", path, ++number);
    if (line.empty()) continue;
    auto one = read_case(line, where);
    if (!one) return in_context(where, one.error());
    cases.push_back(*std::move(one));
  }
  return cases;
}

void Score::add(const Case& expected, std::string_view got) {
  const bool right = same_action(expected.action, got);
  Row& row = rows_[action_name(expected.action)];
  ++total_;
  ++row.total;
  right_ += right ? 1 : 0;
  row.right += right ? 1 : 0;
  if (!right && mistakes_.size() < kMistakesKept) mistakes_.push_back({expected, std::string(got)});
}

std::string Score::table(std::size_t mistakes_max) const {
  const auto line = [](std::string_view name, std::size_t right, std::size_t total) {
    const double percent = total == 0 ? 0 : 100.0 * static_cast<double>(right) / static_cast<double>(total);
    return fmt::format("{:<10}{:>8}{:>8}{:>8.1f} %\n", name, right, total, percent);
  };
  std::string out = fmt::format("{:<10}{:>8}{:>8}{:>10}\n", "action", "right", "of", "exact");
  for (const auto& [name, row] : rows_) out += line(name, row.right, row.total);
  out += line("all", right_, total_);
  for (std::size_t i = 0; i < std::min(mistakes_max, mistakes_.size()); ++i) {
    const Mistake& mistake = mistakes_[i];
    out += fmt::format("{}\n  expected {}\n  got      {}\n", mistake.expected.sentence, mistake.expected.action,
                       mistake.got);
  }
  return out;
}

}  // namespace sedge::train::heron
