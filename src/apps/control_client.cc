#include "apps/control_client.h"

#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/control_server.h"

namespace sedge::apps {
namespace {

class Connection {
 public:
  ~Connection() {
    if (fd_ >= 0) ::close(fd_);
  }

  Status open(const std::filesystem::path& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.native().size() >= sizeof address.sun_path) {
      return fail(Code::kInvalidArgument, "the path {} is too long for a socket: use a shorter SEDGE_HOME",
                  path.string());
    }
    std::memcpy(address.sun_path, path.c_str(), path.native().size());
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd_ < 0 || ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      return fail(Code::kUnavailable,
                  "no node runs on {}: start one with `sedge up`, or name its home with --home or SEDGE_HOME",
                  path.parent_path().string());
    }
    return {};
  }

  Status write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t put = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (put < 0) return gone();
      text.remove_prefix(static_cast<std::size_t>(put));
    }
    return {};
  }

  Result<std::string> line() {
    for (;;) {
      if (const auto end = buffer_.find('\n'); end != std::string::npos) {
        std::string text = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return text;
      }
      char chunk[16384];
      const ssize_t got = ::recv(fd_, chunk, sizeof chunk, 0);
      if (got <= 0) return gone();
      buffer_.append(chunk, static_cast<std::size_t>(got));
    }
  }

 private:
  static std::unexpected<Error> gone() { return fail(Code::kUnavailable, "the node went away while it was asked"); }

  int fd_ = -1;
  std::string buffer_;
};

Code code_of(std::string_view name) {
  for (int code = 1; code <= 16; ++code) {
    if (code_name(static_cast<Code>(code)) == name) return static_cast<Code>(code);
  }
  return Code::kUnknown;
}

}  // namespace

bool node_runs(const std::filesystem::path& home) {
  Connection connection;
  return connection.open(home / api::kControlSocket).has_value();
}

Status ask(const std::filesystem::path& home, const json::Object& request,
           const std::function<bool(const json::Object&)>& on_line) {
  Connection connection;
  SEDGE_CHECK(connection.open(home / api::kControlSocket));
  SEDGE_CHECK(connection.write(json::write(request) + '\n'));
  for (;;) {
    SEDGE_TRY(const std::string text, connection.line());
    SEDGE_TRY(const json::Value value, json::parse(text, "the node's answer"));
    SEDGE_TRY(const json::Object* object, json::as_object(value, "the node's answer"));
    if (const auto* error = object->if_contains("error"); error != nullptr && error->is_object()) {
      SEDGE_TRY(const std::string code, json::get_string(error->get_object(), "code"));
      SEDGE_TRY(std::string message, json::get_string(error->get_object(), "message"));
      return std::unexpected(Error{code_of(code), std::move(message)});
    }
    if (object->contains("end") || !on_line(*object)) return {};
  }
}

Result<json::Object> ask_once(const std::filesystem::path& home, const json::Object& request) {
  json::Object answer;
  SEDGE_CHECK(ask(home, request, [&answer](const json::Object& line) {
    answer = line;
    return true;
  }));
  return answer;
}

}  // namespace sedge::apps
