#include "api/openai_tools.h"

#include <algorithm>
#include <utility>

namespace sedge::api {
namespace {

constexpr std::size_t kToolsMax = 128;
constexpr std::size_t kToolsBytesMax = 128u << 10;  // as of a grammar
constexpr std::size_t kNameBytesMax = 64;           // OpenAI's

bool is_name(const json::Value* value) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  if (value == nullptr || !value->is_string()) return false;
  const std::string_view name = text_of(*value);
  return !name.empty() && name.size() <= kNameBytesMax && std::ranges::all_of(name, fits);
}

bool is_function(const json::Value& value) {
  const auto* object = value.if_object();
  const auto* type = object != nullptr ? find(*object, "type") : nullptr;
  return type != nullptr && type->is_string() && text_of(*type) == "function";
}

// The member "function" of what is_function().
const json::Object* function_of(const json::Value& value) {
  const auto* member = find(value.get_object(), "function");
  return member != nullptr ? member->if_object() : nullptr;
}

ApiError refuse(const std::string& place, std::string_view what) {
  return invalid(fmt::format("'{}' {}.", place, what), place);
}

Refusal read_tool(const json::Value& tool, const std::string& place, std::vector<std::string>& names) {
  if (!is_function(tool)) return refuse(place, "must be an object with \"type\": \"function\"");
  const auto* function = function_of(tool);
  if (function == nullptr) return refuse(place + ".function", "must be an object");
  const auto* name = find(*function, "name");
  if (!is_name(name)) {
    return refuse(place + ".function.name", "must have 1 to 64 of the characters a-z, A-Z, 0-9, _ and -");
  }
  if (std::ranges::find(names, text_of(*name)) != names.end()) {
    return refuse(place + ".function.name", "is a function's that stands before");
  }
  names.emplace_back(text_of(*name));
  const auto* description = find(*function, "description");
  if (description != nullptr && !description->is_string()) {
    return refuse(place + ".function.description", "must be a string");
  }
  const auto* parameters = find(*function, "parameters");
  if (parameters == nullptr || (parameters->is_object() && parameters->get_object().empty())) return {};
  const auto* type = parameters->is_object() ? find(parameters->get_object(), "type") : nullptr;
  if (type != nullptr && type->is_string() && text_of(*type) == "object") return {};
  return refuse(place + ".function.parameters", "must be a schema with \"type\": \"object\"");
}

enum class Choice { kNone, kAuto, kRequired, kFunction };

Refusal read_choice(const json::Object& body, const std::vector<std::string>& names, Choice& choice,
                    std::string& function) {
  constexpr std::pair<std::string_view, Choice> kWords[] = {
      {"none", Choice::kNone}, {"auto", Choice::kAuto}, {"required", Choice::kRequired}};
  const auto* value = find(body, "tool_choice");
  if (value == nullptr) return {};
  const auto* const word = std::ranges::find_if(
      kWords, [&](const auto& each) { return value->is_string() && text_of(*value) == each.first; });
  if (word != std::end(kWords)) {
    choice = word->second;
    if (choice != Choice::kRequired || !names.empty()) return {};
    return refuse("tool_choice", "can be required only with 'tools'");
  }
  const auto* only = is_function(*value) ? function_of(*value) : nullptr;
  const auto* name = only != nullptr ? find(*only, "name") : nullptr;
  if (name == nullptr || !name->is_string()) {
    return refuse("tool_choice",
                  "must be none, auto, required or {\"type\": \"function\", \"function\": {\"name\": NAME}}");
  }
  choice = Choice::kFunction;
  function = text_of(*name);
  if (std::ranges::find(names, function) != names.end()) return {};
  return refuse("tool_choice", "names a function that is none of 'tools'");
}

// Templates of some models take ids of nine letters and digits alone. Unique in the conversation by the task's id.
std::string id_of(const AnswerHead& head, std::size_t i) {
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  static_assert(platform::kCallsMax <= kDigits.size());
  return head.task.hex().substr(0, 8) + kDigits[i];
}

}  // namespace

Refusal read_tools(const json::Object& body, CompletionRequest& request) {
  std::vector<std::string> names;
  const json::Value* tools = find(body, "tools");
  const auto* list = tools != nullptr ? tools->if_array() : nullptr;
  if (tools != nullptr && (list == nullptr || list->size() > kToolsMax)) {
    return refuse("tools", fmt::format("must be a list of at most {} tools", kToolsMax));
  }
  for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
    if (auto refusal = read_tool((*list)[i], fmt::format("tools[{}]", i), names)) return refusal;
  }
  Choice choice = Choice::kAuto;
  std::string function;
  if (auto refusal = read_choice(body, names, choice, function)) return refusal;
  bool parallel = true;
  if (auto refusal = read_flag(body, "parallel_tool_calls", parallel)) return refusal;
  if (names.empty() || choice == Choice::kNone) return {};

  if (request.task.spec.grammar.kind != env::GrammarKind::kNone) {
    return refuse("tools",
                  "cannot stand beside a 'response_format' of JSON or a 'grammar', but with \"tool_choice\": \"none\"");
  }
  json::Object turn{{"tools", *list}, {"required", choice != Choice::kAuto}};
  turn["parallel"] = parallel && choice != Choice::kFunction;
  if (choice == Choice::kFunction) turn["function"] = function;
  std::string text = json::write(turn);
  if (text.size() > kToolsBytesMax) {
    return refuse("tools", fmt::format("has {} bytes, at most {} are taken", text.size(), kToolsBytesMax));
  }
  auto& turns = request.task.spec.turns;
  turns.insert(turns.begin(), {"", std::move(text)});
  request.functions = std::move(names);
  request.parallel_calls = parallel;
  return {};
}

std::optional<platform::CalledText> calls_of(const AnswerHead& head, const node::TaskResult& result) {
  if (head.functions.empty() || result.outcome != node::Outcome::kAnswered) return std::nullopt;
  auto called = platform::read_calls(result.text, head.functions);
  if (called && !head.parallel_calls) called->calls.resize(1);
  return called;
}

json::Array message_calls(const AnswerHead& head, std::span<const platform::ToolCall> calls) {
  json::Array all;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    json::Object function{{"name", calls[i].name}, {"arguments", calls[i].arguments}};
    all.push_back(json::Object{{"id", id_of(head, i)}, {"type", "function"}, {"function", std::move(function)}});
  }
  return all;
}

std::vector<json::Object> call_deltas(const AnswerHead& head, std::span<const platform::ToolCall> calls) {
  std::vector<json::Object> deltas;
  const auto add = [&](json::Object call) { deltas.push_back({{"tool_calls", json::Array{std::move(call)}}}); };
  for (std::size_t i = 0; i < calls.size(); ++i) {
    add({{"index", i},
         {"id", id_of(head, i)},
         {"type", "function"},
         {"function", json::Object{{"name", calls[i].name}, {"arguments", ""}}}});
    add({{"index", i}, {"function", json::Object{{"arguments", calls[i].arguments}}}});
  }
  return deltas;
}

}  // namespace sedge::api
