// A small world for cores that send and persist (Raft, Group): virtual time, messages that are lost, doubled and
// overtaken, cuts, and disks that forget what was not synced when their machine dies. Every chance is drawn from the
// seed, so that a failure is its seed. Only tests include this; whole nodes live in sim/.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"
#include "base/time.h"
#include "env/outbox.h"
#include "wire/message_type.h"

namespace sedge::consensus::testing {

struct Weather {
  Duration latency = 5ms;  // one way, at least
  Duration jitter = 20ms;  // added, uniform: what is sent later may arrive earlier
  double loss = 0;
  double duplicate = 0;
  Duration sync = 3ms;  // a commit takes up to so long
};

inline NodeId node_id(std::size_t i) {
  NodeId id;
  id.bytes.fill(static_cast<std::uint8_t>(i + 1));
  return id;
}

template <class Core>
class Network {
 public:
  // Makes host i's core for a new life; its records are loaded and it is started afterwards.
  using Make = std::function<std::unique_ptr<Core>(std::size_t i, std::uint64_t seed)>;

  Network(std::size_t hosts, std::uint64_t seed, Weather weather, Make make)
      : weather_(weather), prng_(seed), make_(std::move(make)), hosts_(hosts) {
    for (std::size_t i = 0; i < hosts; ++i) boot(i);
  }

  Instant now() const { return now_; }
  Prng& prng() { return prng_; }
  Weather& weather() { return weather_; }
  std::size_t size() const { return hosts_.size(); }
  bool up(std::size_t i) const { return hosts_[i].core != nullptr; }
  Core& core(std::size_t i) { return *hosts_[i].core; }
  std::uint64_t messages() const { return messages_; }
  std::uint64_t bytes() const { return bytes_; }

  void boot(std::size_t i) {
    Host& host = hosts_[i];
    host.core = make_(i, prng_.next());
    host.lsn = {};
    host.syncing = false;
    for (const auto& [key, value] : host.disk) SEDGE_ASSERT(host.core->load(key, value));
    host.core->start(now_);
    pump(i);
    for (std::size_t other = 0; other < hosts_.size(); ++other) link_up(i, other);
  }
  // Power goes: what was not synced is lost.
  void crash(std::size_t i) {
    Host& host = hosts_[i];
    host.core.reset();
    host.unsynced.clear();
    ++host.life;
  }
  void cut(std::size_t from, std::size_t to) { cuts_.insert({from, to}); }
  void part(const std::set<std::size_t>& side) {
    for (std::size_t a = 0; a < size(); ++a) {
      for (std::size_t b = 0; b < size(); ++b) {
        if (side.contains(a) != side.contains(b)) cut(a, b);
      }
    }
  }
  void heal() {
    cuts_.clear();
    for (std::size_t a = 0; a < size(); ++a) {
      for (std::size_t b = 0; b < size(); ++b) link_up(a, b);
    }
  }
  bool reaches(std::size_t from, std::size_t to) const { return !cuts_.contains({from, to}); }

  void act(std::size_t i, const std::function<void(Core&, Instant)>& call) {
    if (!up(i)) return;
    call(*hosts_[i].core, now_);
    pump(i);
  }

  // After every step of any host.
  void watch(std::function<void(std::size_t)> look) { look_ = std::move(look); }

  void run(Duration time) {
    for (const Instant until = now_ + time; step(until);) {
    }
  }
  bool run_until(const std::function<bool()>& reached, Duration limit) {
    const Instant until = now_ + limit;
    while (!reached()) {
      if (!step(until)) return reached();
    }
    return true;
  }

 private:
  struct Host {
    std::unique_ptr<Core> core;
    std::map<Buffer, Buffer> disk;
    std::vector<env::Record> unsynced;
    env::Lsn lsn;
    bool syncing = false;
    std::uint64_t life = 0;
  };

  Duration up_to(Duration most) {
    return Duration(static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(most.count()) + 1)));
  }
  void at(Instant when, std::function<void()> event) { events_.emplace(when, std::move(event)); }

  void link_up(std::size_t a, std::size_t b) {
    if (a == b || !up(a) || !up(b) || !reaches(a, b) || !reaches(b, a)) return;
    hosts_[a].core->on_link_up(node_id(b), now_);
    pump(a);
    hosts_[b].core->on_link_up(node_id(a), now_);
    pump(b);
  }

  bool step(Instant until) {
    Instant next = until;
    std::optional<std::size_t> timer;
    if (!events_.empty() && events_.begin()->first < next) next = events_.begin()->first;
    for (std::size_t i = 0; i < size(); ++i) {
      if (!up(i) || hosts_[i].core->next_deadline() >= next) continue;
      next = std::max(now_, hosts_[i].core->next_deadline());
      timer = i;
    }
    now_ = std::max(now_, next);
    if (timer) {
      hosts_[*timer].core->on_timer(now_);
      pump(*timer);
      return true;
    }
    if (next == until) return false;
    auto event = events_.extract(events_.begin());
    event.mapped()();
    return true;
  }

  void pump(std::size_t i) {
    Host& host = hosts_[i];
    env::Outbox out;
    host.core->drain(out);
    for (const env::Send& send : out.sends) post(i, send);
    if (!out.records.empty()) {
      ++host.lsn;
      host.core->on_persisting(host.lsn);
      std::ranges::move(out.records, std::back_inserter(host.unsynced));
      if (!std::exchange(host.syncing, true)) {
        at(now_ + up_to(weather_.sync), [this, i, life = host.life] { sync(i, life); });
      }
    }
    if (look_) look_(i);
  }

  void sync(std::size_t i, std::uint64_t life) {
    Host& host = hosts_[i];
    if (host.life != life || !host.core) return;
    for (env::Record& record : host.unsynced) {
      if (record.erase)
        host.disk.erase(record.key);
      else
        host.disk[record.key] = std::move(record.value);
    }
    host.unsynced.clear();
    host.syncing = false;
    host.core->on_durable(host.lsn, now_);
    pump(i);
  }

  void post(std::size_t from, const env::Send& send) {
    const std::size_t to = send.to.bytes[0] - std::size_t{1};
    ++messages_;
    bytes_ += send.frame.size();
    if (to >= size() || !reaches(from, to) || prng_.chance(weather_.loss)) return;
    for (int copies = prng_.chance(weather_.duplicate) ? 2 : 1; copies > 0; --copies) {
      at(now_ + weather_.latency + up_to(weather_.jitter), [this, from, to, frame = send.frame] {
        if (!up(to) || !reaches(from, to)) return;
        const auto opened = wire::open_frame(frame);
        const Status taken = hosts_[to].core->on_message(node_id(from), opened->type, opened->body, now_);
        if (!taken) refused.push_back(taken.error());
        pump(to);
      });
    }
  }

  Weather weather_;
  Prng prng_;
  Make make_;
  Instant now_{};
  std::vector<Host> hosts_;
  std::multimap<Instant, std::function<void()>> events_;
  std::set<std::pair<std::size_t, std::size_t>> cuts_;
  std::function<void(std::size_t)> look_;
  std::uint64_t messages_ = 0, bytes_ = 0;

 public:
  std::vector<Error> refused;
};

}  // namespace sedge::consensus::testing
