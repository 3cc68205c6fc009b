#include "api/openai.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "api/openai_fields.h"
#include "api/openai_messages.h"
#include "api/openai_sampling.h"
#include "api/openai_tools.h"
#include "base/json.h"

namespace sedge::api {
namespace {

constexpr std::string_view kInvalidRequest = "invalid_request_error";
constexpr std::uint32_t kTokensDefault = 256;
constexpr std::size_t kStopsMax = 16, kStopBytesMax = 256;  // the engine's limits
constexpr std::size_t kFallbackBytesMax = 64u << 10;
constexpr std::size_t kModelBytesMax = 256;
constexpr double kDeadlineMsMax = 24 * 3600 * 1e3;

// Numbers of a request: where each goes and what it may be.
struct NumberField {
  std::string_view name;
  double low, high;
  bool whole;
  void (*set)(node::TaskRequest&, double);
};

constexpr double kU32Max = std::numeric_limits<std::uint32_t>::max();

constexpr NumberField kNumbers[] = {
    {"temperature", 0, 2, false, [](auto& r, double v) { r.spec.sampling.temperature = v; }},
    {"top_p", 0, 1, false, [](auto& r, double v) { r.spec.sampling.top_p = v; }},
    {"min_p", 0, 1, false, [](auto& r, double v) { r.spec.sampling.min_p = v; }},
    {"repeat_penalty", 0.01, 100, false, [](auto& r, double v) { r.spec.sampling.repeat_penalty = v; }},
    {"frequency_penalty", -2, 2, false, [](auto& r, double v) { r.spec.sampling.frequency_penalty = v; }},
    {"presence_penalty", -2, 2, false, [](auto& r, double v) { r.spec.sampling.presence_penalty = v; }},
    {"top_k", 0, kU32Max, true, [](auto& r, double v) { r.spec.sampling.top_k = static_cast<std::uint32_t>(v); }},
    {"max_tokens", 1, kU32Max, true, [](auto& r, double v) { r.spec.tokens_max = static_cast<std::uint32_t>(v); }},
    {"max_completion_tokens", 1, kU32Max, true,
     [](auto& r, double v) { r.spec.tokens_max = static_cast<std::uint32_t>(v); }},
    {"deadline_ms", 1, kDeadlineMsMax, false, [](auto& r, double v) { r.deadline = Duration(std::llround(v * 1e6)); }},
};

Refusal read_number(const NumberField& field, double number, node::TaskRequest& task) {
  const bool fits = number >= field.low && number <= field.high && (!field.whole || number == std::floor(number));
  if (!fits) {
    return invalid(fmt::format("'{}' must be {} from {} to {}.", field.name,
                               field.whole ? "a whole number" : "a number", field.low, field.high),
                   std::string(field.name));
  }
  field.set(task, number);
  return {};
}

Refusal read_member(const NumberField& field, const json::Object& body, node::TaskRequest& task) {
  const json::Value* value = find(body, field.name);
  if (value == nullptr) return {};
  return read_number(field, value->is_number() ? value->to_number<double>() : std::nan(""), task);
}

Refusal read_numbers(const json::Object& body, CompletionRequest& request) {
  for (const NumberField& field : kNumbers) {
    if (auto refusal = read_member(field, body, request.task)) return refusal;
  }
  // A seed has 64 bits, more than a double holds; any integer will do, negative ones too.
  if (const json::Value* seed = find(body, "seed")) {
    if (seed->is_int64()) {
      request.task.spec.sampling.seed = static_cast<std::uint64_t>(seed->get_int64());
    } else if (seed->is_uint64()) {
      request.task.spec.sampling.seed = seed->get_uint64();
    } else {
      return invalid("'seed' must be an integer.", "seed");
    }
  }
  return {};
}

// What would change the answer and is not done here, with the one value that asks for nothing.
bool is_false(const json::Value& v) { return v.is_bool() && !v.get_bool(); }
bool is_one(const json::Value& v) { return v.is_number() && v.to_number<double>() == 1; }
bool is_empty(const json::Value& v) {
  return (v.is_array() && v.get_array().empty()) || (v.is_object() && v.get_object().empty());
}
bool is_none(const json::Value& v) { return v.is_string() && (text_of(v) == "none" || text_of(v) == "auto"); }
bool is_empty_text(const json::Value& v) { return v.is_string() && text_of(v).empty(); }

struct UnsupportedField {
  std::string_view name;
  bool (*neutral)(const json::Value&);
  bool in_chats = true;  // too
};

constexpr UnsupportedField kUnsupported[] = {
    {"n", is_one},           {"best_of", is_one},        {"echo", is_false},         {"suffix", is_empty_text},
    {"functions", is_empty}, {"function_call", is_none}, {"tools", is_empty, false}, {"tool_choice", is_none, false},
};

Refusal refuse_unsupported(Kind kind, const json::Object& body) {
  for (const UnsupportedField& field : kUnsupported) {
    const json::Value* value = find(body, field.name);
    if (value == nullptr || field.neutral(*value) || (kind == Kind::kChat && !field.in_chats)) continue;
    return invalid(fmt::format("Sedge does not support '{}' other than its neutral value.", field.name),
                   std::string(field.name), "unsupported_parameter");
  }
  return {};
}

Refusal read_stream(const json::Object& body, CompletionRequest& request) {
  if (auto refusal = read_flag(body, "stream", request.stream)) return refusal;
  const json::Value* options = find(body, "stream_options");
  if (options == nullptr) return {};
  if (!options->is_object()) return invalid("'stream_options' must be an object.", "stream_options");
  if (!request.stream) return invalid("'stream_options' is only allowed with 'stream': true.", "stream_options");
  return read_flag(options->get_object(), "include_usage", request.include_usage);
}

Refusal read_stops(const json::Object& body, std::vector<std::string>& stops) {
  const json::Value* value = find(body, "stop");
  if (value == nullptr) return {};
  const json::Array one = value->is_string() ? json::Array{*value} : json::Array{};
  const json::Array* list = value->is_string() ? &one : value->if_array();
  const auto right = [](const json::Value& stop) {
    return stop.is_string() && !text_of(stop).empty() && text_of(stop).size() <= kStopBytesMax;
  };
  if (list == nullptr || list->size() > kStopsMax || !std::ranges::all_of(*list, right)) {
    return invalid(fmt::format("'stop' must be a string or a list of at most {} strings, of 1 to {} bytes each.",
                               kStopsMax, kStopBytesMax),
                   "stop");
  }
  for (const json::Value& stop : *list) stops.emplace_back(text_of(stop));
  return {};
}

Refusal read_prompt(const json::Object& body, std::string& prompt) {
  const json::Value* value = find(body, "prompt");
  if (value != nullptr && value->is_array() && value->get_array().size() == 1 && value->get_array()[0].is_string()) {
    return read_text({{"prompt", value->get_array()[0]}}, "prompt", kPromptBytesMax, prompt);
  }
  if (value != nullptr && value->is_array()) {
    return invalid("'prompt' must be one string; lists of several prompts and token ids are not supported.", "prompt",
                   "unsupported_parameter");
  }
  return read_text(body, "prompt", kPromptBytesMax, prompt);
}

Refusal read_fallback(const json::Object& body, CompletionRequest& request) {
  if (find(body, "fallback") == nullptr) return {};
  return read_text(body, "fallback", kFallbackBytesMax, request.task.fallback.emplace());
}

json::Object head_of(const AnswerHead& head, bool chunk) {
  const bool chat = head.kind == Kind::kChat;
  json::Object object;
  object["id"] = (chat ? "chatcmpl-" : "cmpl-") + head.task.hex();
  object["object"] = !chat ? "text_completion" : chunk ? "chat.completion.chunk" : "chat.completion";
  object["created"] = head.created;
  object["model"] = head.model;
  return object;
}

json::Value usage_of(const node::TaskResult& result) {
  // What an end flushes stands in the log with no id, and is no token.
  const auto generated = std::ranges::count_if(result.tokens, [](std::int32_t id) { return id >= 0; });
  return json::Object{{"prompt_tokens", result.prompt_tokens},
                      {"completion_tokens", generated},
                      {"total_tokens", result.prompt_tokens + generated}};
}

// `beside`: a fallback that is not the answer's text, because text of the model stands there.
json::Value sedge_of(const node::TaskResult& result, bool beside) {
  json::Object object;
  object["served_by"] = result.served_by.is_zero() ? json::Value() : json::Value(result.served_by.hex());
  object["attempts"] = result.attempts;
  object["deadline_met"] = result.deadline_met;
  object["outcome"] = std::string(node::outcome_name(result.outcome));
  object["first_token_ms"] = to_ms(result.first_token);
  object["total_ms"] = to_ms(result.total);
  if (!result.reason.empty()) object["reason"] = result.reason;
  if (beside) object["fallback"] = result.text;
  return object;
}

json::Value finish_of(const node::TaskResult& result, bool called) {
  if (result.outcome == node::Outcome::kAnswered && !result.stopped) return "length";
  return called ? "tool_calls" : "stop";
}

std::string event(const json::Value& value) { return "data: " + json::write(value) + "\n\n"; }

// One chunk of a stream. `finish` null: more to come.
json::Object chunk_of(const AnswerHead& head, json::Object content, json::Value finish,
                      std::span<const env::Token> logprobs = {}) {
  json::Object choice = std::move(content);
  choice["index"] = 0;
  choice["logprobs"] = logprobs_of(head.kind, logprobs);
  choice["finish_reason"] = std::move(finish);
  json::Object chunk = head_of(head, true);
  chunk["choices"] = json::Array{std::move(choice)};
  if (head.include_usage) chunk["usage"] = nullptr;
  return chunk;
}

json::Object content_in(const AnswerHead& head, std::string_view text) {
  if (head.kind == Kind::kCompletion) return {{"text", text}};
  return {{"delta", text.empty() ? json::Object{} : json::Object{{"content", text}}}};
}

}  // namespace

Refusal read_text(const json::Object& body, std::string_view name, std::size_t bytes_max, std::string& text) {
  const json::Value* value = find(body, name);
  if (value == nullptr) return invalid(fmt::format("'{}' is required.", name), std::string(name));
  if (!value->is_string()) return invalid(fmt::format("'{}' must be a string.", name), std::string(name));
  if (text_of(*value).size() > bytes_max) {
    return invalid(fmt::format("'{}' has {} bytes, at most {} are taken.", name, text_of(*value).size(), bytes_max),
                   std::string(name));
  }
  text = text_of(*value);
  return {};
}

Refusal read_flag(const json::Object& body, std::string_view name, bool& flag) {
  const json::Value* value = find(body, name);
  if (value == nullptr) return {};
  if (!value->is_bool()) return invalid(fmt::format("'{}' must be true or false.", name), std::string(name));
  flag = value->get_bool();
  return {};
}

Refusal read_deadline(const json::Object& body, const RequestContext& context, node::TaskRequest& task) {
  const auto& field = *std::ranges::find(kNumbers, std::string_view("deadline_ms"), &NumberField::name);
  if (const std::string_view text = context.deadline_header; !text.empty()) {
    double ms = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ms);
    const bool number = error == std::errc() && end == text.data() + text.size();
    if (auto refusal = read_number(field, number ? ms : std::nan(""), task)) {
      refusal->param = "X-Sedge-Deadline-Ms";
      return refusal;
    }
  }
  return read_member(field, body, task);
}

// W3C: version-trace-parent-flags
void set_trace(const RequestContext& context, wire::TaskSpec& spec) {
  const std::string_view trace = context.trace;
  if (trace.size() == 55 && trace.find_first_not_of("0123456789abcdef-") == std::string_view::npos) spec.trace = trace;
}

ApiResult<json::Value> parse_body(std::string_view body) {
  auto parsed = json::parse(body, "the request's body", {.depth_max = kDepthMax, .bytes_max = 2u << 20});
  if (!parsed) return std::unexpected(invalid(parsed.error().message));
  if (!parsed->is_object()) return std::unexpected(invalid("the request's body must be a JSON object"));
  return *std::move(parsed);
}

ApiError invalid(std::string message, std::string param, std::string code) {
  return {400, std::string(kInvalidRequest), std::move(message), std::move(param), std::move(code), {}};
}

ApiError model_not_found(std::string_view model) {
  return {
      404,
      std::string(kInvalidRequest),
      fmt::format("no node of the fleet offers the model '{}'; GET /v1/models lists what they offer, of which a '+' "
                  "stacks adapters of one base",
                  model),
      "model",
      "model_not_found",
      {}};
}

std::string error_body(const ApiError& error) {
  const auto or_null = [](const std::string& text) { return text.empty() ? json::Value() : json::Value(text); };
  return json::write(json::Object{{"error", json::Object{{"message", error.message},
                                                         {"type", error.type},
                                                         {"param", or_null(error.param)},
                                                         {"code", or_null(error.code)}}}});
}

ApiResult<CompletionRequest> parse_completion(Kind kind, std::string_view body, const RequestContext& context) {
  const auto parsed = parse_body(body);
  if (!parsed) return std::unexpected(parsed.error());
  const json::Object& object = parsed->get_object();

  CompletionRequest request;
  request.kind = kind;
  wire::TaskSpec& spec = request.task.spec;
  spec.tokens_max = kTokensDefault;
  spec.sampling.temperature = 1;  // what OpenAI's clients expect when they say nothing
  spec.sampling.seed = context.seed;
  set_trace(context, spec);

  Refusal refusal = read_text(object, "model", kModelBytesMax, spec.model);
  const auto then = [&](auto&& read) {
    if (!refusal) refusal = read();
  };
  then([&] { return refuse_unsupported(kind, object); });
  then([&] { return kind == Kind::kChat ? read_messages(object, spec.turns) : read_prompt(object, spec.prompt); });
  then([&] { return read_deadline(object, context, request.task); });
  then([&] { return read_numbers(object, request); });
  then([&] { return read_stops(object, spec.stops); });
  then([&] { return read_response_format(object, spec.grammar); });
  then([&] { return kind == Kind::kChat ? read_tools(object, request) : Refusal(); });
  then([&] { return read_logit_bias(object, spec.logit_bias); });
  then([&] { return read_logprobs(kind, object, spec.logprobs); });
  then([&] { return read_stream(object, request); });
  then([&] { return read_fallback(object, request); });
  if (refusal) return std::unexpected(std::move(*refusal));
  return request;
}

std::optional<ApiError> error_of(const node::TaskResult& result, bool leaving) {
  ApiError error{500, "server_error", result.reason, "", "", {}};
  switch (result.outcome) {
    case node::Outcome::kAnswered:
    case node::Outcome::kFallback:
      return std::nullopt;
    case node::Outcome::kRefused:
      error.status = 429;
      error.type = "rate_limit_error";
      error.code = "refused";
      error.retry_after = result.retry_after;
      break;
    case node::Outcome::kDeadlineExceeded:
      error.status = 504;
      error.type = "timeout_error";
      error.code = "deadline_exceeded";
      break;
    case node::Outcome::kFailed:
      if (result.code == Code::kInvalidArgument) {
        error.status = 400;
        error.type = "invalid_request_error";
        break;
      }
      if (result.code == Code::kResourceExhausted) {
        error.status = 503;
        error.code = "no_memory";
        break;
      }
      [[fallthrough]];
    case node::Outcome::kCancelled:
      error.code = std::string(node::outcome_name(result.outcome));
      break;
  }
  if (leaving) {
    error = {503, "server_error", "this node is leaving the fleet; ask another", "", "leaving", {}};
  }
  return error;
}

std::string completion_body(const AnswerHead& head, const node::TaskResult& result) {
  json::Object choice;
  choice["index"] = 0;
  const auto called = calls_of(head, result);
  if (head.kind == Kind::kChat) {
    const bool silent = called && called->content.empty();
    json::Object message{{"role", "assistant"}, {"content", nullptr}, {"refusal", nullptr}};
    if (!silent) message["content"] = called ? called->content : result.text;
    if (called) message["tool_calls"] = message_calls(head, called->calls);
    choice["message"] = std::move(message);
  } else {
    choice["text"] = result.text;
  }
  choice["logprobs"] = result.outcome == node::Outcome::kAnswered ? logprobs_of(head.kind, result.logprobs) : nullptr;
  choice["finish_reason"] = finish_of(result, called.has_value());
  json::Object body = head_of(head, false);
  body["choices"] = json::Array{std::move(choice)};
  body["usage"] = usage_of(result);
  body["sedge"] = sedge_of(result, false);
  return json::write(body);
}

std::string first_event(const AnswerHead& head) {
  if (head.kind == Kind::kCompletion) return {};
  json::Object delta{{"role", "assistant"}, {"content", ""}};
  return event(chunk_of(head, {{"delta", std::move(delta)}}, nullptr));
}

std::string text_event(const AnswerHead& head, std::string_view text, std::span<const env::Token> logprobs) {
  return event(chunk_of(head, content_in(head, text), nullptr, logprobs));
}

std::string take_text(const AnswerHead& head, std::string& unsent, bool shown,
                      const std::optional<node::TaskResult>& result) {
  if (head.functions.empty()) return std::exchange(unsent, {});
  std::size_t size = unsent.size();
  if (!result) {
    size = platform::calls_may_begin(unsent, !shown);
  } else if (const auto called = calls_of(head, *result)) {
    const std::size_t sent = result->text.size() - std::min(unsent.size(), result->text.size());
    size = std::min(size, called->content.size() - std::min(sent, called->content.size()));
  }
  std::string text = unsent.substr(0, size);
  unsent.erase(0, size);
  return text;
}

std::string last_events(const AnswerHead& head, const node::TaskResult& result, bool shown) {
  const bool fallback = result.outcome == node::Outcome::kFallback;
  std::string events;
  if (fallback && !shown) events += text_event(head, result.text);
  const auto called = calls_of(head, result);
  for (json::Object& delta : called ? call_deltas(head, called->calls) : std::vector<json::Object>()) {
    events += event(chunk_of(head, {{"delta", std::move(delta)}}, nullptr));
  }
  json::Object end = chunk_of(head, content_in(head, ""),
                              fallback && shown ? json::Value("length") : finish_of(result, called.has_value()));
  end["sedge"] = sedge_of(result, fallback && shown);
  events += event(end);
  if (head.include_usage) {
    json::Object usage = head_of(head, true);
    usage["choices"] = json::Array{};
    usage["usage"] = usage_of(result);
    events += event(usage);
  }
  return events + "data: [DONE]\n\n";
}

std::string error_event(const ApiError& error) { return "data: " + error_body(error) + "\n\n"; }

namespace {

json::Object model_object(const OfferedModel& model) {
  json::Object object = {
      {"id", model.name},
      {"object", "model"},
      {"created", 0},  // a model is its content; nobody keeps when it was made
      {"owned_by", "sedge"},
      {"sedge",
       json::Object{{"hash", model.hash}, {"bytes", model.bytes}, {"context", model.context}, {"nodes", model.nodes}}}};
  if (!model.parent.empty()) object["parent"] = model.parent;
  return object;
}

}  // namespace

std::string models_body(std::span<const OfferedModel> models) {
  json::Array data;
  for (const OfferedModel& model : models) data.push_back(model_object(model));
  return json::write(json::Object{{"object", "list"}, {"data", std::move(data)}});
}

std::string model_body(const OfferedModel& model) { return json::write(model_object(model)); }

}  // namespace sedge::api
