#include "platform/loans.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include "platform/system.h"
#include "trust/keys.h"

namespace sedge::platform {
namespace asio = boost::asio;
namespace {

using Stream = asio::posix::stream_descriptor;

struct Address {
  sockaddr_un name{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

// Its first byte is zero: a name of the kernel's own table, not a path.
Address address_of(const wire::LoanDoor& door) {
  Address address;
  address.name.sun_family = AF_UNIX;
  const std::string name = "sedge-loans-" + door.hex();
  std::memcpy(address.name.sun_path + 1, name.data(), name.size());
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

Descriptor new_socket() { return Descriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

bool same_user(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == ::geteuid();
}

// Room for one descriptor beside a packet.
struct Control {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> space{};
};

bool send_packet(int fd, const Buffer& packet, int passed = -1) {
  iovec part{const_cast<std::uint8_t*>(packet.data()), packet.size()};
  Control control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (passed >= 0) {
    message.msg_control = control.space.data();
    message.msg_controllen = control.space.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof passed);
    std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  return ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(packet.size());
}

enum class Came { kPacket, kNothing, kEnd };

struct Packet {
  std::array<std::uint8_t, 64> space{};  // the longest message has 17 bytes
  Bytes bytes;
  Descriptor passed;
};

Came receive_packet(int fd, Packet& packet) {
  iovec part{packet.space.data(), packet.space.size()};
  Control control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.space.data();
  message.msg_controllen = CMSG_LEN(sizeof(int));  // for one; the kernel closes what else is sent
  const ssize_t got = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Came::kNothing;
  if (got <= 0) return Came::kEnd;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int passed = -1;
    std::memcpy(&passed, CMSG_DATA(header), sizeof passed);
    packet.passed = Descriptor(passed);
  }
  packet.bytes = Bytes(packet.space).first(static_cast<std::size_t>(got));
  return Came::kPacket;
}

template <class IdType>
IdType random_id() {
  IdType id;
  SystemEntropy().fill(id.bytes);
  return id;
}

}  // namespace

Result<wire::LoanHost> loan_host() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat network{};
  if (boot.empty() || ::stat("/proc/self/ns/net", &network) != 0) {
    return fail(Code::kUnavailable, "loans need /proc, which says whose memory this host is");
  }
  const std::string all = fmt::format("{} {} {} {}", boot, network.st_dev, network.st_ino, ::geteuid());
  const trust::Digest digest = trust::digest(as_bytes(all));
  wire::LoanHost host;
  std::copy_n(digest.begin(), host.bytes.size(), host.bytes.begin());
  return host;
}

// ------------------------------------------------------------------------------------------------ the publisher's side

class LoanServer::Desk : public std::enable_shared_from_this<Desk> {
 public:
  Desk(asio::io_context& io, LoanKeeping keeping) : io_(io), keeping_(keeping), listener_(std::in_place, io) {}

  Result<std::shared_ptr<LoanMemory>> borrow(std::size_t bytes) {
    if (bytes == 0 || bytes > keeping_.bytes_max) {
      return fail(Code::kInvalidArgument, "a loan has 1 to {} bytes here, not {}", keeping_.bytes_max, bytes);
    }
    if (auto memory = read_by_all(bytes)) {
      SEDGE_CHECK(memory->reuse(bytes));
      return memory;
    }
    SEDGE_TRY(LoanMemory made, LoanMemory::make(bytes));
    return std::make_shared<LoanMemory>(std::move(made));
  }

  Result<wire::LoanNotice> keep(const std::shared_ptr<LoanMemory>& memory) {
    SEDGE_CHECK(memory->protect());
    const std::lock_guard lock(mutex_);
    if (const Status listens = listening_ ? Status() : listen(); !listens) {
      (void)memory->reuse(memory->size());
      return std::unexpected(listens.error());
    }
    const wire::LoanNotice notice{host_, door_, random_id<wire::LoanId>(), memory->size()};
    kept_.push_back({notice.id, memory});
    while (kept_.size() > 1 && (kept_.size() > keeping_.loans_max || bytes_of(kept_) > keeping_.bytes_max)) {
      read_.push_back(std::move(kept_.front()));
      kept_.pop_front();
    }
    while (read_.size() > keeping_.loans_max || bytes_of(read_) > keeping_.bytes_max) read_.pop_front();
    return notice;
  }

  void take_back(const wire::LoanId& id) {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(kept_, id, &Kept::id);
    if (found == kept_.end()) return;
    (void)found->memory->reuse(found->memory->size());
    kept_.erase(found);
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    listening_ = false;
    listener_.reset();
    boost::system::error_code ignored;
    for (const Client& client : std::exchange(clients_, {})) client->close(ignored);
    kept_.clear();
    read_.clear();
  }

 private:
  struct Kept {
    wire::LoanId id;
    std::shared_ptr<LoanMemory> memory;
  };
  using Client = std::shared_ptr<Stream>;

  static std::uint64_t bytes_of(const std::deque<Kept>& loans) {
    std::uint64_t bytes = 0;
    for (const Kept& loan : loans) bytes += loan.memory->capacity();
    return bytes;
  }

  // Memory of about this size that nobody reads any more, the one let go of longest ago.
  std::shared_ptr<LoanMemory> read_by_all(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find_if(read_, [bytes](const Kept& loan) {
      const std::size_t capacity = loan.memory->capacity();
      return capacity >= bytes && capacity / 2 <= bytes && loan.memory->is_free();
    });
    if (found == read_.end()) return nullptr;
    auto memory = std::move(found->memory);
    read_.erase(found);
    return memory;
  }

  // Under the mutex.
  Status listen() {
    if (closed_) return fail(Code::kUnavailable, "this node has ended: it lends nothing more");
    SEDGE_TRY(host_, loan_host());
    door_ = random_id<wire::LoanDoor>();
    const Address address = address_of(door_);
    const auto socket = std::make_shared<Descriptor>(new_socket());
    if (!*socket || ::bind(socket->get(), address.get(), address.length) != 0 ||
        ::listen(socket->get(), static_cast<int>(kClientsMax)) != 0) {
      return fail(Code::kUnavailable, "no socket to lend memory by: {}", std::strerror(errno));
    }
    listening_ = true;
    asio::post(io_, [self = shared_from_this(), socket] {
      if (!self->listener_) return;
      self->listener_->assign(socket->release());
      self->accept();
    });
    return {};
  }

  void accept() {
    listener_->async_wait(Stream::wait_read, [self = shared_from_this()](const boost::system::error_code& error) {
      if (error || !self->listener_) return;
      if (self->accept_all()) return self->accept();
      // No descriptor is left, and the socket would go on to call: the next loan opens another.
      self->listener_.emplace(self->io_);
      const std::lock_guard lock(self->mutex_);
      self->listening_ = false;
    });
  }

  bool accept_all() {
    for (;;) {
      Descriptor peer(::accept4(listener_->native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!peer) return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
      if (clients_.size() >= kClientsMax || !same_user(peer.get())) continue;
      const auto client = std::make_shared<Stream>(io_);
      client->assign(peer.release());
      clients_.insert(client);
      serve(client);
    }
  }

  void serve(const Client& client) {
    client->async_wait(Stream::wait_read, [self = shared_from_this(), client](const boost::system::error_code& error) {
      if (error || !self->clients_.contains(client)) return;
      if (self->answer_all(*client))
        self->serve(client);
      else
        self->clients_.erase(client);  // and the last who knows it
    });
  }

  // False: it has gone, does not read, or is none of ours.
  bool answer_all(Stream& client) {
    for (std::size_t i = 0; i < LoanClient::kWaitingMax; ++i) {
      Packet packet;
      const Came came = receive_packet(client.native_handle(), packet);
      if (came != Came::kPacket) return came == Came::kNothing;
      const auto request = wire::decode<wire::LoanRequest>(packet.bytes);
      if (!request || !answer(client.native_handle(), request->id)) return false;
    }
    return true;
  }

  bool answer(int client, const wire::LoanId& id) {
    const std::lock_guard lock(mutex_);  // also so that it is not written again meanwhile
    Descriptor lent;
    if (const auto found = std::ranges::find(kept_, id, &Kept::id); found != kept_.end()) {
      if (auto reading = found->memory->lend()) lent = *std::move(reading);
    }
    return send_packet(client, wire::encode(wire::LoanAnswer{id, bool{lent}}), lent.get());
  }

  asio::io_context& io_;
  const LoanKeeping keeping_;
  std::optional<Stream> listener_;  // this and the next are the loop's
  std::set<Client> clients_;
  std::mutex mutex_;  // of the rest
  bool closed_ = false;
  bool listening_ = false;
  wire::LoanHost host_;
  wire::LoanDoor door_;
  std::deque<Kept> kept_;  // the oldest first
  std::deque<Kept> read_;  // let go of, perhaps still read
};

LoanServer::LoanServer(asio::io_context& io, LoanKeeping keeping) : desk_(std::make_shared<Desk>(io, keeping)) {}
LoanServer::~LoanServer() { close(); }
Result<std::shared_ptr<LoanMemory>> LoanServer::borrow(std::size_t bytes) { return desk_->borrow(bytes); }
Result<wire::LoanNotice> LoanServer::keep(const std::shared_ptr<LoanMemory>& memory) { return desk_->keep(memory); }
void LoanServer::take_back(const wire::LoanId& id) { desk_->take_back(id); }
void LoanServer::close() { desk_->close(); }

// ----------------------------------------------------------------------------------------------- the subscriber's side

// A connection to one publisher, and what was asked of it, in that order.
class LoanClient::Line {
 public:
  struct Asked {
    wire::LoanNotice notice;
    Done done;
  };

  explicit Line(asio::io_context& io) : stream(io) {}

  Status open(const wire::LoanDoor& door) {
    const Address address = address_of(door);
    Descriptor socket = new_socket();
    if (!socket) return fail(Code::kResourceExhausted, "no socket to ask for a loan: {}", std::strerror(errno));
    if (::connect(socket.get(), address.get(), address.length) != 0) {
      return fail(Code::kUnavailable, "the publisher of a loan has ended, or takes nobody more: {}",
                  std::strerror(errno));
    }
    if (!same_user(socket.get())) return fail(Code::kPermissionDenied, "a loan is offered by another user's process");
    stream.assign(socket.release());
    return {};
  }

  Status ask(const wire::LoanNotice& notice, Done& done) {
    if (asked.size() >= kWaitingMax ||
        !send_packet(stream.native_handle(), wire::encode(wire::LoanRequest{notice.id}))) {
      return fail(Code::kResourceExhausted, "the publisher of a loan does not answer, and {} wait", asked.size());
    }
    asked.push_back({notice, std::move(done)});
    return {};
  }

  Stream stream;
  std::deque<Asked> asked;
};

struct LoanClient::State : std::enable_shared_from_this<State> {
  State(asio::io_context& of, std::function<void()> turn) : io(of), after(std::move(turn)) {}

  Result<std::shared_ptr<Line>> line_to(const wire::LoanDoor& door) {
    if (const auto found = lines.find(door); found != lines.end()) return found->second;
    if (lines.size() >= kPublishersMax) {
      return fail(Code::kResourceExhausted, "loans of {} publishers are heard already", lines.size());
    }
    auto line = std::make_shared<Line>(io);
    SEDGE_CHECK(line->open(door));
    lines.emplace(door, line);
    listen(door, line);
    return line;
  }

  Status ask(const wire::LoanNotice& notice, Done& done) {
    if (host.is_zero()) {
      SEDGE_TRY(host, loan_host());
    }
    if (notice.host != host) {
      return fail(Code::kFailedPrecondition,
                  "a loan is of another host or user: for those give the bytes as a tensor, or as small messages");
    }
    SEDGE_TRY(const auto line, line_to(notice.door));
    return line->ask(notice, done);
  }

  void listen(const wire::LoanDoor& door, const std::shared_ptr<Line>& line) {
    line->stream.async_wait(Stream::wait_read,
                            [self = shared_from_this(), door, line](const boost::system::error_code& error) {
                              if (error || self->ended) return;
                              if (const Status heard = self->hear(*line); heard)
                                self->listen(door, line);
                              else
                                self->give_up(door, *line, heard.error());
                              if (!self->ended) self->after();
                            });
  }

  Status hear(Line& line) const {
    for (;;) {
      Packet packet;
      const Came came = receive_packet(line.stream.native_handle(), packet);
      if (came == Came::kNothing) return {};
      if (came == Came::kEnd) return fail(Code::kUnavailable, "the publisher of a loan has ended");
      SEDGE_TRY(const auto answer, wire::decode<wire::LoanAnswer>(packet.bytes));
      if (line.asked.empty() || line.asked.front().notice.id != answer.id) {
        return fail(Code::kDataLoss, "an answer about a loan that was not asked for");
      }
      const Line::Asked asked = std::move(line.asked.front());
      line.asked.pop_front();
      asked.done(take(answer, packet, asked.notice));
    }
  }

  static Result<Mapping> take(const wire::LoanAnswer& answer, const Packet& packet, const wire::LoanNotice& notice) {
    if (!answer.kept) {
      return fail(Code::kNotFound, "a loan is gone: its publisher keeps the newest, and this asked too late");
    }
    if (!packet.passed) {
      return fail(Code::kResourceExhausted, "a loan's descriptor did not come: does this process have too many open?");
    }
    return map_loan(packet.passed.get(), notice.bytes);
  }

  void give_up(const wire::LoanDoor& door, Line& line, const Error& why) {
    boost::system::error_code ignored;
    line.stream.close(ignored);
    lines.erase(door);
    for (const Line::Asked& asked : std::exchange(line.asked, {})) asked.done(std::unexpected(why));
  }

  asio::io_context& io;
  std::function<void()> after;
  wire::LoanHost host;
  std::map<wire::LoanDoor, std::shared_ptr<Line>> lines;
  bool ended = false;
};

LoanClient::LoanClient(asio::io_context& io, std::function<void()> after)
    : state_(std::make_shared<State>(io, std::move(after))) {}

LoanClient::~LoanClient() {
  state_->ended = true;
  boost::system::error_code ignored;
  for (const auto& [door, line] : std::exchange(state_->lines, {})) line->stream.close(ignored);
}

void LoanClient::fetch(const wire::LoanNotice& notice, Done done) {
  if (const Status asked = state_->ask(notice, done); !asked) done(std::unexpected(asked.error()));
}

}  // namespace sedge::platform
