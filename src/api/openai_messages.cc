#include "api/openai_messages.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace sedge::api {
namespace {

constexpr std::size_t kTurnsMax = 1024;
constexpr std::size_t kCallsInMessageMax = 128;
constexpr std::size_t kIdBytesMax = 256;

// OpenAI's newer name of the system role is one that no chat template knows.
constexpr std::pair<std::string_view, std::string_view> kRoles[] = {
    {"system", "system"}, {"developer", "system"}, {"user", "user"}, {"assistant", "assistant"}, {"tool", "tool"}};

bool is_string(const json::Object& object, std::string_view name, std::string_view text) {
  const json::Value* value = find(object, name);
  return value != nullptr && value->is_string() && text_of(*value) == text;
}

// A message's content: a string, or a list of text parts.
std::optional<std::string> content_of(const json::Value& value) {
  if (value.is_string()) return std::string(text_of(value));
  const auto* parts = value.if_array();
  if (parts == nullptr) return std::nullopt;
  std::string content;
  for (const json::Value& part : *parts) {
    const auto* object = part.if_object();
    const json::Value* text = object != nullptr && is_string(*object, "type", "text") ? find(*object, "text") : nullptr;
    if (text == nullptr || !text->is_string()) return std::nullopt;
    content += text_of(*text);
  }
  return content;
}

class Reader {
 public:
  Refusal read(const json::Object& message, std::string place, std::vector<env::ChatTurn>& turns) {
    place_ = std::move(place);
    const auto known =
        std::ranges::find_if(kRoles, [&](const auto& each) { return is_string(message, "role", each.first); });
    if (known == std::end(kRoles)) {
      return refuse(".role", "must be system, developer, user, assistant or tool");
    }
    const std::string role(known->second);
    const bool called = role == "assistant" && find(message, "tool_calls") != nullptr;
    const json::Value* value = find(message, "content");
    auto content = value != nullptr ? content_of(*value) : called ? std::optional<std::string>("") : std::nullopt;
    if (!content) return refuse(".content", "must be a string or a list of text parts");
    if (!called && role != "tool") {
      turns.push_back({role, *std::move(content)});
      return {};
    }
    json::Object whole{{"role", role}, {"content", *content}};
    if (auto refusal = called ? read_calls(message, whole) : read_result(message, whole)) return refusal;
    turns.push_back({"", json::write(whole)});
    return {};
  }

 private:
  ApiError refuse(std::string_view member, std::string_view what) const {
    return invalid(fmt::format("'{}{}' {}.", place_, member, what), fmt::format("{}{}", place_, member));
  }

  Refusal read_calls(const json::Object& message, json::Object& whole) {
    const auto* list = find(message, "tool_calls")->if_array();
    if (list == nullptr || list->empty() || list->size() > kCallsInMessageMax) {
      return refuse(".tool_calls", fmt::format("must be a list of 1 to {} calls", kCallsInMessageMax));
    }
    json::Array calls;
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (auto refusal = read_call((*list)[i], fmt::format(".tool_calls[{}]", i), calls)) return refusal;
    }
    whole["tool_calls"] = std::move(calls);
    return {};
  }

  Refusal read_call(const json::Value& value, const std::string& at, json::Array& calls) {
    const auto* call = value.if_object();
    if (call == nullptr || !is_string(*call, "type", "function")) {
      return refuse(at, "must be an object with \"type\": \"function\"");
    }
    const auto* id = find(*call, "id");
    if (id == nullptr || !is_id(*id)) return refuse(at + ".id", kIdIs);
    const auto* member = find(*call, "function");
    const auto* function = member != nullptr ? member->if_object() : nullptr;
    const auto* name = function != nullptr ? find(*function, "name") : nullptr;
    if (name == nullptr || !is_id(*name)) return refuse(at + ".function.name", kIdIs);
    const auto* given = find(*function, "arguments");
    auto arguments = given != nullptr && given->is_string()
                         ? json::parse(text_of(*given), "arguments", {.depth_max = kDepthMax})
                         : Result<json::Value>(json::Value());
    if (!arguments || !arguments->is_object()) {
      return refuse(at + ".function.arguments", "must be a string that holds a JSON object");
    }
    called_[std::string(text_of(*id))] = text_of(*name);
    json::Object made{{"name", *name}, {"arguments", *std::move(arguments)}};
    calls.push_back(json::Object{{"id", *id}, {"type", "function"}, {"function", std::move(made)}});
    return {};
  }

  // Some templates want the function's name, which OpenAI's clients do not say a second time.
  Refusal read_result(const json::Object& message, json::Object& whole) {
    const auto* id = find(message, "tool_call_id");
    if (id == nullptr || !is_id(*id)) return refuse(".tool_call_id", kIdIs);
    const auto call = called_.find(text_of(*id));
    if (call == called_.end()) return refuse(".tool_call_id", "is of no call in a message before");
    whole["tool_call_id"] = *id;
    whole["name"] = call->second;
    return {};
  }

  static constexpr std::string_view kIdIs = "must be a string of 1 to 256 bytes";
  static bool is_id(const json::Value& value) {
    return value.is_string() && !text_of(value).empty() && text_of(value).size() <= kIdBytesMax;
  }

  std::string place_;                                       // messages[i]
  std::map<std::string, std::string, std::less<>> called_;  // the names of functions by the ids of their calls
};

}  // namespace

Refusal read_messages(const json::Object& body, std::vector<env::ChatTurn>& turns) {
  const json::Value* list = find(body, "messages");
  if (list == nullptr) return invalid("'messages' is required.", "messages");
  if (!list->is_array() || list->get_array().empty() || list->get_array().size() > kTurnsMax) {
    return invalid(fmt::format("'messages' must be a list of 1 to {} messages.", kTurnsMax), "messages");
  }
  Reader reader;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < list->get_array().size(); ++i) {
    const std::string place = fmt::format("messages[{}]", i);
    const auto* message = list->get_array()[i].if_object();
    if (message == nullptr) return invalid(fmt::format("'{}' must be an object.", place), place);
    if (auto refusal = reader.read(*message, place, turns)) return refusal;
    bytes += turns.back().content.size();
  }
  if (bytes <= kPromptBytesMax) return {};
  return invalid(fmt::format("the messages have {} bytes together, at most {} are taken.", bytes, kPromptBytesMax),
                 "messages");
}

}  // namespace sedge::api
