// QUIC endpoints over a network in memory, on virtual time, for tests: latency, loss, reordering and duplication from
// a seed, ports that refuse, and processes that die without a word.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/prng.h"
#include "env/entropy.h"
#include "quic/connection.h"
#include "quic/endpoint.h"
#include "trust/testing.h"

namespace sedge::quic::testing {

class SeededEntropy : public env::Entropy {
 public:
  explicit SeededEntropy(std::uint64_t seed) : source_(seed) {}
  void fill(MutableBytes out) override { source_.fill(out); }

 private:
  trust::testing::SeededSource source_;
};

struct Weather {
  Duration latency = 1ms;
  Duration jitter{};  // reorders
  double loss = 0;
  double duplication = 0;
  std::size_t packet_bytes_max = 65507;  // larger ones are lost
  std::size_t bytes_per_ms = 0;          // each address's way in, behind a queue without end; 0: any number
};

// One process with its endpoint, and everything that its poll() gave.
struct Process {
  Process(std::uint64_t seed, const env::Endpoint& at) : entropy(seed), address(at) {}

  SeededEntropy entropy;
  env::Endpoint address;
  std::unique_ptr<Endpoint> endpoint;
  std::vector<Event> events;

  template <class T>
  std::vector<T*> all() {
    std::vector<T*> out;
    for (Event& event : events) {
      if (auto* one = std::get_if<T>(&event)) out.push_back(one);
    }
    return out;
  }
  template <class T>
  T* last() {
    const auto found = all<T>();
    return found.empty() ? nullptr : found.back();
  }
};

class Net {
 public:
  explicit Net(std::uint64_t seed, Weather the_weather = {}) : weather(the_weather), prng_(seed) {}

  Process& start(Options options, const env::Endpoint& at) {
    auto process = std::make_unique<Process>(prng_.next(), at);
    options.entropy = &process->entropy;
    process->endpoint = Endpoint::create(std::move(options)).value();
    Process& out = *process;
    processes_.push_back(std::move(process));
    by_address_[at] = &out;
    return out;
  }

  // SIGKILL: its packets vanish from now on. With `refuses`, the address answers that nobody listens.
  void kill(Process& process, bool refuses = false) {
    if (by_address_[process.address] == &process) by_address_.erase(process.address);
    if (refuses) refusing_.insert_or_assign(process.address, true);
    dead_.push_back(&process);
  }

  void inject(const env::Endpoint& from, const env::Endpoint& to, Buffer payload) {
    flights_.emplace(std::pair(now, ++last_), Flight{from, to, std::move(payload)});
  }

  using Listener = std::function<void(const env::Endpoint& from, Bytes payload)>;
  void listen(const env::Endpoint& address, Listener listener) { listeners_[address] = std::move(listener); }

  // Runs until `done` or until `limit` of virtual time has passed; true when `done`.
  bool run(Duration limit, const std::function<bool()>& done = [] { return false; }) {
    const Instant end = now + limit;
    for (;;) {
      pump();
      if (done()) return true;
      Instant next = end;
      if (!flights_.empty()) next = std::min(next, flights_.begin()->first.first);
      for (const auto& process : processes_) {
        if (alive(*process)) next = std::min(next, process->endpoint->next_deadline());
      }
      if (next >= end) {
        now = end;
        pump();
        return done();
      }
      now = std::max(now, next);
      land();
      for (const auto& process : processes_) {
        if (alive(*process) && process->endpoint->next_deadline() <= now) process->endpoint->on_timer(now);
      }
    }
  }

  // Takes out what the endpoints want to send, and what they have to tell.
  void pump() {
    for (const auto& process : processes_) {
      if (!alive(*process)) continue;
      take_events(*process);
      env::OutgoingDatagrams out;
      while (process->endpoint->next_datagrams(out, now)) {
        largest_batch = std::max(largest_batch, out.payload.size());
        for (std::size_t at = 0; at < out.payload.size(); at += out.segment_bytes) {
          const Bytes segment = out.payload.subspan(at, std::min(out.segment_bytes, out.payload.size() - at));
          fly(process->address, out.remote, segment);
        }
      }
      take_events(*process);
    }
  }

  void fly(const env::Endpoint& from, const env::Endpoint& to, Bytes payload) {
    ++packets;
    if (tap) tap(from, to, payload);
    if (payload.size() > weather.packet_bytes_max || (cut && cut(from, to))) return;
    largest_packet = std::max(largest_packet, payload.size());
    for (int copies = prng_.chance(weather.duplication) ? 2 : 1; copies > 0; --copies) {
      if (prng_.chance(weather.loss)) continue;
      const auto jitter = weather.jitter.count() == 0
                              ? Duration(0)
                              : Duration(prng_.below(static_cast<std::uint64_t>(weather.jitter.count())));
      Instant begins = now;
      if (weather.bytes_per_ms != 0) {
        Instant& free = free_at_[to];
        begins = std::max(free, now);
        free = begins + Duration(1ms) * payload.size() / weather.bytes_per_ms;
      }
      flights_.emplace(std::pair(begins + weather.latency + jitter, ++last_), Flight{from, to, to_buffer(payload)});
    }
  }

  Instant now{Duration(1'000'000'000)};
  Weather weather;
  bool polls = true;  // false: the nodes are too busy to take their events
  std::size_t largest_batch = 0;
  std::size_t largest_packet = 0;  // of those that the way carries
  std::uint64_t packets = 0;
  std::function<bool(const env::Endpoint&, const env::Endpoint&)> cut;  // true: this pair hears nothing
  std::function<void(const env::Endpoint&, const env::Endpoint&, Bytes)> tap;

 private:
  struct Flight {
    env::Endpoint from;
    env::Endpoint to;
    Buffer payload;
  };

  bool alive(const Process& process) const { return std::find(dead_.begin(), dead_.end(), &process) == dead_.end(); }

  void take_events(Process& process) {
    if (!polls) return;
    while (auto event = process.endpoint->poll()) process.events.push_back(std::move(*event));
  }

  void land() {
    while (!flights_.empty() && flights_.begin()->first.first <= now) {
      const Flight flight = std::move(flights_.begin()->second);
      flights_.erase(flights_.begin());
      if (const auto to = by_address_.find(flight.to); to != by_address_.end()) {
        to->second->endpoint->on_datagram({flight.to, flight.from, flight.payload, 0}, now);
        take_events(*to->second);
      } else if (const auto listener = listeners_.find(flight.to); listener != listeners_.end()) {
        listener->second(flight.from, flight.payload);
      } else if (refusing_.contains(flight.to)) {
        if (const auto from = by_address_.find(flight.from); from != by_address_.end()) {
          from->second->endpoint->on_unreachable(flight.to, now);
        }
      }
    }
  }

  Prng prng_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::vector<const Process*> dead_;
  std::map<env::Endpoint, Process*> by_address_;
  std::map<env::Endpoint, Listener> listeners_;
  std::map<env::Endpoint, Instant> free_at_;  // when what flies to it now will have landed
  std::map<env::Endpoint, bool> refusing_;
  std::map<std::pair<Instant, std::uint64_t>, Flight> flights_;
  std::uint64_t last_ = 0;
};

inline env::Endpoint at(std::uint8_t host, std::uint16_t port = 7334) {
  return env::Endpoint::v4(10, 0, 0, host, port);
}

// Two nodes of one fleet, each with its own directory, and whatever else a test starts beside them.
struct World {
  explicit World(std::uint64_t seed = 1, Weather weather = {}) : fleet(seed), net(seed, weather) {
    first = fleet.enrol("first");
    second = fleet.enrol("second");
    if (second.id < first.id) std::swap(first, second);  // `first` has the smaller id
    a = &start(first, at(1));
    b = &start(second, at(2));
  }

  Options options(const trust::testing::Member& member, std::uint64_t epoch = 1) {
    Options out;
    out.key = member.keys.secret.clone();
    out.chain = member.encoded;
    out.boot_epoch.value = epoch;
    out.directory = &directory;
    return out;
  }
  Process& start(const trust::testing::Member& member, const env::Endpoint& address, std::uint64_t epoch = 1) {
    return net.start(options(member, epoch), address);
  }
  bool link() {
    return a->endpoint->dial({b->address, second.id}, net.now) &&
           net.run(5s, [&] { return a->endpoint->linked(second.id) && b->endpoint->linked(first.id); });
  }
  Status send(Process& from, const trust::testing::Member& to, env::Priority priority, Buffer frame) {
    return from.endpoint->send(to.id, priority, std::move(frame), net.now);
  }

  trust::testing::Fleet fleet;
  trust::Directory directory{fleet.root.public_key};
  Net net;
  trust::testing::Member first;
  trust::testing::Member second;
  Process* a = nullptr;
  Process* b = nullptr;
};

inline Buffer pattern(std::size_t size, std::uint8_t seed) {
  Buffer out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(i * 31 + seed);
  return out;
}

// A peer that plays by no rules but QUIC's: any certificate, no check of the other side, any frames.
class RawPeer {
 public:
  RawPeer(Net& net, const env::Endpoint& address, const trust::SecretKey& key, Bytes extension)
      : net_(net), address_(address), entropy_(address.address[15] + address.port * 256u) {
    shared_.entropy = &entropy_;
    credentials_ = TlsCredentials::create_raw(key, extension, true).value();
    shared_.credentials = credentials_.get();
    net_.listen(address, [this](const env::Endpoint& from, Bytes payload) {
      if (connection) connection->read({address_, from, payload, 0}, net_.now);
      pump();
    });
  }

  void dial(const env::Endpoint& to, Protocol protocol = Protocol::kLink) {
    connection = Connection::dial(
                     shared_, 1, {to, {}, protocol, std::nullopt, {}},
                     [](Connection&, const PeerProof&) -> Status { return {}; }, net_.now)
                     .value();
    pump();
  }

  void pump() {
    if (!connection) return;
    Batch batch;
    Batch spill;
    while (connection->write(buffer_, batch, spill, net_.now)) {
      for (const Batch& part : {batch, std::exchange(spill, {})}) {
        for (std::size_t from = part.begin; from < part.end; from += part.segment_bytes) {
          const std::size_t size = std::min(part.segment_bytes, part.end - from);
          net_.fly(address_, part.remote, Bytes(buffer_).subspan(from, size));
        }
      }
    }
    if (connection->ended() && !std::exchange(said_goodbye_, true) && !connection->close_packet().empty()) {
      net_.fly(address_, connection->remote(), connection->close_packet());
    }
  }

 private:
  Net& net_;
  env::Endpoint address_;
  SeededEntropy entropy_;
  Shared shared_;
  std::unique_ptr<TlsCredentials> credentials_;
  Buffer buffer_ = Buffer(kBatchBytesMax + kPacketBytesMax);
  bool said_goodbye_ = false;

 public:
  std::unique_ptr<Connection> connection;  // last: it goes before what it leans on
};

}  // namespace sedge::quic::testing
