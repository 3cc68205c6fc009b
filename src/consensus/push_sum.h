// The average of what all nodes hold, with nobody who collects it.
//
// Idea: push-sum (Kempe, Dobra, Gehrke 2003). Each node holds sums and a weight; in each turn it keeps half of both and
// gives half to a neighbour; sums over weight tend to the average everywhere, because nothing is made or lost. A
// message that is lost would lose its half for ever. So a message does not carry the half but the running total of all
// halves ever given to that neighbour (Hadjicostis, Dominguez-Garcia, Vaidya 2012): the receiver takes what the total
// has grown by, and the next message brings what a lost one did not. Doubled and overtaken messages change nothing.
//
// Invariant: the sums of all nodes, and of what is given and not yet taken, are what they were at the start, up to
// rounding. A node that dies would take its share with it; but each neighbour knows the totals that it exchanged with
// the dead, and forget() undoes them: what the survivors then hold is the sum of what they brought themselves, exactly
// (the idea of flow updating, Jesus, Baquero, Almeida 2009). Who is forgotten by mistake, or comes back, begins a new
// session: a greater number on the totals, at which the other side undoes what it took in the former one. Each
// direction does so for itself, so nobody needs to agree on anything. Totals grow with every turn; after 10^6 turns
// they have cost about 20 of a double's 53 bits.
//
// Rejected: acknowledgements (a lost one leaves both sides unsure whose the half is); flows that are equalized pairwise
// (push-flow: the same robustness, twice the state and slower to settle); averaging in pairs that must meet.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/id.h"
#include "base/result.h"

namespace sedge::consensus {

class PushSum {
 public:
  // All that was given to one neighbour in one session.
  struct Share {
    std::uint64_t number = 0;  // a later one is greater
    std::vector<double> sums;
    double weight = 0;
    std::uint64_t session = 0;  // the same
    template <class V>
    void fields(V& visit) {
      visit("number", number);
      visit("sums", sums);
      visit("weight", weight);
      visit("session", session);
    }
  };

  // Weight 1 at every node gives the average; 1 at one node and 0 at all others, the sum. `session`: greater than any
  // of this node's before.
  PushSum(std::vector<double> values, double weight, std::uint64_t session = 1)
      : sums_(std::move(values)), weight_(weight), session_(session) {}

  // Half of what we hold goes to the neighbour, in this message or a later one.
  Share give(NodeId to);
  // The totals as they are: for a neighbour that may not be there to take anything.
  Share show(NodeId to) { return given_to(to); }
  // Errors: DataLoss: of another length, or no finite number, or not with ours: nothing was taken.
  Status take(NodeId from, const Share& share);
  // As if we had never exchanged anything: it died, or can be heard no more.
  void forget(NodeId peer);
  // What we hold changes, as a measurement does.
  void add(const std::vector<double>& change);

  // Sums over weight; empty as long as no weight has come.
  std::vector<double> estimate() const;
  const std::vector<double>& sums() const { return sums_; }
  double weight() const { return weight_; }
  const std::map<NodeId, Share>& given() const { return given_; }
  const std::map<NodeId, Share>& taken() const { return taken_; }

 private:
  Share& given_to(NodeId peer);
  void move(const Share& share, double sign);

  std::vector<double> sums_;
  double weight_;
  std::uint64_t session_;
  std::map<NodeId, Share> given_;
  std::map<NodeId, Share> taken_;
};

}  // namespace sedge::consensus
