#include "api/control_ops.h"

#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "api/audit_ops.h"
#include "api/embeddings.h"
#include "api/tensor_ops.h"
#include "crdt/replica.h"
#include "mesh/manifest.h"
#include "mesh/topic.h"
#include "node/node.h"
#include "platform/system.h"
#include "wire/consensus_messages.h"
#include "wire/task_messages.h"

namespace sedge::api {
namespace {

using Operation = Status (*)(platform::Runtime&, const json::Object&, const SessionRef&);

bool valid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<std::uint8_t>(text[i]);
    const int more = lead < 0x80                   ? 0
                     : lead >= 0xc2 && lead < 0xe0 ? 1
                     : lead >= 0xe0 && lead < 0xf0 ? 2
                     : lead >= 0xf0 && lead < 0xf5 ? 3
                                                   : -1;
    if (more < 0 || i + static_cast<std::size_t>(more) >= text.size()) return false;
    for (int k = 1; k <= more; ++k) {
      if ((static_cast<std::uint8_t>(text[i + static_cast<std::size_t>(k)]) & 0xc0) != 0x80) return false;
    }
    i += static_cast<std::size_t>(more) + 1;
  }
  return true;
}

template <class T, class Read>
Result<T> optional_field(const json::Object& request, std::string_view key, T fallback, Read read) {
  if (!request.contains(key) || request.at(key).is_null()) return fallback;
  SEDGE_TRY(const auto value, read(request, key));
  return static_cast<T>(value);
}

Result<std::string> text_field(const json::Object& request, std::string_view key, std::string fallback) {
  return optional_field(request, key, std::move(fallback), json::get_string);
}

Result<std::vector<std::string>> text_list(const json::Object& request, std::string_view key) {
  std::vector<std::string> texts;
  if (!request.contains(key) || request.at(key).is_null()) return texts;
  const auto* list = request.at(key).if_array();
  if (list == nullptr) return fail(Code::kInvalidArgument, "field '{}' is not a list", key);
  for (const json::Value& each : *list) {
    if (!each.is_string()) return fail(Code::kInvalidArgument, "field '{}' is a list of texts", key);
    texts.emplace_back(each.get_string());
  }
  return texts;
}

Result<std::optional<Duration>> optional_ms(const json::Object& request, std::string_view key) {
  if (!request.contains(key) || request.at(key).is_null()) return std::nullopt;
  SEDGE_TRY(const double ms, json::get_double(request, key));
  if (!(ms > 0 && ms < 1e9)) return fail(Code::kInvalidArgument, "field '{}' is a time in ms, greater than 0", key);
  return Duration(static_cast<std::int64_t>(ms * 1e6));
}

Result<std::optional<TaskId>> optional_id(const json::Object& request, std::string_view key) {
  if (!request.contains(key) || request.at(key).is_null()) return std::nullopt;
  SEDGE_TRY(const std::string text, json::get_string(request, key));
  const auto bytes = from_hex(text);
  auto id = bytes ? id_from_bytes<TaskId>(*bytes) : Result<TaskId>(std::unexpected(bytes.error()));
  if (!id || id->is_zero()) return fail(Code::kInvalidArgument, "field '{}' is 32 hex digits, not all 0", key);
  return *id;
}

json::Object value_object(const std::string& path, const std::optional<crdt::Value>& value) {
  json::Object object{{"path", path}};
  if (!value) {
    object["erased"] = true;
    return object;
  }
  object["kind"] = std::string(crdt::family_name(value->family));
  object["writer"] = value->writer.hex();
  object["stamp_ms"] = value->stamp.ms();
  if (value->family == crdt::Family::kCounter) {
    object["value"] = value->total;
    return object;
  }
  if (value->family == crdt::Family::kRegister && value->values.size() == 1) {
    if (const auto manifest = mesh::decode_manifest(value->values.front())) {
      object["tensor_bytes"] = manifest->bytes;
      return object;
    }
    put_bytes(object, "value", value->values.front());
    return object;
  }
  json::Array values;
  for (const Buffer& each : value->values) {
    json::Object holder;
    put_bytes(holder, "value", each);
    values.emplace_back(holder.begin()->value());
  }
  object["values"] = std::move(values);
  return object;
}

// Answers when the write is durable.
node::Node::Done acknowledge(const SessionRef& session) {
  return [session](const Status& status) {
    if (!status) return session->fail(status.error());
    session->answer({{"durable", true}});
    session->end();
  };
}

Status op_status(platform::Runtime& runtime, const json::Object&, const SessionRef& session) {
  session->answer(status_report(runtime));
  session->end();
  return {};
}

std::string name_of(const node::Node& node, NodeId id) {
  const auto member = node.membership().find(id);
  return member ? member->name : id.is_zero() ? "" : id.short_hex();
}

constexpr double kPatienceMs = 10'000;  // of a request for an agreed value, unless it says otherwise

// `set` and `get` with "linearizable": true.
Status agree(platform::Runtime& runtime, wire::AgreedRequest agreed, const json::Object& request,
             const SessionRef& session) {
  SEDGE_TRY(agreed.path, json::get_string(request, "path"));
  SEDGE_TRY(const auto id, optional_id(request, "request"));
  SEDGE_TRY(const double patience_ms, optional_field(request, "patience_ms", kPatienceMs, json::get_double));
  if (!(patience_ms > 0) || patience_ms > 1e7) {
    return fail(Code::kInvalidArgument, "patience_ms is above 0 and at most 1e7");
  }
  if (request.contains("if_version")) {
    SEDGE_TRY(agreed.if_version, json::get_uint(request, "if_version"));
  }
  agreed.id = id.value_or(TaskId{});
  const bool read = agreed.op == wire::AgreedOp::kGet;
  const auto done = [session, read, path = agreed.path](const Result<consensus::Agreed>& answer) {
    if (!answer) return session->fail(answer.error());
    if (read && answer->version == 0) {
      return session->fail({Code::kNotFound, fmt::format("no agreed value is at '{}'", path)});
    }
    json::Object line{{"path", path}, {"version", answer->version}};
    if (read)
      put_bytes(line, "value", answer->value);
    else
      line["agreed"] = true;
    session->answer(std::move(line));
    session->end();
  };
  runtime.node().agree(std::move(agreed), Duration(static_cast<std::int64_t>(patience_ms * 1e6)), done,
                       platform::now());
  return {};
}

Status set_agreed(platform::Runtime& runtime, const std::string& kind, const json::Object& request,
                  const SessionRef& session) {
  wire::AgreedRequest agreed{.id = {}, .op = wire::AgreedOp::kErase};
  if (kind == "register") {
    agreed.op = wire::AgreedOp::kSet;
    SEDGE_TRY(const std::string value, json::get_string(request, "value"));
    agreed.value = to_buffer(as_bytes(value));
  } else if (kind != "erase") {
    return fail(Code::kInvalidArgument, "an agreed value is a register: kind '{}' is for entries", kind);
  }
  return agree(runtime, std::move(agreed), request, session);
}

json::Object lead_object(const node::Node& node) {
  const consensus::Lead lead = node.group().lead();
  json::Array voters;
  for (const NodeId id : lead.voters) voters.emplace_back(name_of(node, id));
  json::Object object{{"leader", nullptr},
                      {"term", lead.term.value},
                      {"self", !lead.leader.is_zero() && lead.leader == node.id()},
                      {"voters", std::move(voters)}};
  if (!lead.leader.is_zero()) {
    object["leader"] = name_of(node, lead.leader);
    object["id"] = lead.leader.hex();
  }
  return object;
}

Status op_set(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string path, json::get_string(request, "path"));
  SEDGE_TRY(const std::string kind, text_field(request, "kind", "register"));
  SEDGE_TRY(const bool linearizable, optional_field(request, "linearizable", false, json::get_bool));
  if (linearizable) return set_agreed(runtime, kind, request, session);
  mesh::StateSync& state = runtime.node().state();
  const Instant at = platform::now();
  if (kind == "counter") {
    SEDGE_TRY(const std::int64_t by, json::get_int(request, "by"));
    runtime.node().when_durable(state.add(path, by, at), acknowledge(session));
    return {};
  }
  if (kind == "erase") {
    runtime.node().when_durable(state.erase(path, at), acknowledge(session));
    return {};
  }
  SEDGE_TRY(const std::string value, json::get_string(request, "value"));
  const Buffer bytes = to_buffer(as_bytes(value));
  if (kind == "register")
    runtime.node().when_durable(state.set(path, bytes, at), acknowledge(session));
  else if (kind == "multi")
    runtime.node().when_durable(state.set_multi(path, bytes, at), acknowledge(session));
  else if (kind == "insert")
    runtime.node().when_durable(state.insert(path, bytes, at), acknowledge(session));
  else if (kind == "remove")
    runtime.node().when_durable(state.remove(path, bytes, at), acknowledge(session));
  else if (kind == "insert_2p")
    runtime.node().when_durable(state.insert_2p(path, bytes, at), acknowledge(session));
  else if (kind == "remove_2p")
    runtime.node().when_durable(state.remove_2p(path, bytes, at), acknowledge(session));
  else if (kind == "append") {
    SEDGE_TRY(const std::uint64_t keep, json::get_uint(request, "keep"));
    runtime.node().when_durable(state.append(path, bytes, keep, at), acknowledge(session));
  } else
    return fail(Code::kInvalidArgument,
                "kind '{}' is none of register, multi, counter, insert, remove, insert_2p, "
                "remove_2p, append, erase",
                kind);
  return {};
}

Status op_get(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string path, json::get_string(request, "path"));
  SEDGE_TRY(const bool linearizable, optional_field(request, "linearizable", false, json::get_bool));
  if (linearizable) return agree(runtime, {.id = {}, .op = wire::AgreedOp::kGet}, request, session);
  const auto& replica = runtime.node().state().replica();
  if (path.find_first_of("+#") == std::string::npos) {
    const auto value = replica.read(path);
    if (!value) return fail(Code::kNotFound, "nothing is written at '{}'; `sedge get '#'` lists what is", path);
    session->answer(value_object(path, value));
  } else {
    SEDGE_CHECK(mesh::check_filter(path));
    replica.for_each("", [&](const std::string& each, const crdt::Value& value) {
      if (mesh::matches(path, each)) session->answer(value_object(each, value));
    });
  }
  session->end();
  return {};
}

Status op_watch(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string filter, json::get_string(request, "filter"));
  const std::weak_ptr<ControlSession> weak = session;
  SEDGE_TRY(const auto watch, runtime.node().watch(filter, true, [weak](const auto& path, const auto& value, NodeId) {
    if (const auto open = weak.lock()) open->answer(value_object(path, value));
  }));
  session->on_close.emplace_back([&runtime, watch] { runtime.node().unwatch(watch); });
  return {};
}

Status op_pub(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string topic, json::get_string(request, "topic"));
  SEDGE_TRY(const std::string payload, json::get_string(request, "payload"));
  SEDGE_TRY(const bool retain, optional_field(request, "retain", false, json::get_bool));
  SEDGE_TRY(const std::int64_t depth, optional_field(request, "depth", std::int64_t{1}, json::get_int));
  SEDGE_TRY(const bool reliable, optional_field(request, "reliable", true, json::get_bool));
  SEDGE_TRY(const bool for_all, optional_field(request, "wait_for_all", false, json::get_bool));
  SEDGE_TRY(const bool causal, optional_field(request, "causal", false, json::get_bool));
  SEDGE_TRY(const auto once, optional_id(request, "once"));
  SEDGE_TRY(const auto lifespan, optional_ms(request, "lifespan_ms"));
  SEDGE_TRY(const auto priority, optional_field(request, "priority", std::int64_t{4}, json::get_int));
  if (priority < 2 || priority > 7) return fail(Code::kInvalidArgument, "'priority' is 2 (urgent) to 7 (idle)");
  if (retain && lifespan)
    return fail(Code::kInvalidArgument, "a retained value is there for who comes later: no 'lifespan_ms'");
  if (retain && once) return fail(Code::kInvalidArgument, "a retained value is the topic's last: it has no 'once'");
  if (retain && for_all)
    return fail(Code::kInvalidArgument, "a retained value reaches everybody in time: no 'wait_for_all'");
  if (depth < 1 || depth > static_cast<std::int64_t>(crdt::kKeepMax))
    return fail(Code::kInvalidArgument, "'depth' is 1 to {}: how many of a topic's messages are retained",
                crdt::kKeepMax);
  const mesh::PublishOptions options{.reliable = reliable,
                                     .priority = static_cast<env::Priority>(priority),
                                     .once = once,
                                     .lifespan = lifespan,
                                     .causal = causal,
                                     .for_all = for_all};
  const std::uint32_t kept = retain ? static_cast<std::uint32_t>(depth) : 0;
  if (!request.contains("epsilon")) {
    runtime.node().publish(topic, as_bytes(payload), options, kept, acknowledge(session), platform::now());
    return {};
  }
  node::PrivateOptions privacy;
  SEDGE_TRY(privacy.epsilon, json::get_double(request, "epsilon"));
  SEDGE_TRY(privacy.low, json::get_double(request, "low"));
  SEDGE_TRY(privacy.high, json::get_double(request, "high"));
  runtime.node().publish_private(topic, as_bytes(payload), privacy, options, kept, acknowledge(session),
                                 platform::now());
  return {};
}

Status op_sub(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string filter, json::get_string(request, "filter"));
  SEDGE_TRY(const bool liveliness, optional_field(request, "liveliness", false, json::get_bool));
  const std::weak_ptr<ControlSession> weak = session;
  SEDGE_TRY(const auto deadline, optional_ms(request, "deadline_ms"));
  const auto hear = [weak](const mesh::Message& message) {
    const auto open = weak.lock();
    if (!open) return;
    json::Object line{{"topic", message.topic}, {"origin", message.origin.hex()}};
    put_bytes(line, "payload", message.payload);
    open->answer(std::move(line));
  };
  mesh::SubscribeOptions options{.deadline = deadline};
  options.on_late = [weak](std::string_view topic) {
    if (const auto open = weak.lock()) open->answer({{"late", topic}});
  };
  options.on_liveliness = [weak](NodeId publisher, bool alive) {
    if (const auto open = weak.lock()) open->answer({{"publisher", publisher.hex()}, {"alive", alive}});
  };
  if (!liveliness) options.on_liveliness = nullptr;
  SEDGE_TRY(const auto subscription, runtime.node().subscribe(filter, hear, options, platform::now()));
  session->on_close.emplace_back([&runtime, subscription] { runtime.node().unsubscribe(subscription); });
  session->answer({{"subscribed", filter}});
  return {};
}

Result<env::Grammar> grammar_of(const json::Object& request) {
  if (request.contains("grammar") && request.contains("json_schema")) {
    return fail(Code::kInvalidArgument, "'grammar' and 'json_schema' cannot both say what the answer must be");
  }
  SEDGE_TRY(std::string grammar, text_field(request, "grammar", ""));
  SEDGE_TRY(std::string schema, text_field(request, "json_schema", ""));
  if (request.contains("grammar")) return env::Grammar{env::GrammarKind::kGbnf, std::move(grammar)};
  if (request.contains("json_schema")) return env::Grammar{env::GrammarKind::kJsonSchema, std::move(schema)};
  return env::Grammar{};
}

// 0: none.
Result<std::optional<Duration>> deadline_of(const json::Object& request) {
  SEDGE_TRY(const double ms, optional_field(request, "deadline_ms", 0.0, json::get_double));
  if (ms < 0 || ms > 1e9) return fail(Code::kInvalidArgument, "deadline_ms is outside 0 to 1e9");
  if (ms == 0) return std::nullopt;
  return Duration(static_cast<std::int64_t>(ms * 1e6));
}

Result<node::TaskRequest> task_request(const json::Object& request) {
  node::TaskRequest task;
  SEDGE_TRY(task.spec.model, json::get_string(request, "model"));
  SEDGE_TRY(const std::string prompt, text_field(request, "prompt", ""));
  SEDGE_TRY(const bool chat, optional_field(request, "chat", false, json::get_bool));
  if (chat)
    task.spec.turns.push_back({"user", prompt});
  else
    task.spec.prompt = prompt;
  SEDGE_TRY(task.spec.tokens_max, optional_field(request, "max_tokens", std::uint32_t{256}, json::get_uint));
  SEDGE_TRY(task.spec.tokens_min, optional_field(request, "min_tokens", std::uint32_t{0}, json::get_uint));
  SEDGE_TRY(task.spec.stops, text_list(request, "stops"));
  env::Sampling& sampling = task.spec.sampling;
  SEDGE_TRY(sampling.temperature, optional_field(request, "temperature", 0.0, json::get_double));
  SEDGE_TRY(sampling.top_k, optional_field(request, "top_k", std::uint32_t{0}, json::get_uint));
  SEDGE_TRY(sampling.top_p, optional_field(request, "top_p", 1.0, json::get_double));
  SEDGE_TRY(sampling.min_p, optional_field(request, "min_p", 0.0, json::get_double));
  SEDGE_TRY(sampling.repeat_penalty, optional_field(request, "repeat_penalty", 1.0, json::get_double));
  SEDGE_TRY(sampling.seed, optional_field(request, "seed", std::uint64_t{0}, json::get_uint));
  SEDGE_TRY(sampling.frequency_penalty, optional_field(request, "frequency_penalty", 0.0, json::get_double));
  SEDGE_TRY(sampling.presence_penalty, optional_field(request, "presence_penalty", 0.0, json::get_double));
  SEDGE_TRY(task.spec.grammar, grammar_of(request));
  SEDGE_TRY(task.deadline, deadline_of(request));
  SEDGE_TRY(const std::string fallback, text_field(request, "fallback", ""));
  if (request.contains("fallback")) task.fallback = fallback;
  SEDGE_TRY(const auto id, optional_id(request, "task"));
  task.id = id.value_or(TaskId{});
  SEDGE_TRY(task.publish, text_list(request, "publish"));
  SEDGE_TRY(task.fallback_last_good, optional_field(request, "fallback_last_good", false, json::get_bool));
  return task;
}

double rate(std::size_t count, Duration time) {
  return time > Duration::zero() ? static_cast<double>(count) / to_seconds(time) : 0.0;
}

// Of a task that writes.
void put_text(json::Object& object, const node::TaskResult& result) {
  object["text"] = result.text;
  object["tokens"] = json::Array(result.tokens.begin(), result.tokens.end());
  object["finish"] = result.stopped ? "stop" : "length";
  object["decode_tok_s"] = rate(result.tokens.size(), result.decode);
}

// Of any.
json::Object result_object(const node::Node& node, const node::TaskResult& result) {
  json::Object object{{"outcome", std::string(node::outcome_name(result.outcome))},
                      {"prompt_tokens", result.prompt_tokens},
                      {"ttft_ms", to_ms(result.first_token)},
                      {"total_ms", to_ms(result.total)},
                      {"prefill_tok_s", rate(result.prompt_tokens, result.prefill)},
                      {"served_by", name_of(node, result.served_by)},
                      {"attempts", result.attempts},
                      {"deadline_met", result.deadline_met},
                      {"task", result.id.hex()}};
  if (!result.reason.empty()) object["reason"] = result.reason;
  if (result.retry_after > Duration::zero()) object["retry_after_ms"] = to_ms(result.retry_after);
  return object;
}

// `line`: what is answered for each token.
void run_task(platform::Runtime& runtime, node::TaskRequest task, const SessionRef& session,
              std::function<json::Object(const env::Token& token)> line) {
  node::Node& node = runtime.node();
  node::RunOptions options;
  const auto id = std::make_shared<TaskId>();
  options.on_tokens = [session, &node, id, line = std::move(line),
                       index = std::size_t{0}](std::span<const env::Token> tokens) mutable {
    const std::string server = name_of(node, node.owner().server_of(*id));
    for (const env::Token& token : tokens) {
      json::Object answer = line(token);
      answer["index"] = index++;
      answer["served_by"] = server;
      session->answer(answer);
    }
  };
  const auto ended = std::make_shared<bool>(false);
  options.on_result = [session, &node, ended, embeds = !task.spec.texts.empty()](const node::TaskResult& result) {
    *ended = true;
    json::Object object = result_object(node, result);
    if (!embeds) put_text(object, result);
    session->answer({{"result", std::move(object)}});
    session->end();
  };
  task.spec.asked_local_s = platform::local_seconds();
  *id = node.run(std::move(task), std::move(options), platform::now());
  if (*ended) return;  // refused at once: a task of that id may be another client's
  session->on_close.emplace_back([&runtime, id] { runtime.node().cancel(*id, platform::now()); });
}

Status op_run(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(node::TaskRequest task, task_request(request));
  run_task(runtime, std::move(task), session,
           [](const env::Token& token) { return json::Object{{"token", token.id}, {"text", token.bytes}}; });
  return {};
}

Status op_embed(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  node::TaskRequest task;
  SEDGE_TRY(task.spec.model, json::get_string(request, "model"));
  SEDGE_TRY(task.spec.texts, text_list(request, "texts"));
  SEDGE_TRY(task.deadline, deadline_of(request));
  const std::size_t count = task.spec.texts.size();
  std::size_t bytes = 0;
  for (const std::string& text : task.spec.texts) bytes += text.size();
  if (count == 0 || count > kEmbeddingTextsMax || bytes > kEmbeddingBytesMax) {
    return fail(Code::kInvalidArgument, "'texts' are {} of {} bytes: 1 to {} texts of at most {} bytes together", count,
                bytes, kEmbeddingTextsMax, kEmbeddingBytesMax);
  }
  task.spec.tokens_max = static_cast<std::uint32_t>(count);
  run_task(runtime, std::move(task), session, [](const env::Token& token) {
    const std::vector<float> vector = vector_of(token.bytes);
    return json::Object{{"vector", json::Array(vector.begin(), vector.end())}};
  });
  return {};
}

Status op_invite(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  node::Enroller* enroller = runtime.node().enroller();
  if (enroller == nullptr) {
    return fail(Code::kPermissionDenied,
                "this node is no issuer: run `sedge fleet invite` on the one where the fleet was created");
  }
  SEDGE_TRY(const std::string name, text_field(request, "name", ""));
  std::optional<trust::Grants> grants;
  if (request.contains("grants")) {
    SEDGE_TRY(const auto texts, text_list(request, "grants"));
    std::vector<trust::Grant> parsed;
    for (const std::string& text : texts) {
      SEDGE_TRY(trust::Grant grant, trust::parse_grant(text));
      parsed.push_back(std::move(grant));
    }
    if (!parsed.empty()) grants = trust::Grants(std::move(parsed));
  }
  const auto shown = [session](const Result<std::string>& text) {
    if (!text) return session->fail(text.error());
    session->answer({{"invitation", *text}});
    session->end();
  };
  SEDGE_TRY(const std::string replace, text_field(request, "replace", ""));
  if (replace.empty()) {
    enroller->invite(name.empty() ? std::nullopt : std::optional(name), std::move(grants), shown);
    return {};
  }
  if (!name.empty() || grants) {
    return fail(Code::kInvalidArgument,
                "an invitation for the next key of '{}' has its name and its grants: give no others", replace);
  }
  return runtime.node().invite_successor(replace, shown);
}

Status op_revoke(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string who, json::get_string(request, "node"));
  SEDGE_TRY(const std::string record, runtime.node().revoke(who, acknowledge(session), platform::now()));
  session->answer({{"revoked", record}});
  return {};
}

Status op_retire_issuer(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string text, json::get_string(request, "revocation"));
  const auto revocation = from_base64url(text);
  if (!revocation) return fail(Code::kInvalidArgument, "'revocation' is not base64url");
  SEDGE_TRY(const bool leave_behind, optional_field(request, "leave_behind", false, json::get_bool));
  return runtime.node().retire_issuer(*revocation, leave_behind, acknowledge(session), platform::now());
}

json::Array parts_of(const node::Node& node, const std::vector<NodeId>& ids) {
  json::Array parts;
  for (const NodeId id : ids) {
    const auto state = node.membership().state_of(id);
    parts.push_back(json::Object{{"id", id.hex()},
                                 {"name", name_of(node, id)},
                                 {"alive", id == node.id() || (state && *state <= mesh::MemberState::kSuspect)}});
  }
  return parts;
}

// What an order of a forced quorum is made from.
Status op_quorum(platform::Runtime& runtime, const json::Object&, const SessionRef& session) {
  const consensus::Raft& raft = runtime.node().group().raft();
  session->answer({{"group", raft.group().value},
                   {"forced", raft.forced()},
                   {"begun", !raft.configuration_forced()},
                   {"voters", parts_of(runtime.node(), raft.configuration().voters)},
                   {"learners", parts_of(runtime.node(), raft.configuration().learners)}});
  session->end();
  return {};
}

Status op_force_quorum(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string text, json::get_string(request, "order"));
  const auto order = from_base64url(text);
  if (!order) return fail(Code::kInvalidArgument, "'order' is not base64url");
  return runtime.node().force_quorum(*order, acknowledge(session), platform::now());
}

Status op_average(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  SEDGE_TRY(const std::string name, json::get_string(request, "name"));
  SEDGE_TRY(const double value, json::get_double(request, "value"));
  SEDGE_TRY(const auto window, optional_ms(request, "window_ms"));
  const auto done = [session, name](const Result<consensus::Average>& result) {
    if (!result) return session->fail(result.error());
    session->answer({{"name", name},
                     {"mean", result->mean},
                     {"sum", result->sum},
                     {"count", result->count},
                     {"rounds", result->rounds}});
    session->end();
  };
  runtime.node().average(name, value, window.value_or(consensus::kAverageWindow), done, platform::now());
  return {};
}

Status op_leader(platform::Runtime& runtime, const json::Object&, const SessionRef& session) {
  session->answer(lead_object(runtime.node()));
  session->end();
  return {};
}

Status op_stop(platform::Runtime& runtime, const json::Object&, const SessionRef& session) {
  session->answer({{"stopping", true}});
  session->end();
  runtime.stop();
  return {};
}

constexpr std::pair<std::string_view, Operation> kOperations[] = {
    {"status", op_status},
    {"set", op_set},
    {"get", op_get},
    {"watch", op_watch},
    {"pub", op_pub},
    {"sub", op_sub},
    {"run", op_run},
    {"embed", op_embed},
    {"invite", op_invite},
    {"revoke", op_revoke},
    {"retire_issuer", op_retire_issuer},
    {"stop", op_stop},
    {"leader", op_leader},
    {"audit_log", audit_log},
    {"audit_verify", audit_verify},
    {"tensor_begin", tensor_begin},
    {"tensor_give", tensor_give},
    {"tensor_put", tensor_put},
    {"tensor_info", tensor_info},
    {"tensor_read", tensor_read},
    {"average", op_average},
    {"quorum", op_quorum},
    {"force_quorum", op_force_quorum},
};

std::string_view state_name(mesh::MemberState state) {
  static constexpr std::string_view kNames[] = {"alive", "suspect", "dead", "left"};
  return kNames[static_cast<std::size_t>(state)];
}

json::Array privacy_rows(const node::Node& node) {
  json::Array rows;
  for (const auto& [topic, spent, left] : node.privacy().rows()) {
    rows.push_back(json::Object{{"topic", topic}, {"spent", spent}, {"left", left}});
  }
  return rows;
}

std::uint64_t resident_bytes() {
  std::uint64_t pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%*u %lu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * 4096;
}

json::Object coordinate_object(const wire::Coordinate& place) {
  return {{"x_ms", place.x_us / 1e3},
          {"y_ms", place.y_us / 1e3},
          {"height_ms", place.height_us / 1e3},
          {"error", place.error_permille / 1e3}};
}

json::Object member_object(platform::Runtime& runtime, const mesh::Member& member) {
  const node::Node& node = runtime.node();
  json::Array endpoints;
  for (const env::Endpoint& endpoint : member.endpoints) endpoints.emplace_back(endpoint.text());
  json::Object object{{"id", member.id.hex()},
                      {"name", member.name},
                      {"state", std::string(state_name(member.state))},
                      {"self", member.id == node.id()},
                      {"epoch", member.epoch.value},
                      {"linked", member.linked},
                      {"rtt_ms", to_ms(node.membership().rtt(member.id))},
                      {"endpoints", std::move(endpoints)}};
  // What is not known is missing: how far it is to a member without a link, and the clock of one without an answer.
  if (const Duration far = node.membership().round_trip(member.id); !member.linked && far != Duration{}) {
    object["rtt_estimate_ms"] = to_ms(far);
  }
  if (const auto offset = node.state().clock_offset(member.id)) object["clock_offset_ms"] = to_ms(*offset);
  if (member.overlay) {
    object["zone"] = member.overlay->zone;
    object["gateway"] = node.membership().gateway(member.id);
  }
  if (member.coordinate) object["coordinate"] = coordinate_object(*member.coordinate);
  json::Array models;
  const auto view = node.owner().nodes().find(member.id);
  if (view != node.owner().nodes().end()) {
    for (const env::ModelOffer& offer : view->second.offers) {
      models.push_back(json::Object{{"name", offer.name},
                                    {"bytes", offer.bytes},
                                    {"numeric_class", offer.numeric_class},
                                    {"decode_tok_s", offer.decode_tok_s}});
    }
    object["running"] = view->second.load.running;
    object["waiting"] = view->second.load.waiting;
    object["backlog_ms"] = to_ms(view->second.load.backlog);
  }
  object["models"] = std::move(models);
  return object;
}

}  // namespace

void put_bytes(json::Object& object, const char* name, Bytes bytes) {
  const std::string_view text = as_text(bytes);
  if (valid_utf8(text))
    object[name] = text;
  else
    object[std::string(name) + "_base64"] = to_base64url(bytes);
}

json::Object status_report(platform::Runtime& runtime) {
  const node::Node& node = runtime.node();
  json::Array members;
  for (const mesh::Member& member : node.membership().members()) members.push_back(member_object(runtime, member));
  const auto digest = node.state().digest();
  const platform::TransportStats transport = runtime.transport();
  const node::NodeStats& stats = node.stats();
  return {{"id", node.id().hex()},
          {"name", node.options().name},
          {"epoch", node.options().epoch.value},
          {"listening", runtime.listening().text()},
          {"alive", node.membership().alive()},
          {"overlay", mesh::overlay_text(node.membership().overlay())},
          {"refused", node.membership().refused()},
          {"fleet_ms", node.state().fleet_ms(platform::now())},
          {"members", std::move(members)},
          {"state", json::Object{{"writes", node.state().replica().living().size()},
                                 {"tombstones", node.state().replica().tombstones()},
                                 {"digest", fmt::format("{:016x}{:016x}", digest[0], digest[1])},
                                 {"unacknowledged", node.state().unacknowledged()},
                                 {"quarantined", node.state().stats().in_quarantine}}},
          {"messages", json::Object{{"holding", node.pubsub().causal().holding()},
                                    {"held", node.pubsub().causal().stats().held},
                                    {"given_up", node.pubsub().causal().stats().given_up}}},
          {"tensors", json::Object{{"paths", node.tensors().all().size()},
                                   {"bytes", node.tensors().store().bytes_held()},
                                   {"bytes_wanted", node.tensors().store().bytes_named()}}},
          {"tasks", json::Object{{"open", node.owner().open()},
                                 {"answered", stats.tasks_answered},
                                 {"refused", stats.tasks_refused},
                                 {"fallback", stats.tasks_fallback},
                                 {"failed", stats.tasks_failed},
                                 {"resumed", stats.tasks_resumed}}},
          {"consensus", lead_object(node)},
          {"privacy", privacy_rows(node)},
          {"transport", json::Object{{"links", transport.links},
                                     {"bytes_in", transport.bytes_in},
                                     {"bytes_out", transport.bytes_out},
                                     {"handshakes_refused", transport.handshakes_refused},
                                     {"frames_refused", stats.frames_refused},
                                     {"frames_dropped", node.meter().dropped()},
                                     {"peers_shunned", stats.peers_shunned}}},
          {"resident_bytes", resident_bytes()}};
}

void control(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  const auto name = json::get_string(request, "op");
  if (!name) return session->fail(name.error());
  for (const auto& [op, run] : kOperations) {
    if (op != *name) continue;
    if (const Status done = run(runtime, request, session); !done) session->fail(done.error());
    return runtime.turn();
  }
  session->fail({Code::kUnimplemented, fmt::format("this node does not know the operation '{}'", *name)});
}

}  // namespace sedge::api
