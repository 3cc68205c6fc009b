// What must not be told or done before its record is on disk: it waits here for that record's place in the log.
// Bounded: by who lets it wait. Threads: none.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "env/outbox.h"

namespace sedge::env {

class WhenDurable {
 public:
  using Then = std::function<void()>;

  // `then` runs when the records are durable that the next drain() carries; it may let more wait.
  void add(Then then) { waiting_.push_back({std::nullopt, std::move(then)}); }
  void on_persisting(Lsn lsn) {
    for (auto each = waiting_.rbegin(); each != waiting_.rend() && !each->lsn; ++each) each->lsn = lsn;
  }
  void on_durable(Lsn upto) {
    std::vector<Then> ready;
    for (; !waiting_.empty() && waiting_.front().lsn && *waiting_.front().lsn <= upto; waiting_.pop_front()) {
      ready.push_back(std::move(waiting_.front().then));
    }
    for (const Then& then : ready) then();
  }

 private:
  struct Waiting {
    std::optional<Lsn> lsn;
    Then then;
  };
  std::deque<Waiting> waiting_;  // by lsn, those without one last
};

}  // namespace sedge::env
