#include "platform/conversation.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/json.h"
#include "engine/grammar/call_grammar.h"
#include "engine/prompt.h"
#include "platform/tool_calls.h"

namespace sedge::platform {
namespace {

constexpr json::Limits kTurnLimits = {.depth_max = 80, .bytes_max = 1u << 20};

struct Tools {
  json::Array tools;  // as the template sees them
  std::vector<engine::Callable> functions;
  bool required = false;
  bool parallel = true;
};

// Absent: `otherwise`.
Result<bool> flag_of(const json::Object& object, std::string_view name, bool otherwise) {
  return object.contains(name) ? json::get_bool(object, name) : Result<bool>(otherwise);
}

Result<engine::Callable> read_function(const json::Value& tool) {
  SEDGE_TRY(const json::Object* outer, json::as_object(tool, "a tool"));
  SEDGE_TRY(const json::Value* member, json::member(*outer, "function"));
  SEDGE_TRY(const json::Object* function, json::as_object(*member, "function"));
  SEDGE_TRY(std::string name, json::get_string(*function, "name"));
  const auto* parameters = function->if_contains("parameters");
  const bool none = parameters == nullptr || !parameters->is_object() || parameters->get_object().empty();
  const json::Value no_members = json::Object{{"type", "object"}, {"properties", json::Object{}}};
  return engine::Callable{std::move(name), none ? no_members : *parameters};
}

Result<Tools> read_tools(const json::Object& object) {
  Tools read;
  SEDGE_TRY(const json::Value* list, json::member(object, "tools"));
  if (!list->is_array() || list->get_array().empty()) return fail(Code::kInvalidArgument, "'tools' is a list of tools");
  read.tools = list->get_array();
  SEDGE_TRY(read.required, flag_of(object, "required", false));
  SEDGE_TRY(read.parallel, flag_of(object, "parallel", true));
  std::optional<std::string> only;
  if (object.contains("function")) {
    SEDGE_TRY(only, json::get_string(object, "function"));
  }
  for (const json::Value& tool : read.tools) {
    SEDGE_TRY(engine::Callable function, read_function(tool));
    if (!only || function.name == *only) read.functions.push_back(std::move(function));
  }
  if (read.functions.empty()) return fail(Code::kInvalidArgument, "no tool is the function '{}'", *only);
  return read;
}

Result<model::ChatMessage> read_message(const json::Object& object) {
  model::ChatMessage message;
  SEDGE_TRY(message.role, json::get_string(object, "role"));
  SEDGE_TRY(message.content, json::get_string(object, "content"));
  message.more = object;
  message.more.erase("role"), message.more.erase("content");
  return message;
}

struct Conversation {
  std::vector<model::ChatMessage> messages;
  std::optional<Tools> tools;
  bool plain = true;  // nothing but roles and contents
};

Result<Conversation> read_turns(std::span<const env::ChatTurn> turns) {
  Conversation read;
  for (const env::ChatTurn& turn : turns) {
    if (!turn.role.empty()) {
      read.messages.push_back({.role = turn.role, .content = turn.content});
      continue;
    }
    read.plain = false;
    SEDGE_TRY(const json::Value value, json::parse(turn.content, "a turn", kTurnLimits));
    SEDGE_TRY(const json::Object* object, json::as_object(value, "a turn"));
    if (object->contains("tools")) {
      SEDGE_TRY(read.tools, read_tools(*object));
    } else {
      SEDGE_TRY(read.messages.emplace_back(), read_message(*object));
    }
  }
  return read;
}

// Where the template has no place for calls that were made, they stand in the message as the model wrote them.
Status spell_calls(const CallSyntax& syntax, model::ChatMessage& message) {
  const auto* list = message.more.if_contains("tool_calls");
  if (list == nullptr || !list->is_array()) return {};
  std::vector<ToolCall> calls;
  for (const json::Value& each : list->get_array()) {
    SEDGE_TRY(const json::Object* outer, json::as_object(each, "a call"));
    SEDGE_TRY(const json::Value* member, json::member(*outer, "function"));
    SEDGE_TRY(const json::Object* function, json::as_object(*member, "function"));
    SEDGE_TRY(const json::Value* arguments, json::member(*function, "arguments"));
    SEDGE_TRY(std::string name, json::get_string(*function, "name"));
    calls.push_back({std::move(name), json::write(*arguments)});
  }
  if (!message.content.empty()) message.content += '\n';
  message.content += write_calls(syntax, calls);
  message.more.erase("tool_calls");
  return {};
}

Result<const CallSyntax*> find_syntax(std::string_view chat_template) {
  const CallSyntax* syntax = call_syntax_of(chat_template);
  if (syntax != nullptr) return syntax;
  if (!chat_template.contains("tools")) {
    return fail(Code::kInvalidArgument, "the model's chat template has no place for tools and their calls");
  }
  std::string known;
  for (const CallSyntax& each : call_syntaxes()) known += fmt::format("{}{}", known.empty() ? "" : ", ", each.name);
  return fail(Code::kInvalidArgument,
              "the model's chat template has tools whose calls are written in none of the syntaxes that are known: {}",
              known);
}

// The id of a mark that is a control token, which no text shows.
std::optional<std::int32_t> hidden(const model::Tokenizer& tokenizer, std::string_view mark) {
  if (mark.empty()) return std::nullopt;
  const auto ids = tokenizer.encode(mark, {.add_special = false, .parse_special = true});
  if (ids.size() != 1 || !tokenizer.decode_piece(ids[0]).empty()) return std::nullopt;
  return ids[0];
}

// Of a text of marks what is shown.
std::string shown(const model::Tokenizer& tokenizer, const CallSyntax& syntax, std::string text) {
  for (const std::string_view mark : {syntax.open, syntax.close}) {
    if (!hidden(tokenizer, mark)) continue;
    for (std::size_t at; (at = text.find(mark)) != std::string::npos;) text.erase(at, mark.size());
  }
  return text;
}

// A mark at the beginning that no text shows goes into the prompt where there must be a call, and where there may be
// one leaves nothing by which a grammar could tell.
Status add_grammar(const model::Tokenizer& tokenizer, const CallSyntax& syntax, const Tools& tools,
                   ChatPrompt& prompt) {
  const auto mark = hidden(tokenizer, syntax.open);
  if (mark && !tools.required) return {};
  if (mark) prompt.ids.push_back(*mark);
  const std::string begin = shown(tokenizer, syntax, fmt::format("{}{}", syntax.open, syntax.first)),
                    between = shown(tokenizer, syntax, std::string(syntax.between)),
                    end = shown(tokenizer, syntax, fmt::format("{}{}", syntax.last, syntax.close));
  engine::CallRules rules = {.calls_max = tools.parallel ? syntax.calls_max : 1};
  if (!tools.required) {
    rules.at_start = syntax.open.empty();
    rules.trigger = rules.at_start ? R"({"name")" : syntax.open;
  }
  const engine::CallForm form = {begin, between, end, syntax.arguments};
  auto grammar = engine::call_grammar(tools.functions, form, rules);
  if (!grammar) return fail(Code::kInvalidArgument, "{}", grammar.error().message);
  prompt.grammar = *std::move(grammar);
  return {};
}

}  // namespace

Result<ChatPrompt> begin_chat(const engine::Model& model, std::span<const env::ChatTurn> turns,
                              std::optional<std::int64_t> asked_local_s) {
  auto read = read_turns(turns);
  if (!read) return fail(Code::kInvalidArgument, "a conversation's turns: {}", read.error().message);
  const model::Vocab& vocab = model.tokenizer().vocab();
  ChatPrompt prompt;
  if (read->plain) {
    SEDGE_TRY(prompt.ids, engine::encode_chat(model, read->messages, {}, asked_local_s));
    return prompt;
  }
  SEDGE_TRY(const CallSyntax* syntax, find_syntax(vocab.chat_template));
  if (!vocab.chat_template.contains("tool_calls")) {
    for (model::ChatMessage& message : read->messages) SEDGE_CHECK(spell_calls(*syntax, message));
  }
  const json::Array tools = read->tools ? read->tools->tools : json::Array();
  SEDGE_TRY(prompt.ids, engine::encode_chat(model, read->messages, tools, asked_local_s));
  if (read->tools) SEDGE_CHECK(add_grammar(model.tokenizer(), *syntax, *read->tools, prompt));
  return prompt;
}

}  // namespace sedge::platform
