#include "api/control_server.h"

#include <deque>
#include <filesystem>
#include <set>
#include <string>
#include <utility>

#include <sys/stat.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>

#include "api/control_ops.h"

namespace sedge::api {
namespace asio = boost::asio;
namespace {

using Socket = asio::local::stream_protocol::socket;

constexpr std::size_t kRequestBytesMax = 2 << 20;  // a chunk of a tensor in base64 is 1.4 MiB
constexpr std::size_t kQueuedBytesMax = 16 << 20;  // a client that stops reading is dropped here
constexpr std::size_t kWaitingMax = 16;            // requests behind one that goes on
constexpr std::size_t kClientsMax = 64;

class Client final : public ControlSession, public std::enable_shared_from_this<Client> {
 public:
  Client(Socket socket, platform::Runtime& runtime)
      : socket_(std::move(socket)), runtime_(runtime), in_(kRequestBytesMax) {}

  void begin() { read(); }

  void close() {
    if (std::exchange(closed_, true)) return;
    for (const auto& undo : std::exchange(on_close, {})) undo();
    boost::system::error_code ignored;
    socket_.close(ignored);
  }
  bool closed() const { return closed_; }

  void answer(json::Object line) override {
    if (closed_) return;
    std::string text = json::write(line) + '\n';
    queued_bytes_ += text.size();
    if (queued_bytes_ > kQueuedBytesMax) return close();
    out_.push_back(std::move(text));
    write();
  }
  // The next request begins only now: answers carry no number, so two requests' answers must not mix.
  void end() override {
    on_close.clear();
    answer({{"end", true}});
    busy_ = false;
    if (closed_ || waiting_.empty()) return;
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->next(); });
  }
  void fail(const Error& error) override {
    answer({{"error", json::Object{{"code", std::string(code_name(error.code))}, {"message", error.message}}}});
    end();
  }

 private:
  void read() {
    asio::async_read_until(socket_, in_, '\n', [self = shared_from_this()](const auto& error, std::size_t bytes) {
      if (error) return self->close();
      const auto data = self->in_.data();
      const std::string line(asio::buffers_begin(data), asio::buffers_begin(data) + static_cast<std::ptrdiff_t>(bytes));
      self->in_.consume(bytes);
      if (self->waiting_.size() >= kWaitingMax) return self->close();
      self->waiting_.push_back(line);
      self->next();
      if (!self->closed_) self->read();  // even while it waits: this is how we learn that the client has gone
    });
  }

  void next() {
    if (busy_ || closed_ || waiting_.empty()) return;
    busy_ = true;
    const std::string line = std::move(waiting_.front());
    waiting_.pop_front();
    handle(line);
  }

  void handle(const std::string& line) {
    const auto request = json::parse(line, "the request");
    if (!request) return fail(request.error());
    const auto object = json::as_object(*request, "the request");
    if (!object) return fail(object.error());
    control(runtime_, **object, shared_from_this());
  }

  void write() {
    if (writing_ || out_.empty() || closed_) return;
    writing_ = true;
    asio::async_write(socket_, asio::buffer(out_.front()),
                      [self = shared_from_this()](const auto& error, std::size_t bytes) {
                        self->writing_ = false;
                        if (error) return self->close();
                        self->queued_bytes_ -= bytes;
                        self->out_.pop_front();
                        self->write();
                      });
  }

  Socket socket_;
  platform::Runtime& runtime_;
  asio::streambuf in_;
  std::deque<std::string> waiting_;  // requests
  bool busy_ = false;                // one is under way
  std::deque<std::string> out_;
  std::size_t queued_bytes_ = 0;
  bool writing_ = false;
  bool closed_ = false;
};

}  // namespace

class ControlServer::Acceptor {
 public:
  Acceptor(platform::Runtime& runtime, std::filesystem::path path)
      : runtime_(runtime), path_(std::move(path)), acceptor_(runtime.io()) {}

  ~Acceptor() {
    for (const auto& client : clients_) {
      if (const auto open = client.lock()) open->close();
    }
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

  Status listen() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);  // of a process that was killed; the home's lock says that it is gone
    if (path_.native().size() > 107) {
      return sedge::fail(Code::kUnavailable, "the path {} is too long for a socket: use a shorter SEDGE_HOME",
                         path_.string());
    }
    boost::system::error_code error;
    acceptor_.open(asio::local::stream_protocol(), error);
    const mode_t mask = ::umask(0177);  // 0600 from its first moment
    if (!error) acceptor_.bind(asio::local::stream_protocol::endpoint(path_.string()), error);
    ::umask(mask);
    if (!error) acceptor_.listen(16, error);
    if (error) return sedge::fail(Code::kUnavailable, "cannot listen on {}: {}", path_.string(), error.message());
    accept();
    return {};
  }

 private:
  void accept() {
    acceptor_.async_accept([this](const boost::system::error_code& error, Socket socket) {
      if (error) return;
      std::erase_if(clients_, [](const auto& client) { return client.expired(); });
      if (clients_.size() < kClientsMax) {
        auto client = std::make_shared<Client>(std::move(socket), runtime_);
        clients_.push_back(client);
        client->begin();
      }
      accept();
    });
  }

  platform::Runtime& runtime_;
  std::filesystem::path path_;
  asio::local::stream_protocol::acceptor acceptor_;
  std::vector<std::weak_ptr<Client>> clients_;
};

ControlServer::ControlServer(std::unique_ptr<Acceptor> acceptor) : acceptor_(std::move(acceptor)) {}
ControlServer::~ControlServer() = default;

Result<std::unique_ptr<ControlServer>> ControlServer::start(platform::Runtime& runtime) {
  auto acceptor = std::make_unique<Acceptor>(runtime, runtime.home() / kControlSocket);
  SEDGE_CHECK(acceptor->listen());
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(acceptor)));
}

}  // namespace sedge::api
