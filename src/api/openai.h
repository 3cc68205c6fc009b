// The language of OpenAI's completion API, as values: a JSON request in, a task out; a task's result in, JSON or
// server-sent events out. No socket, no clock, no node: everything here is tested as a function.
// Clients exist for that API in every language, so a robot's operator needs none of ours. What Sedge adds (deadline,
// fallback, who served) stands in fields that other servers ignore and other clients do not see.
// A field that would change the answer and that we cannot honour is refused by name; silence would be a wrong answer.
// Grammar: docs/formats/http.md. Source: platform.openai.com/docs/api-reference.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "node/task_owner.h"

namespace sedge::api {

// What a client is told when it does not get what it asked for.
struct ApiError {
  unsigned status = 400;  // of HTTP
  std::string type;       // invalid_request_error, rate_limit_error, timeout_error, server_error
  std::string message;
  std::string param;  // the field at fault, or empty
  std::string code;   // for programs, or empty
  std::optional<Duration> retry_after;
};
template <class T>
using ApiResult = std::expected<T, ApiError>;

ApiError invalid(std::string message, std::string param = {}, std::string code = {});
ApiError model_not_found(std::string_view model);
std::string error_body(const ApiError& error);

enum class Kind { kCompletion, kChat };

// What does not stand in the body.
struct RequestContext {
  std::uint64_t seed = 0;            // used when the client gives none
  std::string_view deadline_header;  // X-Sedge-Deadline-Ms; the body's deadline_ms wins
  std::string_view trace;            // traceparent; ignored unless well-formed
};

struct CompletionRequest {
  Kind kind = Kind::kCompletion;
  node::TaskRequest task;
  bool stream = false;
  bool include_usage = false;
  std::vector<std::string> functions;  // that the answer may call; empty: it is text
  bool parallel_calls = true;          // more than one
};

// Any bytes give a request or an error with status 400.
ApiResult<CompletionRequest> parse_completion(Kind kind, std::string_view body, const RequestContext& context);

// What every object of one answer repeats.
struct AnswerHead {
  Kind kind = Kind::kCompletion;
  TaskId task;
  std::int64_t created = 0;  // seconds since 1970
  std::string model;
  bool include_usage = false;               // streams: every chunk then has the member, null until the last
  std::vector<std::string> functions = {};  // of the request, as the next
  bool parallel_calls = true;
};

// None: the result is an answer (of the model, or a fallback). `leaving`: the node is.
std::optional<ApiError> error_of(const node::TaskResult& result, bool leaving);

std::string completion_body(const AnswerHead& head, const node::TaskResult& result);

// Server-sent events, ready for the wire.
std::string first_event(const AnswerHead& head);  // empty for a completion; a chat names the role
// `logprobs`: the tokens of the text, where theirs were asked for.
std::string text_event(const AnswerHead& head, std::string_view text, std::span<const env::Token> logprobs = {});
// Takes from the front of `unsent`, the model's text that has not gone out, what may: all of it, or where functions may
// be called what stands before a place that could be a call's beginning. `result`: once there is one. `shown`: text
// went out before.
std::string take_text(const AnswerHead& head, std::string& unsent, bool shown,
                      const std::optional<node::TaskResult>& result);
// The end of a stream. `shown`: text of the model went out; then a fallback stands beside it, never after it.
std::string last_events(const AnswerHead& head, const node::TaskResult& result, bool shown);
// A stream that had begun and failed: clients raise it, and no [DONE] follows.
std::string error_event(const ApiError& error);

struct OfferedModel {
  std::string name;
  std::string hash;
  std::uint64_t bytes = 0;
  std::uint32_t context = 0;
  std::size_t nodes = 0;  // that offer it now
  std::string parent{};   // of an adapter: its base's name
};
std::string models_body(std::span<const OfferedModel> models);
std::string model_body(const OfferedModel& model);

}  // namespace sedge::api
