// A whole node with its HTTP server, spoken to over real sockets. What needs a model skips where there is none.
#include "api/http_server.h"

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/json.h"
#include "engine/adapter.h"
#include "engine/embedding.h"
#include "engine/generation.h"
#include "engine/prompt.h"
#include "engine/random_model.h"
#include "model/lora.h"
#include "model/random.h"
#include "platform/runtime.h"
#include "support/temp_folder.h"
#include "support/test_data.h"

namespace sedge::api {
namespace {

struct Response {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in small letters
  std::string body;
  json::Value json() const { return json::parse(body, "response").value_or(json::Value()); }
};

// A client that does what it is told, right or wrong.
class Client {
 public:
  explicit Client(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  Response get(std::string_view path, std::string_view headers = "") {
    send(fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", path, headers));
    return receive();
  }
  Response post(std::string_view path, std::string_view body, std::string_view headers = "") {
    send(fmt::format(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{}Content-Length: {}\r\n\r\n{}", path,
        headers, body.size(), body));
    return receive();
  }
  // False at the end.
  bool more() {
    char buffer[4096];
    const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
    if (got > 0) in_.append(buffer, static_cast<std::size_t>(got));
    return got > 0;
  }
  bool closed() { return !more(); }
  bool wait_for(std::string_view text) {
    while (in_.find(text) == std::string::npos) {
      if (!more()) return false;
    }
    return true;
  }

  Response receive() {
    Response response;
    if (!wait_for("\r\n\r\n")) return response;
    std::string head = take(in_.find("\r\n\r\n") + 4);
    response.status = std::atoi(head.substr(9, 3).c_str());
    for (auto at = head.find("\r\n") + 2; at < head.size() - 2;) {
      const auto colon = head.find(": ", at), end = head.find("\r\n", at);
      std::string name = head.substr(at, colon - at);
      for (char& letter : name) letter = static_cast<char>(std::tolower(letter));
      response.headers[name] = head.substr(colon + 2, end - colon - 2);
      at = end + 2;
    }
    if (response.status < 200) return response;  // only a word in between
    if (response.headers.contains("transfer-encoding")) {
      for (std::size_t size = 1; size > 0;) {
        if (!wait_for("\r\n")) return response;
        size = std::strtoul(take(in_.find("\r\n") + 2).c_str(), nullptr, 16);
        while (in_.size() < size + 2 && more()) {
        }
        response.body += take(size + 2).substr(0, size);
      }
    } else if (response.headers.contains("content-length")) {
      const std::size_t size = std::strtoul(response.headers["content-length"].c_str(), nullptr, 10);
      while (in_.size() < size && more()) {
      }
      response.body = take(size);
    } else {
      while (more()) {
      }
      response.body = std::exchange(in_, {});
    }
    return response;
  }

 private:
  std::string take(std::size_t count) {
    std::string taken = in_.substr(0, count);
    in_.erase(0, count);
    return taken;
  }

  int fd_;
  std::string in_;
};

class Server {
 public:
  explicit Server(std::vector<std::filesystem::path> models = {}, std::string token = {},
                  std::vector<platform::AdapterOptions> adapters = {}) {
    auto runtime = platform::Runtime::open({.home = home_.path,
                                            .listen = "127.0.0.1:0",
                                            .models = std::move(models),
                                            .adapters = std::move(adapters),
                                            .engine_threads = 1,
                                            .beacons = false});
    EXPECT_TRUE(runtime) << (runtime ? "" : runtime.error().message);
    if (!runtime) return;
    runtime_ = std::move(*runtime);
    auto http = HttpServer::start(*runtime_, {.listen = "127.0.0.1:0", .bearer_token = std::move(token)});
    EXPECT_TRUE(http) << (http ? "" : http.error().message);
    if (!http) return;
    http_ = std::move(*http);
    port = http_->endpoint().port;
    loop_ = std::thread([this] { (void)runtime_->run(); });
  }
  ~Server() {
    if (runtime_) runtime_->stop();
    if (loop_.joinable()) loop_.join();
    http_.reset();
    runtime_.reset();
  }

  // Our own offer is an entry like any other: there once it is durable.
  void wait_for_model() const {
    Client client(port);
    while (client.get("/v1/models").json().at("data").get_array().empty()) {
    }
  }
  double metric(const std::string& name) const {
    const std::string text = Client(port).get("/metrics").body;
    const auto at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::strtod(text.c_str() + at + name.size() + 2, nullptr);
  }

  // On the same loop; what is refused here touches nothing of it.
  Result<std::unique_ptr<HttpServer>> start_another(HttpOptions options) {
    return HttpServer::start(*runtime_, std::move(options));
  }

  std::uint16_t port = 0;

 private:
  testing::Home home_;
  std::unique_ptr<platform::Runtime> runtime_;
  std::unique_ptr<HttpServer> http_;
  std::thread loop_;
};

std::string error_type(const Response& response) {
  return json::get_string(response.json().at("error").get_object(), "type").value_or("");
}

TEST(HttpServer, health_models_and_metrics_come_over_one_kept_connection) {
  const Server server;
  Client client(server.port);
  const Response health = client.get("/healthz");
  EXPECT_EQ(health.status, 200);
  EXPECT_EQ(health.json().at("status"), "ok");
  EXPECT_EQ(health.json().at("members_alive"), 1);
  const Response models = client.get("/v1/models");
  EXPECT_EQ(models.json().at("object"), "list");
  EXPECT_TRUE(models.json().at("data").get_array().empty());
  const Response metrics = client.get("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_TRUE(metrics.headers.at("content-type").starts_with("text/plain; version=0.0.4"));
  for (const char* line : {"# TYPE sedge_tasks_total counter", "sedge_tasks_total{outcome=\"answered\"} 0",
                           "sedge_members{state=\"alive\"} 1", "sedge_messages_dropped_total{why=\"lifespan\"} 0",
                           "sedge_transport_datagrams_dropped_total 0", "# TYPE process_cpu_seconds_total counter",
                           "sedge_http_connections 1", "sedge_http_requests_total 3"}) {
    EXPECT_NE(metrics.body.find(std::string("\n") + line), std::string::npos) << line;
  }
}

TEST(HttpServer, what_is_wrong_with_a_request_is_said_in_openais_shape) {
  const Server server;
  const std::string good = R"({"model": "nobody-has-it", "prompt": "p"})";
  {
    Client client(server.port);  // these leave the connection usable
    EXPECT_EQ(client.get("/v2/models").status, 404);
    EXPECT_EQ(client.get("/v1/completions").status, 405);
    const Response missing = client.post("/v1/completions", good);
    EXPECT_EQ(missing.status, 404);
    EXPECT_EQ(error_type(missing), "invalid_request_error");
    EXPECT_EQ(missing.json().at("error").at("code"), "model_not_found");
    EXPECT_EQ(client.get("/v1/models/nobody-has-it").status, 404);
    EXPECT_EQ(client.post("/v1/completions", "{\"model\"").status, 400);
    EXPECT_EQ(client.post("/v1/chat/completions", R"({"model": "m", "messages": []})").json().at("error").at("param"),
              "messages");
    EXPECT_EQ(client.post("/v1/completions", good, "Expect: 100-continue\r\n").status, 100);
    EXPECT_EQ(client.receive().status, 404);
  }
  Client form(server.port);
  form.send(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_EQ(form.receive().status, 415);
  EXPECT_TRUE(form.closed()) << "what was not read must not become the next request";
  EXPECT_EQ(Client(server.port).get("/healthz", "Origin: https://evil.example\r\n").status, 403);
  Client rebound(server.port);
  rebound.send("GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n");
  EXPECT_EQ(rebound.receive().status, 403);
  Client nameless(server.port);
  nameless.send("GET /healthz HTTP/1.1\r\n\r\n");
  EXPECT_EQ(nameless.receive().status, 400);
}

TEST(HttpServer, what_is_too_large_or_no_http_is_refused_and_closed) {
  const Server server;
  Client declared(server.port);
  EXPECT_EQ(declared.post("/v1/completions", std::string(1100u << 10, ' ')).status, 413);
  Client chunked(server.port);
  chunked.send(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 18; ++i) chunked.send("10000\r\n" + std::string(0x10000, ' ') + "\r\n");
  EXPECT_EQ(chunked.receive().status, 413);
  EXPECT_EQ(Client(server.port).get("/healthz", "X: " + std::string(17u << 10, 'x') + "\r\n").status, 431);
  Client noise(server.port);
  noise.send("\x16\x03\x01\x02 this is no HTTP\r\n\r\n");
  EXPECT_EQ(noise.receive().status, 400);
  EXPECT_TRUE(noise.closed());
  EXPECT_EQ(Client(server.port).get("/healthz").status, 200) << "others are served as before";
}

TEST(HttpServer, a_token_is_demanded_where_one_is_set_but_not_for_health) {
  const Server server({}, "s3cret");
  Client client(server.port);
  const Response refused = client.get("/v1/models");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.headers.at("www-authenticate"), "Bearer");
  EXPECT_EQ(client.get("/v1/models", "Authorization: Bearer s3cret\r\n").status, 200);
  EXPECT_EQ(client.get("/healthz").status, 200);
}

TEST(HttpServer, without_a_token_it_listens_on_loopback_alone) {
  Server server;
  const auto open = server.start_another({.listen = "0.0.0.0:0"});
  ASSERT_FALSE(open);
  EXPECT_EQ(open.error().code, Code::kFailedPrecondition);
  EXPECT_NE(open.error().message.find("bearer token"), std::string::npos);
  EXPECT_EQ(server.start_another({.listen = "nonsense"}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(server.start_another({.listen = fmt::format("127.0.0.1:{}", server.port)}).error().code,
            Code::kUnavailable);
}

TEST(HttpServer, a_model_answers_whole_and_in_a_stream_with_one_text) {
  SEDGE_NEED_DATA(model, "llm/stories260K/stories260K.gguf");
  const Server server({model});
  server.wait_for_model();
  Client client(server.port);
  const std::string request =
      R"("model": "stories260K", "prompt": "Once upon a time", "max_tokens": 40, "temperature": 0)";
  const Response whole = client.post("/v1/completions", "{" + request + "}");
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_EQ(whole.json().at_pointer("/usage/completion_tokens"), 40);
  EXPECT_EQ(whole.json().at_pointer("/choices/0/finish_reason"), "length");
  EXPECT_EQ(whole.json().at_pointer("/sedge/attempts"), 1);

  const Response stream =
      client.post("/v1/completions", "{" + request + R"(, "stream": true, "stream_options": {"include_usage": true}})");
  ASSERT_EQ(stream.status, 200);
  EXPECT_TRUE(stream.headers.at("content-type").starts_with("text/event-stream"));
  std::string text;
  std::size_t events = 0;
  std::string_view left = stream.body;
  json::Value last;
  for (; left.starts_with("data: {"); ++events) {
    const auto end = left.find("\n\n");
    last = *json::parse(left.substr(6, end - 6), "event");
    const auto& choices = last.at("choices").get_array();
    if (!choices.empty()) text += *json::get_string(choices[0].get_object(), "text");
    left.remove_prefix(end + 2);
  }
  EXPECT_EQ(left, "data: [DONE]\n\n");
  EXPECT_GT(events, 3u);
  EXPECT_EQ(last.at_pointer("/usage/completion_tokens"), 40);
  EXPECT_EQ(json::Value(text), whole.json().at_pointer("/choices/0/text"));
  EXPECT_EQ(client.get("/healthz").status, 200) << "the connection goes on after a stream";
}

TEST(HttpServer, a_stream_has_the_logprobs_of_all_tokens_that_the_whole_answer_has_them_of) {
  SEDGE_NEED_DATA(model, "llm/stories260K/stories260K.gguf");
  const Server server({model});
  server.wait_for_model();
  Client client(server.port);
  json::Object request{{"model", "stories260K"},
                       {"prompt", "Once upon a time"},
                       {"max_tokens", 40},
                       {"temperature", 0},
                       {"logprobs", 1}};
  const auto ask = [&] { return client.post("/v1/completions", json::write(request)); };
  const std::string text(ask().json().at_pointer("/choices/0/text").as_string());
  request["stop"] = text.substr(text.size() / 2, 12);  // of several tokens
  const Response whole = ask();
  EXPECT_EQ(whole.json().at_pointer("/choices/0/finish_reason"), "stop");
  const json::Value expected = whole.json().at_pointer("/choices/0/logprobs/tokens");
  request["stream"] = true;
  const Response stream = ask();
  json::Array told;
  for (std::string_view left = stream.body; left.starts_with("data: {");) {
    const auto end = left.find("\n\n");
    const json::Value event = *json::parse(left.substr(6, end - 6), "event");
    const json::Value& logprobs = event.at_pointer("/choices/0/logprobs");
    if (logprobs.is_object()) {
      for (const json::Value& token : logprobs.at("tokens").get_array()) told.push_back(token);
    }
    left.remove_prefix(end + 2);
  }
  EXPECT_EQ(json::Value(told), expected);
}

TEST(HttpServer, an_answer_satisfies_the_schema_that_it_was_asked_for_and_a_schema_that_nobody_can_hold_to_is_a_400) {
  SEDGE_NEED_DATA(model, "llm/stories260K/stories260K.gguf");
  const Server server({model});
  server.wait_for_model();
  Client client(server.port);
  const auto ask = [&](std::string_view schema, std::string_view more = "") {
    return client.post("/v1/completions",
                       fmt::format(R"({{"model": "stories260K", "prompt": "Once", "max_tokens": 150, "seed": 4, {}
                           "response_format": {{"type": "json_schema", "json_schema": {{"schema": {}}}}}}})",
                                   more, schema));
  };
  const Response whole = ask(
      R"({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 99}, "s": {"enum": ["a", "b"]}}, "required": ["n", "s"]})",
      R"("logprobs": 2,)");
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_EQ(whole.json().at_pointer("/choices/0/finish_reason"), "stop");
  const std::string text(whole.json().at_pointer("/choices/0/text").as_string());
  const json::Value value = json::parse(text, "the answer").value();
  EXPECT_GE(value.at("n").to_number<int>(), 1);
  EXPECT_LE(value.at("n").to_number<int>(), 99);
  EXPECT_TRUE(value.at("s") == "a" || value.at("s") == "b");
  const json::Value logprobs = whole.json().at_pointer("/choices/0/logprobs");
  EXPECT_EQ(logprobs.at("tokens").get_array().size(), whole.json().at_pointer("/usage/completion_tokens"));
  EXPECT_EQ(logprobs.at("top_logprobs").get_array()[0].get_object().size(), 2u);

  const Response refused = ask(R"({"properties": {"a": {"not": {}}}})");
  EXPECT_EQ(refused.status, 400) << refused.body;
  EXPECT_NE(refused.body.find("schema #/properties/a: 'not' is not supported"), std::string::npos) << refused.body;
}

// A model of random weights with a chat template that offers tools as Hermes' does. It says bytes by chance, which is
// what a grammar has to hold.
class ToolServer {
 public:
  ToolServer() {
    write("tools",
          "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}<tool_call>{% for m in messages %}{{ m.role }}: "
          "{{ m.content }}{% for c in m.tool_calls or [] %}{{ c | tojson }}{% endfor %}\n{% endfor %}");
    write("plain", "{% for m in messages %}{{ m.content }}\n{% endfor %}");
    write("dated", "{{ strftime_now('%d %b %Y') }}: {% for m in messages %}{{ m.content }}\n{% endfor %}");
    server_.emplace(
        std::vector<std::filesystem::path>{folder_ / "tools.gguf", folder_ / "plain.gguf", folder_ / "dated.gguf"});
    server_->wait_for_model();
  }

  std::uint16_t port() const { return server_->port; }

  static json::Object request() {
    return json::parse(R"({"model": "tools", "max_tokens": 400, "seed": 5,
        "messages": [{"role": "user", "content": "Where is the dock?"}],
        "tools": [{"type": "function", "function": {"name": "go_to", "description": "Drive there.", "parameters":
          {"type": "object", "properties": {"place": {"enum": ["dock", "field"]}, "n": {"$ref": "#/$defs/n"}},
           "required": ["place", "n"], "$defs": {"n": {"type": "integer", "minimum": 1, "maximum": 99}}}}},
          {"type": "function", "function": {"name": "wait"}}]})",
                       "request")
        ->get_object();
  }

 private:
  void write(const std::string& name, const std::string& chat_template) {
    const engine::RandomModel random({.context = 2048, .chat_template = chat_template});
    std::ofstream(folder_ / (name + ".gguf"), std::ios::binary)
        .write(reinterpret_cast<const char*>(random.file().data()), static_cast<std::streamsize>(random.file().size()));
  }

  test::TempFolder folder_;
  std::optional<Server> server_;
};

void expect_call(const json::Value& call) {
  EXPECT_EQ(call.at("type"), "function");
  EXPECT_EQ(call.at("id").get_string().size(), 9u);
  const auto arguments = json::parse(std::string(call.at_pointer("/function/arguments").as_string()), "arguments");
  ASSERT_TRUE(arguments) << json::write(call);
  if (call.at_pointer("/function/name") == "wait") {
    EXPECT_EQ(*arguments, json::Object());
    return;
  }
  EXPECT_EQ(call.at_pointer("/function/name"), "go_to");
  EXPECT_TRUE(arguments->at("place") == "dock" || arguments->at("place") == "field");
  const auto n = arguments->at("n").to_number<int>();
  EXPECT_TRUE(n >= 1 && n <= 99) << n;
}

TEST(HttpServer, a_template_that_names_the_date_is_told_it) {
  const ToolServer server;
  Client client(server.port());
  json::Object request = {{"model", "plain"}, {"max_tokens", 1}};
  request["messages"] = json::Array{json::Object{{"role", "user"}, {"content", "Where is the dock?"}}};
  const auto prompt_tokens = [&] {
    const Response answer = client.post("/v1/chat/completions", json::write(request));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json().at_pointer("/usage/prompt_tokens").to_number<int>();
  };
  const int plain = prompt_tokens();
  request["model"] = "dated";
  EXPECT_EQ(prompt_tokens(), plain + static_cast<int>(std::string_view("05 Mar 2026: ").size()));
}

TEST(HttpServer, a_call_that_is_required_comes_with_arguments_of_its_schema_whole_and_in_a_stream) {
  const ToolServer server;
  Client client(server.port());
  json::Object request = ToolServer::request();
  for (const json::Value& choice :
       {json::Value("required"),
        json::parse(R"({"type": "function", "function": {"name": "go_to"}})", "choice").value()}) {
    request["tool_choice"] = choice;
    request["parallel_tool_calls"] = false;
    request["stream"] = false;
    const Response whole = client.post("/v1/chat/completions", json::write(request));
    ASSERT_EQ(whole.status, 200) << whole.body;
    const json::Value answer = whole.json().at_pointer("/choices/0");
    EXPECT_EQ(answer.at("finish_reason"), "tool_calls") << whole.body;
    EXPECT_TRUE(answer.at_pointer("/message/content").is_null());
    const json::Value& call = answer.at_pointer("/message/tool_calls/0");
    expect_call(call);
    EXPECT_TRUE(choice.is_string() || call.at_pointer("/function/name") == "go_to");

    request["stream"] = true;
    const Response stream = client.post("/v1/chat/completions", json::write(request));
    ASSERT_EQ(stream.status, 200) << stream.body;
    std::string name, arguments, finish;
    for (std::string_view left = stream.body; left.starts_with("data: {");) {
      const auto end = left.find("\n\n");
      const json::Value event = json::parse(left.substr(6, end - 6), "event").value().at_pointer("/choices/0");
      const json::Object& delta = event.at("delta").get_object();
      if (const auto* calls = delta.if_contains("tool_calls")) {
        const json::Object& function = calls->at(0).at("function").get_object();
        if (const auto* told = function.if_contains("name")) name = told->get_string();
        arguments += function.at("arguments").get_string();
      } else if (const auto* content = delta.if_contains("content")) {
        EXPECT_EQ(*content, "") << "no text of the call is shown";
      }
      if (event.at("finish_reason").is_string()) finish = event.at("finish_reason").get_string();
      left.remove_prefix(end + 2);
    }
    EXPECT_EQ(finish, "tool_calls");
    EXPECT_EQ(json::Value(name), call.at_pointer("/function/name"));
    EXPECT_EQ(json::Value(arguments), call.at_pointer("/function/arguments")) << "the same seed says the same";
  }
}

TEST(HttpServer, a_conversation_goes_on_with_what_a_function_gave) {
  const ToolServer server;
  Client client(server.port());
  json::Object request = ToolServer::request();
  request["tool_choice"] = "required";
  request["parallel_tool_calls"] = false;  // one call always fits
  const Response first = client.post("/v1/chat/completions", json::write(request));
  ASSERT_EQ(first.status, 200) << first.body;
  const json::Value message = first.json().at_pointer("/choices/0/message");
  const json::Array calls = message.at("tool_calls").get_array();
  for (const json::Value& call : calls) expect_call(call);
  json::Array& messages = request["messages"].get_array();
  messages.push_back(message);
  for (const json::Value& call : calls) {
    messages.push_back(json::Object{{"role", "tool"}, {"tool_call_id", call.at("id")}, {"content", "done"}});
  }
  for (const char* choice : {"none", "auto"}) {  // by chance it writes text
    request["tool_choice"] = choice;
    request["max_tokens"] = 8;
    const Response second = client.post("/v1/chat/completions", json::write(request));
    ASSERT_EQ(second.status, 200) << second.body;
    EXPECT_TRUE(second.json().at_pointer("/choices/0/message/content").is_string()) << second.body;
    EXPECT_GT(second.json().at_pointer("/usage/prompt_tokens").to_number<int>(),
              first.json().at_pointer("/usage/prompt_tokens").to_number<int>() * (choice[0] == 'a' ? 1 : 0));
  }
}

TEST(HttpServer, tools_that_a_model_cannot_be_given_are_a_400) {
  const ToolServer server;
  Client client(server.port());
  json::Object request = ToolServer::request();
  request["model"] = "plain";
  const Response no_place = client.post("/v1/chat/completions", json::write(request));
  EXPECT_EQ(no_place.status, 400) << no_place.body;
  EXPECT_TRUE(no_place.body.contains("chat template has no place for tools")) << no_place.body;
  request["tool_choice"] = "none";
  EXPECT_EQ(client.post("/v1/chat/completions", json::write(request)).status, 200);
  request = ToolServer::request();
  request["tools"].at(1).at("function").get_object()["parameters"] =
      json::Object{{"type", "object"}, {"not", json::Object()}};
  const Response odd = client.post("/v1/chat/completions", json::write(request));
  EXPECT_EQ(odd.status, 400) << odd.body;
  EXPECT_TRUE(odd.body.contains("function 'wait': schema #: 'not' is not supported")) << odd.body;
  request["tools"] = "all";
  EXPECT_EQ(client.post("/v1/chat/completions", json::write(request)).json().at_pointer("/error/param"), "tools");
}

TEST(HttpServer, an_adapter_is_asked_for_by_its_name_and_says_what_its_base_is) {
  const test::TempFolder folder;
  const std::filesystem::path path = folder / "base.gguf", lora = folder / "lora.gguf";
  ASSERT_TRUE(model::write_random(path, {.shape = "tiny", .type = {}, .seed = 3, .progress = {}}));
  const auto model = engine::Model::load(path).value();
  ASSERT_TRUE(model::write_random_lora(lora, model->config(), {}));
  const auto adapter = engine::Adapter::load(lora, model).value();
  const Server server({path}, {}, {{.name = "tuned", .base = {}, .files = {{lora, 0.5f}}}});
  server.wait_for_model();
  Client client(server.port);
  EXPECT_EQ(client.get("/v1/models").json().at("data").get_array().size(), 2u);
  EXPECT_EQ(client.get("/v1/models/tuned").json().at("parent"), "base");
  EXPECT_FALSE(client.get("/v1/models/base").json().get_object().contains("parent"));
  engine::Engine engine;
  const std::vector<std::vector<engine::AdapterUse>> wanted = {{}, {{adapter, 0.5f}}};
  std::set<std::string> texts;
  for (const auto& adapters : wanted) {
    const std::string_view name = adapters.empty() ? "base" : "tuned";
    const Response answer =
        client.post("/v1/completions",
                    json::write(json::Object{
                        {"model", name}, {"prompt", "where is crane 5"}, {"max_tokens", 20}, {"temperature", 0}}));
    ASSERT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.json().at("model"), json::Value(name));
    const auto prompt = engine::encode_prompt(*model, "where is crane 5").value();
    auto text = engine::Generation::start(model, prompt, {}, {.tokens_max = 20, .adapters = adapters}).value();
    std::string expected;
    while (!text.ended()) expected += text.step(engine).value().text;
    EXPECT_EQ(answer.json().at_pointer("/choices/0/text"), json::Value(expected));
    texts.insert(expected);
    const Response vector = client.post("/v1/embeddings", json::write(json::Object{{"model", name}, {"input", "a b"}}));
    ASSERT_EQ(vector.status, 200) << vector.body;
    const std::vector<std::vector<std::int32_t>> ids = {engine::encode_for_embedding(*model, "a b").value()};
    const auto numbers = engine::embed_texts(engine, *model, ids, {.adapters = adapters}).value();
    EXPECT_EQ(vector.json().at_pointer("/data/0/embedding/0").to_number<float>(), numbers[0][0]) << name;
  }
  EXPECT_EQ(texts.size(), 2u);
  const auto status = [&](std::string_view stack) {
    return client.post("/v1/completions", json::write(json::Object{{"model", stack}, {"prompt", "a"}})).status;
  };
  EXPECT_EQ(status("tuned=2+tuned"), 200u);
  EXPECT_EQ(status("tuned=2+base"), 404u);
  EXPECT_EQ(status("tuned+tuned+tuned+tuned+tuned+tuned+tuned+tuned+tuned"), 404u) << "more than a stack has";
}

// Random weights: what they say is no sense, but it is this very model's.
TEST(HttpServer, texts_have_the_vectors_that_the_engine_gives_them) {
  const test::TempFolder folder;
  const std::filesystem::path path = folder / "bert.gguf";
  ASSERT_TRUE(model::write_random(path, {.shape = "tiny-bert", .type = {}, .seed = 3, .progress = {}}));
  const Server server({path});
  server.wait_for_model();
  Client client(server.port);
  std::vector<std::string> texts;
  for (int i = 0; i < 90; ++i) texts.push_back(fmt::format("where is crane {}, and why?", i));  // more than its credit
  const Response answer = client.post("/v1/embeddings", json::write(json::Object{
                                                            {"model", "bert"},
                                                            {"input", json::Array(texts.begin(), texts.end())},
                                                        }));
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto model = engine::Model::load(path).value();
  std::vector<std::vector<std::int32_t>> ids;
  std::size_t tokens = 0;
  for (const std::string& text : texts) {
    ids.push_back(engine::encode_for_embedding(*model, text).value());
    tokens += ids.back().size();
  }
  engine::Engine engine;
  const auto vectors = engine::embed_texts(engine, *model, ids).value();
  const json::Value body = answer.json();
  EXPECT_EQ(body.at_pointer("/usage/prompt_tokens"), tokens);
  const auto& data = body.at("data").get_array();
  ASSERT_EQ(data.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::vector<float> numbers;
    for (const json::Value& number : data[i].at("embedding").get_array()) numbers.push_back(number.to_number<float>());
    EXPECT_EQ(numbers, vectors[i]) << texts[i];
  }

  const Response generated = client.post("/v1/completions", R"({"model": "bert", "prompt": "a"})");
  EXPECT_EQ(generated.status, 400) << generated.body;
  EXPECT_TRUE(generated.body.contains("ask it for embeddings")) << generated.body;
  const std::string long_text = std::string(200, '!');
  const Response too_long =
      client.post("/v1/embeddings", json::write(json::Object{{"model", "bert"}, {"input", long_text}}));
  EXPECT_EQ(too_long.status, 400) << too_long.body;
  EXPECT_TRUE(too_long.body.contains("context is 128")) << too_long.body;
  EXPECT_EQ(client.post("/v1/embeddings", R"({"model": "heron", "input": "a"})").status, 404);
  EXPECT_EQ(client.post("/v1/embeddings", R"({"model": "bert", "input": ""})").status, 400);
  EXPECT_EQ(client.get("/v1/embeddings").status, 405);
}

TEST(HttpServer, a_deadline_that_cannot_be_met_is_refused_or_falls_back) {
  SEDGE_NEED_DATA(model, "llm/stories260K/stories260K.gguf");
  const Server server({model});
  server.wait_for_model();
  Client client(server.port);
  const std::string request = R"("model": "stories260K", "prompt": "Once", "max_tokens": 400, "deadline_ms": 1)";
  for (const char* stream : {"false", "true"}) {
    const Response late = client.post("/v1/completions", fmt::format("{{{}, \"stream\": {}}}", request, stream));
    EXPECT_TRUE(late.status == 429 || late.status == 504) << late.body;  // 504: it ended before it was admitted
    EXPECT_EQ(late.headers.contains("retry-after"), late.status == 429);
  }
  const Response rule = client.post("/v1/completions", "{" + request + R"(, "fallback": "hold"})");
  EXPECT_EQ(rule.status, 200);
  EXPECT_EQ(rule.json().at_pointer("/choices/0/text"), "hold");
  EXPECT_EQ(rule.json().at_pointer("/sedge/outcome"), "fallback");
  EXPECT_EQ(rule.json().at_pointer("/sedge/deadline_met"), false);
}

TEST(HttpServer, a_client_that_goes_away_ends_its_task) {
  SEDGE_NEED_DATA(model, "llm/stories260K/stories260K.gguf");
  const Server server({model});
  server.wait_for_model();
  {
    Client client(server.port);
    const std::string body =
        R"({"model": "stories260K", "prompt": "Once", "max_tokens": 100000, "temperature": 0, "stream": true})";
    client.send(
        fmt::format("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    "Content-Length: {}\r\n\r\n{}",
                    body.size(), body));
    ASSERT_TRUE(client.wait_for("data: "));
  }
  while (server.metric("sedge_tasks_open") != 0) {
  }
  EXPECT_EQ(server.metric("sedge_tasks_open"), 0);
}

}  // namespace
}  // namespace sedge::api
