// What the log drives: agreed values under paths, each with a version, and which requests were carried out already.
//
// A client that hears nothing asks again, perhaps at another node, and its first request may have been carried out: so
// each has an id, and one that comes again gets the answer of the first time. The last kRecentMax are remembered; an
// older one that comes again counts as new. All of it is a function of the log, the same on every node.
//
// Bounds: kValueMax a value, kStateMax all together; a write beyond is refused by every node alike. Agreed values are
// for the few things that need agreement; what is large or many belongs into entries (crdt/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "consensus/log.h"
#include "wire/consensus_messages.h"

namespace sedge::consensus {

inline constexpr std::size_t kAgreedPathMax = 512;
inline constexpr std::size_t kAgreedValueMax = 16 << 10;
inline constexpr std::size_t kAgreedStateMax = 1 << 20;
inline constexpr std::size_t kRecentMax = 4096;  // at 26 bytes in a snapshot 100 KiB

// A value and its version: the index of the entry that wrote it. 0: there is none.
struct Agreed {
  std::uint64_t version = 0;
  Buffer value;
  friend bool operator==(const Agreed&, const Agreed&) = default;
};

// Malformed ones never enter the log.
Status check_request(const wire::AgreedRequest& request);

class Registry {
 public:
  // Carries a write out, or says how it ended the first time. Errors: FailedPrecondition: another version is there.
  // ResourceExhausted: all values together would be too large.
  Result<Agreed> apply(Index index, const wire::AgreedRequest& request);
  Agreed get(const std::string& path) const;
  std::size_t size() const { return values_.size(); }

  Buffer snapshot() const;
  Status restore(Bytes snapshot);

 private:
  struct Outcome {
    bool done = false;
    std::uint64_t version = 0;  // written; or when not done, the one that was there
    bool full = false;
    template <class V>
    void fields(V& visit) {
      visit("done", done);
      visit("version", version);
      visit("full", full);
    }
  };
  Outcome carry_out(Index index, const wire::AgreedRequest& request);
  static Result<Agreed> told(const Outcome& outcome, const wire::AgreedRequest& request);
  void remember(TaskId id, Outcome outcome);

  std::map<std::string, Agreed> values_;
  std::size_t bytes_ = 0;
  std::map<TaskId, Outcome> recent_;
  std::deque<TaskId> order_;
};

}  // namespace sedge::consensus
