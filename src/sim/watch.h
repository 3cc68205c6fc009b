// What must hold at every moment, not only once all is quiet: looked at each second of a played scenario.
//
// A fault may mend itself before the end and still have been one: a write gone from its own writer for a minute, an
// erased entry that was there for a while, a queue past its bound. Looked at is each node by itself, for what a whole
// fleet agrees on at once is not promised while anything happens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sim/world.h"

namespace sedge::sim {

// The most that waited anywhere, so far.
struct Queues {
  std::size_t backlog_bytes = 0;  // on one link
  std::size_t missing = 0;        // batches that were announced and are not here
  std::size_t cache_bytes = 0;    // batches kept for those who missed them
  std::size_t quarantined = 0;    // writes from the future
};

class Watch {
 public:
  explicit Watch(std::size_t nodes) : kept_(nodes), gone_(nodes) {}

  // Acknowledged to a client of node `by`: from now on it is there, with this value or a greater one.
  void acknowledged(std::size_t by, const std::string& path, const std::string& value) { kept_[by][path] = value; }
  // About to be erased: nothing is said of it until the erasing is acknowledged.
  void let_go(std::size_t by, const std::string& path) { kept_[by].erase(path); }
  // The last few of a node are looked at here; all of them in the end, by whoever counts them.
  void erased(std::size_t by, const std::string& path);

  const std::map<std::string, std::string>& kept(std::size_t by) const { return kept_[by]; }
  const Queues& queues() const { return queues_; }

  // What is broken now, in words for people; each thing is said once.
  std::vector<std::string> look(World& world);

 private:
  void look_at_entries(const World& world, std::size_t i, std::vector<std::string>& broken);
  void look_at_queues(World& world, std::size_t i, std::vector<std::string>& broken);

  static constexpr std::size_t kGoneMax = 8;

  std::vector<std::map<std::string, std::string>> kept_;
  std::vector<std::vector<std::string>> gone_;
  std::set<std::string> said_;
  Queues queues_;
};

// A running node's living writes, merged in another order into an empty replica: whether the same state comes of it.
bool same_in_any_order(const crdt::Replica& replica, std::uint64_t seed);

}  // namespace sedge::sim
