#include "api/http_server.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>

#include "api/embeddings.h"
#include "api/guard.h"
#include "api/metrics.h"
#include "api/openai.h"
#include "base/json.h"
#include "env/model_name.h"
#include "platform/runtime.h"
#include "platform/system.h"
#include "platform/udp_socket.h"
#include "wire/task_messages.h"

namespace sedge::api {
namespace asio = boost::asio;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;

namespace {

constexpr std::size_t kBodyBytesMax = 1u << 20;
constexpr std::uint32_t kHeaderBytesMax = 16u << 10;
constexpr std::size_t kConnectionsMax = 256;
constexpr Duration kReadWait = 30s;       // for a whole request, and between two on a kept connection
constexpr Duration kWriteWait = 30s;      // a reader that takes nothing for so long is gone
constexpr Duration kLinger = 1s;          // for a refused client to stop sending and read why
constexpr Duration kAcceptPause = 100ms;  // after a failed accept: out of descriptors, most likely

constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);
template <class T>
using Awaitable = asio::awaitable<T>;

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

enum class Page { kHealth, kMetrics, kModels, kModel, kCompletion, kChat, kEmbeddings };

struct Route {
  std::string_view path;
  std::string_view method;
  Page page;
  bool prefix = false;  // what follows is an argument
};

constexpr Route kRoutes[] = {
    {"/healthz", "GET", Page::kHealth},
    {"/metrics", "GET", Page::kMetrics},
    {"/v1/models", "GET", Page::kModels},
    {"/v1/models/", "GET", Page::kModel, true},
    {"/v1/completions", "POST", Page::kCompletion},
    {"/v1/chat/completions", "POST", Page::kChat},
    {"/v1/embeddings", "POST", Page::kEmbeddings},
};

const Route* route_of(std::string_view path) {
  const auto fits = [path](const Route& route) {
    return route.prefix ? path.starts_with(route.path) && path != route.path : path == route.path;
  };
  const auto found = std::ranges::find_if(kRoutes, fits);
  return found == std::end(kRoutes) ? nullptr : &*found;
}

// visit(const std::vector<env::ModelOffer>&): what each node of the fleet offers that is not known to be dead.
template <class Visit>
void for_each_offers(const node::Node& node, Visit&& visit) {
  std::set<NodeId> alive{node.id()};
  for (const mesh::Member& member : node.membership().members()) {
    using enum mesh::MemberState;
    if (member.state == kAlive || member.state == kSuspect) alive.insert(member.id);
  }
  node.state().replica().for_each("sys/node/", [&](const std::string& path, const crdt::Value& value) {
    if (!path.ends_with("/offers") || !alive.contains(value.writer) || value.values.empty()) return;
    if (const auto offers = wire::decode<wire::Offers>(value.values.front())) visit(offers->models);
  });
}

bool is_offered(const node::Node& node, std::string_view model) {
  bool found = false;
  for_each_offers(node, [&](const auto& offers) { found = found || env::find_offer(offers, model); });
  return found;
}

std::map<std::string, OfferedModel> offered_models(const node::Node& node) {
  std::map<std::string, OfferedModel> models;
  std::map<std::string, std::string, std::less<>> by_hash;  // names
  for_each_offers(node, [&](const std::vector<env::ModelOffer>& offers) {
    for (const env::ModelOffer& offer : offers) {
      OfferedModel fresh{offer.name, offer.hash, offer.bytes, offer.context};
      by_hash.try_emplace(offer.hash, offer.name);
      ++models.try_emplace(offer.name, std::move(fresh)).first->second.nodes;
    }
  });
  for (auto& [name, model] : models) {
    const auto base = by_hash.find(env::weights_of(model.hash));
    if (base != by_hash.end() && base->first != model.hash) model.parent = base->second;
  }
  return models;
}

struct Answer {
  unsigned status = 200;
  std::string_view type = "application/json";
  std::string body;
  std::string headers;  // more of them, each with its line end
};

// Header values here are ours alone: numbers and constants, never a client's text.
Answer answer_of(const ApiError& error) {
  Answer answer{.status = error.status, .body = error_body(error)};
  if (error.status == 401) answer.headers = "WWW-Authenticate: Bearer\r\n";
  if (error.retry_after) {
    const auto ms = std::max<std::int64_t>(1, *error.retry_after / 1ms);
    answer.headers = fmt::format("Retry-After: {}\r\nRetry-After-Ms: {}\r\n", (ms + 999) / 1000, ms);
  }
  return answer;
}

std::string head_of(unsigned status, std::string_view type, bool keep) {
  return fmt::format(
      "HTTP/1.1 {} {}\r\nServer: sedge\r\nContent-Type: {}\r\nX-Content-Type-Options: nosniff\r\n"
      "Connection: {}\r\n",
      status, view(http::obsolete_reason(http::int_to_status(status))), type, keep ? "keep-alive" : "close");
}

std::string text_of(const Answer& answer, bool keep) {
  return fmt::format("{}{}Content-Length: {}\r\n\r\n{}", head_of(answer.status, answer.type, keep), answer.headers,
                     answer.body.size(), answer.body);
}

ApiError plain_error(unsigned status, std::string message, std::string code) {
  ApiError error = invalid(std::move(message), {}, std::move(code));
  error.status = status;
  return error;
}

const ApiError kLeaving{503, "server_error", "this node is leaving the fleet; ask another", "", "leaving", {}};

}  // namespace

// A task under way. The node's callbacks fill it, the coroutine empties it.
struct Call {
  TaskId task;
  bool began = false;                // the first token is there
  std::string text;                  // not yet written
  std::vector<env::Token> logprobs;  // with it, where asked for
  std::uint32_t tokens = 0;          // whose credit is not yet given back
  std::optional<node::TaskResult> result;
  bool gone = false;  // the client
};

class Connection;

class HttpListener {
 public:
  HttpListener(platform::Runtime& node_runtime, std::string bearer_token)
      : runtime(node_runtime), token(std::move(bearer_token)), acceptor_(node_runtime.io()) {}

  Status open(const env::Endpoint& listen);
  void close() noexcept;
  static Awaitable<void> accept(std::shared_ptr<HttpListener> self);
  env::Endpoint endpoint() const;

  platform::Runtime& runtime;
  const std::string token;
  platform::SystemEntropy entropy;
  HttpStats stats;
  std::set<Connection*> connections;

 private:
  void take(const std::shared_ptr<HttpListener>& self, tcp::socket socket);

  tcp::acceptor acceptor_;
};

namespace {

env::Endpoint to_endpoint(const tcp::endpoint& from) {
  env::Endpoint endpoint;
  endpoint.port = from.port();
  if (from.address().is_v4()) {
    const auto ip = from.address().to_v4().to_bytes();
    return env::Endpoint::v4(ip[0], ip[1], ip[2], ip[3], from.port());
  }
  endpoint.address = from.address().to_v6().to_bytes();
  return endpoint;
}

tcp::endpoint to_tcp(const env::Endpoint& endpoint) {
  const asio::ip::address_v6 v6(endpoint.address, endpoint.scope);
  if (!endpoint.is_v4()) return {v6, endpoint.port};
  return {asio::ip::make_address_v4(asio::ip::v4_mapped, v6), endpoint.port};
}

}  // namespace

// One client. Its coroutine and the node's callbacks share it; all run on the loop's thread, one at a time.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<HttpListener> listener, tcp::socket socket)
      : listener_(std::move(listener)), stream_(std::move(socket)), wake_(stream_.get_executor()) {
    ErrorCode ignored;
    stream_.socket().set_option(tcp::no_delay(true), ignored);
    stream_.socket().non_blocking(true, ignored);
    local_ = to_endpoint(stream_.socket().local_endpoint(ignored));
    listener_->connections.insert(this);
  }
  ~Connection() { listener_->connections.erase(this); }

  static Awaitable<void> serve(std::shared_ptr<Connection> self) {
    bool open = true;
    while (open) open = co_await self->exchange();
    if (self->unread_) co_await self->linger();
    self->close();
  }

  void close() noexcept {
    if (call_) call_->gone = true;
    stream_.close();
    try {
      wake_.cancel();
    } catch (const std::exception&) {
      return;  // Asio's timers may throw by their signature: then nobody waits for this one
    }
  }

 private:
  // One request's parser is also where its headers and body stay until it is answered.
  using Parser = http::request_parser<http::string_body>;

  // Each of these says whether the connection stays open.
  Awaitable<bool> exchange();
  Awaitable<bool> dispatch(Page page, std::string_view argument);
  Awaitable<bool> show_model(std::string_view name);
  Awaitable<bool> complete(Kind kind);
  Awaitable<bool> embed();
  using BodyOf = std::function<ApiResult<std::string>(const node::TaskResult&)>;  // an answer's body
  Awaitable<bool> answer_whole(BodyOf body_of);
  Awaitable<bool> answer_stream(AnswerHead head);
  Awaitable<bool> abandon();
  Awaitable<bool> refuse(ApiError error);
  Awaitable<bool> reply(Answer answer);
  Awaitable<bool> send(std::string bytes);
  Awaitable<bool> read_body();

  Awaitable<void> linger();
  Awaitable<void> wait();
  std::optional<ApiError> check_head(const Route*& route) const;
  std::string_view header(std::string_view name) const;
  std::string_view path() const;
  std::string chunk(std::string data) const;
  RequestContext context();
  void start_task(node::TaskRequest task, bool stream);
  void watch();
  node::Node& node() { return listener_->runtime.node(); }

  std::shared_ptr<HttpListener> listener_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_{kHeaderBytesMax + kBodyBytesMax};
  asio::steady_timer wake_;
  env::Endpoint local_;
  std::optional<Parser> parser_;
  std::optional<Call> call_;
  bool keep_ = false;    // after this answer
  bool unread_ = false;  // the client may still be sending what nobody will read
};

std::string_view Connection::header(std::string_view name) const {
  return view(parser_->get()[boost::beast::string_view(name.data(), name.size())]);
}

std::string_view Connection::path() const {
  const std::string_view target = view(parser_->get().target());
  return target.substr(0, target.find('?'));
}

// Who asks, and for what: before a byte of the body is read.
std::optional<ApiError> Connection::check_head(const Route*& route) const {
  const std::string_view method = view(parser_->get().method_string());
  route = route_of(path());
  const bool health = route != nullptr && route->page == Page::kHealth;  // probes of a supervisor carry no token
  const Caller caller{header("Host"), header("Origin"), header("Authorization")};
  if (auto refusal = check_caller(caller, health ? "" : std::string_view(listener_->token), local_)) return refusal;
  if (route == nullptr) return plain_error(404, "there is nothing at this path", "unknown_url");
  if (method != route->method) {
    return plain_error(405, fmt::format("{} takes {}", route->path, route->method), "method_not_allowed");
  }
  if (route->method == "POST") return check_content_type(header("Content-Type"));
  return std::nullopt;
}

Awaitable<bool> Connection::exchange() {
  parser_.emplace();
  parser_->header_limit(kHeaderBytesMax);
  parser_->body_limit(kBodyBytesMax);
  keep_ = false;
  stream_.expires_after(kReadWait);
  const auto [error, count] = co_await http::async_read_header(stream_, buffer_, *parser_, kNoThrow);
  if (error == http::error::body_limit) {
    unread_ = true;
    co_return co_await refuse(plain_error(413, "the body is larger than 1 MiB", "body_too_large"));
  }
  if (error == http::error::header_limit) {
    unread_ = true;
    co_return co_await refuse(plain_error(431, "the headers are larger than 16 KiB", "headers_too_large"));
  }
  const bool malformed = error && error.category() == http::make_error_code(http::error::bad_method).category() &&
                         error != http::error::end_of_stream && error != http::error::partial_message;
  if (malformed) {
    unread_ = true;
    co_return co_await refuse(plain_error(400, "this is not HTTP: " + error.message(), "malformed"));
  }
  if (error) co_return false;  // closed, silent for too long, or the server ends
  ++listener_->stats.requests;

  const Route* route = nullptr;
  if (auto refusal = check_head(route)) {
    unread_ = !parser_->is_done();
    keep_ = parser_->is_done() && parser_->get().keep_alive() && parser_->get().method() != http::verb::head;
    co_return co_await refuse(std::move(*refusal));
  }
  const bool whole = co_await read_body();
  if (!whole) co_return false;
  keep_ = parser_->get().keep_alive();
  const std::string argument(path().substr(route->path.size()));
  co_return co_await dispatch(route->page, argument);
}

// False: it did not come, or was too large, which has been said.
Awaitable<bool> Connection::read_body() {
  if (parser_->is_done()) co_return true;
  if (header("Expect") == "100-continue") {
    const bool sent = co_await send("HTTP/1.1 100 Continue\r\n\r\n");
    if (!sent) co_return false;
    stream_.expires_after(kReadWait);
  }
  const auto [error, count] = co_await http::async_read(stream_, buffer_, *parser_, kNoThrow);
  if (error == http::error::body_limit) {
    unread_ = true;
    co_await refuse(plain_error(413, "the body is larger than 1 MiB", "body_too_large"));
  }
  co_return !error;
}

Awaitable<bool> Connection::dispatch(Page page, std::string_view argument) {
  switch (page) {
    case Page::kHealth: {
      const bool leaving = node().leaving();
      const json::Object body{{"status", leaving ? "leaving" : "ok"},
                              {"node", node().id().hex()},
                              {"name", node().options().name},
                              {"members_alive", node().membership().alive()}};
      Answer answer{.status = leaving ? 503u : 200u, .body = json::write(body)};
      co_return co_await reply(std::move(answer));
    }
    case Page::kMetrics: {
      HttpStats stats = listener_->stats;
      stats.connections = listener_->connections.size();
      Answer answer{.type = "text/plain; version=0.0.4; charset=utf-8",
                    .body = metrics_text(node(), listener_->runtime.transport(), listener_->runtime.energy(), stats)};
      co_return co_await reply(std::move(answer));
    }
    case Page::kModels: {
      std::vector<OfferedModel> models;
      for (auto& [name, model] : offered_models(node())) models.push_back(model);
      Answer answer{.body = models_body(models)};
      co_return co_await reply(std::move(answer));
    }
    case Page::kModel:
      co_return co_await show_model(argument);
    case Page::kCompletion:
      co_return co_await complete(Kind::kCompletion);
    case Page::kChat:
      co_return co_await complete(Kind::kChat);
    case Page::kEmbeddings:
      co_return co_await embed();
  }
  co_return false;
}

Awaitable<bool> Connection::show_model(std::string_view name) {
  const auto models = offered_models(node());
  const auto found = models.find(std::string(name));
  if (found == models.end()) co_return co_await refuse(model_not_found(name));
  Answer answer{.body = model_body(found->second)};
  co_return co_await reply(std::move(answer));
}

RequestContext Connection::context() {
  return {listener_->entropy.u64(), header("X-Sedge-Deadline-Ms"), header("traceparent")};
}

Awaitable<bool> Connection::embed() {
  const auto request = parse_embedding(parser_->get().body(), context());
  if (!request) co_return co_await refuse(request.error());
  if (node().leaving()) co_return co_await refuse(kLeaving);
  const std::string& model = request->task.spec.model;
  if (!is_offered(node(), model)) co_return co_await refuse(model_not_found(model));
  start_task(request->task, false);
  BodyOf body_of = [&](const node::TaskResult& result) { return embedding_body(*request, result); };
  const bool open = co_await answer_whole(std::move(body_of));
  call_.reset();
  ErrorCode ignored;
  if (open) stream_.socket().cancel(ignored);  // ends the watch
  co_return open;
}

Awaitable<bool> Connection::complete(Kind kind) {
  auto request = parse_completion(kind, parser_->get().body(), context());
  if (!request) co_return co_await refuse(std::move(request.error()));
  if (node().leaving()) co_return co_await refuse(kLeaving);
  const std::string model = request->task.spec.model;
  if (!is_offered(node(), model)) co_return co_await refuse(model_not_found(model));

  const bool stream = request->stream;
  AnswerHead head{
      kind, {}, platform::wall_seconds(), model, request->include_usage, request->functions, request->parallel_calls};
  start_task(std::move(request->task), stream);
  head.task = call_->task;
  bool open = false;
  if (stream) {
    open = co_await answer_stream(std::move(head));
  } else {
    BodyOf body_of = [&](const node::TaskResult& result) { return completion_body(head, result); };
    open = co_await answer_whole(std::move(body_of));
  }
  call_.reset();
  ErrorCode ignored;
  if (open) stream_.socket().cancel(ignored);  // ends the watch
  co_return open;
}

void Connection::start_task(node::TaskRequest task, bool stream) {
  call_.emplace();
  const auto self = shared_from_this();
  node::RunOptions options;
  options.manual_credit = stream;
  options.on_tokens = [self, stream](std::span<const env::Token> tokens) {
    if (!self->call_ || !stream) return;
    self->call_->began = true;
    self->call_->tokens += static_cast<std::uint32_t>(tokens.size());
    for (const env::Token& token : tokens) {
      self->call_->text += token.bytes;
      if (!token.logprobs.empty()) self->call_->logprobs.push_back(token);
    }
    self->wake_.cancel();
  };
  options.on_result = [self](const node::TaskResult& result) {
    if (!self->call_) return;
    self->call_->result = result;
    self->wake_.cancel();
  };
  task.spec.asked_local_s = platform::local_seconds();
  // A refusal may come before run() returns.
  call_->task = node().run(std::move(task), std::move(options), platform::now());
  listener_->runtime.turn();
  watch();
}

// Tells when the client goes while nothing is read from it.
void Connection::watch() {
  stream_.socket().async_wait(tcp::socket::wait_read, [self = shared_from_this()](const ErrorCode& error) {
    if (error || !self->call_) return;
    char next = 0;
    ErrorCode peeked;
    self->stream_.socket().receive(asio::buffer(&next, 1), tcp::socket::message_peek, peeked);
    if (peeked == asio::error::would_block) return self->watch();
    if (!peeked) return;  // the next request, early: it waits its turn
    self->call_->gone = true;
    self->wake_.cancel();
  });
}

// Until something wakes us. Whoever calls looks first whether it has happened: no one else runs in between.
Awaitable<void> Connection::wait() {
  wake_.expires_at(asio::steady_timer::time_point::max());
  co_await wake_.async_wait(kNoThrow);
}

Awaitable<bool> Connection::answer_whole(BodyOf body_of) {
  while (!call_->result && !call_->gone) co_await wait();
  if (call_->gone) co_return co_await abandon();
  if (auto error = error_of(*call_->result, node().leaving())) co_return co_await refuse(std::move(*error));
  auto body = body_of(*call_->result);
  if (!body) co_return co_await refuse(std::move(body.error()));
  Answer answer{.body = *std::move(body)};
  co_return co_await reply(std::move(answer));
}

// The status line waits for the first token: who is refused before it gets a proper status.
Awaitable<bool> Connection::answer_stream(AnswerHead head) {
  while (!call_->began && !call_->result && !call_->gone) co_await wait();
  if (call_->gone) co_return co_await abandon();
  if (!call_->began) {
    if (auto error = error_of(*call_->result, node().leaving())) co_return co_await refuse(std::move(*error));
  }
  const bool chunked = parser_->get().version() >= 11;
  keep_ = keep_ && chunked;
  std::string begin = head_of(200, "text/event-stream; charset=utf-8", keep_);
  begin +=
      chunked ? "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n" : "Cache-Control: no-cache\r\n\r\n";
  bool open = co_await send(begin + chunk(first_event(head)));
  bool shown = false;
  while (open && !call_->gone) {
    const bool ended = call_->result.has_value();
    const std::string text = take_text(head, call_->text, shown, call_->result);
    const std::uint32_t tokens = std::exchange(call_->tokens, 0);
    // Tokens that a stop string swallowed have no text to go with.
    const bool rest = ended && call_->result->outcome == node::Outcome::kAnswered && !call_->logprobs.empty();
    if (!text.empty() || rest) {
      shown = true;
      open = co_await send(chunk(text_event(head, text, std::exchange(call_->logprobs, {}))));
    }
    if (ended) break;
    if (tokens > 0) {
      node().consumed(call_->task, tokens);
      listener_->runtime.turn();
    }
    if (call_->tokens == 0 && !call_->result && !call_->gone) co_await wait();
  }
  if (!open || call_->gone) co_return co_await abandon();
  const auto error = error_of(*call_->result, node().leaving());
  if (error) ++listener_->stats.errors;
  std::string end = chunk(error ? error_event(*error) : last_events(head, *call_->result, shown));
  if (chunked) end += "0\r\n\r\n";
  open = co_await send(std::move(end));
  co_return open&& keep_;
}

std::string Connection::chunk(std::string data) const {
  if (data.empty() || parser_->get().version() < 11) return data;
  return fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

// The client is gone: nobody else reads the answer.
Awaitable<bool> Connection::abandon() {
  ++listener_->stats.disconnects;
  if (!call_->result) {
    node().cancel(call_->task, platform::now());
    listener_->runtime.turn();
  }
  co_return false;
}

Awaitable<bool> Connection::refuse(ApiError error) {
  ++listener_->stats.errors;
  co_return co_await reply(answer_of(error));
}

Awaitable<bool> Connection::reply(Answer answer) {
  const bool sent = co_await send(text_of(answer, keep_));
  co_return sent&& keep_;
}

Awaitable<bool> Connection::send(std::string bytes) {
  stream_.expires_after(kWriteWait);
  const auto [error, count] = co_await asio::async_write(stream_, asio::buffer(bytes), kNoThrow);
  stream_.expires_never();
  co_return !error;
}

// Closing with unread bytes would reset the connection and take the answer with it: let the client stop first.
Awaitable<void> Connection::linger() {
  ErrorCode ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  stream_.expires_after(kLinger);
  std::vector<char> waste(16u << 10);
  for (std::size_t left = 4 * kBodyBytesMax; left > 0;) {
    const auto [error, count] = co_await stream_.async_read_some(asio::buffer(waste), kNoThrow);
    if (error) co_return;
    left -= std::min(left, count);
  }
}

Status HttpListener::open(const env::Endpoint& listen) {
  const tcp::endpoint at = to_tcp(listen);
  ErrorCode error;
  acceptor_.open(at.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(at, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (!error) return {};
  return fail(Code::kUnavailable, "HTTP cannot listen on {}: {}; choose another with --http", listen.text(),
              error.message());
}

env::Endpoint HttpListener::endpoint() const {
  ErrorCode ignored;
  return to_endpoint(acceptor_.local_endpoint(ignored));
}

void HttpListener::close() noexcept {
  ErrorCode ignored;
  acceptor_.close(ignored);
  for (Connection* connection : connections) connection->close();
}

Awaitable<void> HttpListener::accept(std::shared_ptr<HttpListener> self) {
  while (self->acceptor_.is_open()) {
    tcp::socket socket(self->acceptor_.get_executor());
    const auto [error] = co_await self->acceptor_.async_accept(socket, kNoThrow);
    if (!error) {
      self->take(self, std::move(socket));
      continue;
    }
    asio::steady_timer pause(self->acceptor_.get_executor(), kAcceptPause);
    co_await pause.async_wait(kNoThrow);
  }
}

void HttpListener::take(const std::shared_ptr<HttpListener>& self, tcp::socket socket) {
  if (connections.size() < kConnectionsMax) {
    auto connection = std::make_shared<Connection>(self, std::move(socket));
    asio::co_spawn(acceptor_.get_executor(), Connection::serve(std::move(connection)), asio::detached);
    return;
  }
  // The kernel's buffer of a new connection is empty: these few bytes fit or the client is gone.
  ErrorCode ignored;
  socket.non_blocking(true, ignored);
  const ApiError full{503, "server_error", "too many connections", "", "too_many_connections", {}};
  const std::string text = text_of(answer_of(full), false);
  socket.write_some(asio::buffer(text), ignored);
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(platform::Runtime& runtime, HttpOptions options) {
  SEDGE_TRY(const auto addresses, platform::resolve(options.listen));
  const env::Endpoint& listen = addresses.front();
  if (!listen.is_loopback() && options.bearer_token.empty()) {
    return fail(Code::kFailedPrecondition,
                "HTTP on {} is within reach of others and needs a bearer token; give one, or listen on {}",
                listen.text(), kDefaultListen);
  }
  auto listener = std::make_shared<HttpListener>(runtime, std::move(options.bearer_token));
  SEDGE_CHECK(listener->open(listen));
  asio::co_spawn(runtime.io(), HttpListener::accept(listener), asio::detached);
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(listener)));
}

HttpServer::HttpServer(std::shared_ptr<HttpListener> listener) : listener_(std::move(listener)) {}
HttpServer::~HttpServer() { listener_->close(); }
env::Endpoint HttpServer::endpoint() const { return listener_->endpoint(); }

}  // namespace sedge::api
