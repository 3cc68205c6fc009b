// The sentences that heron learns, as one table of rewriting rows with their meaning inside.
//
// A row belongs to a table and is a pattern:
//   (a|b|c) one of      [a] sometimes      <#table> a row of that table, about the same action
//   <kind:field>        a phrase of the lexicon, its canonical form stored in `field`
//   {field=value}       stores without speaking; {do=goto} names the action
//   <+field:table>      a nested action or condition made from a row of that table, stored in `field`
//   <&who> <&one>       an addressee of any sort, or one agent, stored in `who`
// A row that starts with '*' is held out: never used for training, always for the held-out-template test set.
// Separate tables for syntax and meaning were rejected: they drift apart, and a row beside its meaning can be read.
#pragma once

#include <span>
#include <string_view>

namespace sedge::train::heron {

struct Row {
  std::string_view table;
  int weight;
  std::string_view pattern;
};

std::span<const Row> grammar();

inline bool is_held_out(const Row& row) { return row.pattern.starts_with('*'); }
inline bool is_clause(const Row& row) { return row.table.starts_with("c.") || row.table.starts_with("n."); }

}  // namespace sedge::train::heron
