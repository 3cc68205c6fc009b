// The average of what all nodes hold, with nobody who collects it.
//
// Idea: push-sum (Kempe, Dobra, Gehrke 2003). Each node holds sums and a weight; in each turn it keeps half of both and
// gives half to a neighbour; sums over weight tend to the average everywhere, because nothing is made or lost. A
// message that is lost would lose its half for ever. So a message does not carry the half but the running total of all
// halves ever given to that neighbour (Hadjicostis, Dominguez-Garcia, Vaidya 2012): the receiver takes what the total
// has grown by, and the next message brings what a lost one did not. Doubled and overtaken messages change nothing.
//
// Invariant: the sums of all nodes, and of what is given and not yet taken, are what they were at the start, up to
// rounding. A node that dies takes its share with it: begin anew with those who are left. Totals grow with every turn;
// after 10^6 turns they have cost about 20 of a double's 53 bits.
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
  // All that was ever given to one neighbour.
  struct Share {
    std::uint64_t number = 0;  // a later one is greater
    std::vector<double> sums;
    double weight = 0;
    template <class V>
    void fields(V& visit) {
      visit("number", number);
      visit("sums", sums);
      visit("weight", weight);
    }
  };

  // Weight 1 at every node gives the average; 1 at one node and 0 at all others, the sum.
  PushSum(std::vector<double> values, double weight) : sums_(std::move(values)), weight_(weight) {}

  // Half of what we hold goes to the neighbour, in this message or a later one.
  Share give(NodeId to);
  // Errors: DataLoss: of another length, or no finite number: nothing was taken.
  Status take(NodeId from, const Share& share);
  // What we hold changes, as a measurement does.
  void add(const std::vector<double>& change);

  // Sums over weight; empty as long as no weight has come.
  std::vector<double> estimate() const;
  const std::vector<double>& sums() const { return sums_; }
  double weight() const { return weight_; }
  const std::map<NodeId, Share>& given() const { return given_; }
  const std::map<NodeId, Share>& taken() const { return taken_; }

 private:
  std::vector<double> sums_;
  double weight_;
  std::map<NodeId, Share> given_;
  std::map<NodeId, Share> taken_;
};

}  // namespace sedge::consensus
