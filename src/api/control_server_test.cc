// A whole node with its control socket, spoken to as any program on its machine may.
#include "api/control_server.h"

#include <set>
#include <string>
#include <thread>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "api/testing.h"

namespace sedge::api {
namespace {

class Client {
 public:
  explicit Client(const std::filesystem::path& socket) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket.native().copy(address.sun_path, sizeof address.sun_path - 1);
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(const std::string& text) {
    EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Empty when the node has closed.
  std::string line() {
    for (;;) {
      if (const auto end = in_.find('\n'); end != std::string::npos) {
        std::string first = in_.substr(0, end);
        in_.erase(0, end + 1);
        return first;
      }
      char buffer[4096];
      const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
      if (got <= 0) return "";
      in_.append(buffer, static_cast<std::size_t>(got));
    }
  }

 private:
  int fd_;
  std::string in_;
};

class ControlServerTest : public ::testing::Test {
 protected:
  ControlServerTest() {
    auto runtime = platform::Runtime::open({.home = home_.path, .listen = "127.0.0.1:0", .beacons = false});
    EXPECT_TRUE(runtime) << (runtime ? "" : runtime.error().message);
    runtime_ = std::move(*runtime);
    auto control = ControlServer::start(*runtime_);
    EXPECT_TRUE(control) << (control ? "" : control.error().message);
    control_ = std::move(*control);
    loop_ = std::thread([this] { (void)runtime_->run(); });
  }
  ~ControlServerTest() override {
    runtime_->stop();
    loop_.join();
    control_.reset();
    runtime_.reset();
  }

  std::filesystem::path socket() const { return home_.path / kControlSocket; }

  testing::Home home_;
  std::unique_ptr<platform::Runtime> runtime_;
  std::unique_ptr<ControlServer> control_;
  std::thread loop_;
};

TEST_F(ControlServerTest, requests_of_a_connection_are_answered_one_after_the_other) {
  Client client(socket());
  client.send(
      "{\"op\":\"set\",\"path\":\"a\",\"value\":\"1\"}\n"
      "{\"op\":\"nonsense\"}\n"
      "{\"op\":\"get\",\"path\":\"a\"}\n");
  const std::string end = R"({"end":true})";
  EXPECT_EQ(client.line(), R"({"durable":true})");  // though the disk took a while: what follows has waited
  EXPECT_EQ(client.line(), end);
  EXPECT_NE(client.line().find("unimplemented"), std::string::npos);
  EXPECT_EQ(client.line(), end);
  EXPECT_NE(client.line().find(R"("value":"1")"), std::string::npos);
  EXPECT_EQ(client.line(), end);
}

TEST_F(ControlServerTest, a_watch_ends_with_its_connection_and_what_waits_behind_it_is_bounded) {
  {
    Client watcher(socket());
    watcher.send("{\"op\":\"set\",\"path\":\"a\",\"value\":\"1\"}\n{\"op\":\"watch\",\"filter\":\"a\"}\n");
    EXPECT_EQ(watcher.line(), R"({"durable":true})");
    EXPECT_EQ(watcher.line(), R"({"end":true})");
    EXPECT_NE(watcher.line().find(R"("path":"a")"), std::string::npos);
    std::string many;
    for (int i = 0; i < 20; ++i) many += "{\"op\":\"status\"}\n";
    watcher.send(many);
    EXPECT_EQ(watcher.line(), "");  // no status was given: the watch goes on, and too many waited
  }
  Client other(socket());
  other.send("{\"op\":\"get\",\"path\":\"a\"}\n");
  EXPECT_NE(other.line().find(R"("path":"a")"), std::string::npos);
}

TEST_F(ControlServerTest, a_message_published_twice_with_one_id_is_heard_once) {
  Client listener(socket()), speaker(socket());
  listener.send("{\"op\":\"sub\",\"filter\":\"orders/#\"}\n");
  EXPECT_NE(listener.line().find("subscribed"), std::string::npos);
  const std::string once = R"(,"once":"000102030405060708090a0b0c0d0e0f")";
  for (const auto& [topic, payload, id] : {std::tuple("orders/1", "go", once),
                                           {"orders/1", "go again", once},
                                           {"orders/2", "go too", once},
                                           {"orders/1", "stop", std::string()}}) {
    speaker.send(fmt::format("{{\"op\":\"pub\",\"topic\":\"{}\",\"payload\":\"{}\"{}}}\n", topic, payload, id));
    EXPECT_EQ(speaker.line(), R"({"durable":true})");
    EXPECT_EQ(speaker.line(), R"({"end":true})");
  }
  EXPECT_NE(listener.line().find(R"("payload":"go")"), std::string::npos);
  EXPECT_NE(listener.line().find(R"("payload":"go too")"), std::string::npos);
  EXPECT_NE(listener.line().find(R"("payload":"stop")"), std::string::npos);
  speaker.send("{\"op\":\"pub\",\"topic\":\"orders/1\",\"payload\":\"x\",\"once\":\"17\"}\n");
  EXPECT_NE(speaker.line().find("'once'"), std::string::npos);
}

}  // namespace
}  // namespace sedge::api
