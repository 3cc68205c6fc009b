// One replicated write: small, signed on its own, and meaningful in any order among others.
//
// Eight kinds over four rules (crdt/replica.h). A delta is nothing but a set of these; no node ever accepts a claim
// about what others wrote, only the writers' own signed words. Signing batches instead of writes was rejected: a
// batch loses its signature as soon as one write in it is superseded.
// Grammar: docs/formats/op.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "crdt/dot.h"
#include "crdt/hlc.h"
#include "trust/keys.h"

namespace sedge::crdt {

inline constexpr std::string_view kOpDomain = "sedge.op.1";
inline constexpr std::size_t kPathBytesMax = 512;
inline constexpr std::size_t kValueBytesMax = 64u << 10;
inline constexpr std::uint64_t kKeepMax = 1024;    // entries of a log
inline constexpr std::size_t kReplacesMax = 1024;  // one an origin that ever wrote there: a fleet of 1024 writers

enum class OpKind : std::uint8_t {
  kRegister,  // LWW register: value, or nothing for "erased"
  kMulti,     // MV register: the same, and what it replaces
  kCounter,   // PN-counter: this origin's totals so far
  kInsert,    // OR-set: value is the element
  kRemove,    // OR-set
  kAppend,    // bounded log: value is the entry, or nothing for "cleared"
  kInsert2P,  // 2P-set: value is the element
  kRemove2P,  // 2P-set: for good
};
inline constexpr std::size_t kOpKinds = 8;
constexpr OpKind wire_last(OpKind) { return OpKind::kRemove2P; }

// What lives at a path. One path may hold several after a conflict; the newest write tells which one is read.
enum class Family : std::uint8_t { kRegister, kMulti, kCounter, kSet, kLog, k2PSet };
inline constexpr std::size_t kFamilies = 6;
// Whether each of its elements is a slot of its own.
constexpr bool has_elements(Family family) { return family == Family::kSet || family == Family::k2PSet; }
std::string_view family_name(Family family);

// What the writes of each kind carry.
enum class HasValue : std::uint8_t { kNever, kPerhaps, kAlways };
struct KindShape {
  Family family;
  HasValue value;
  std::uint8_t numbers;  // counters both, logs the first
  bool replaces;
};
inline constexpr std::array<KindShape, kOpKinds> kKindShapes = {{
    {Family::kRegister, HasValue::kPerhaps, 0, false},
    {Family::kMulti, HasValue::kPerhaps, 0, true},
    {Family::kCounter, HasValue::kNever, 2, false},
    {Family::kSet, HasValue::kAlways, 0, true},
    {Family::kSet, HasValue::kAlways, 0, true},
    {Family::kLog, HasValue::kPerhaps, 1, false},
    {Family::k2PSet, HasValue::kAlways, 0, false},
    {Family::k2PSet, HasValue::kAlways, 0, false},
}};
constexpr const KindShape& shape_of(OpKind kind) { return kKindShapes.at(static_cast<std::size_t>(kind)); }
constexpr Family family_of(OpKind kind) { return shape_of(kind).family; }

// In the order of the wire, of an op and of a view of one.
template <class AnyOp, class Visitor>
void visit_fields(AnyOp& op, Visitor& visit) {
  visit("dot", op.dot);
  visit("stamp", op.stamp);
  visit("kind", op.kind);
  visit("path", op.path);
  visit("value", op.value);
  visit("plus", op.plus);
  visit("minus", op.minus);
  visit("replaces", op.replaces);
  visit("signature", op.signature);
}

struct Op {
  Dot dot;
  Hlc stamp;
  OpKind kind = OpKind::kRegister;
  std::string path;
  std::optional<Buffer> value;  // none for a counter; none in a register or log: erased
  std::uint64_t plus = 0;       // logs: how many entries are kept. Counters: all that this origin ever added,
  std::uint64_t minus = 0;      // and all that it ever took away
  // kMulti, kInsert, kRemove: for each origin, in ascending order, its newest write here that the writer had merged;
  // it and all older ones of that origin are replaced.
  std::vector<Dot> replaces;
  trust::Signature signature;  // of dot.origin, over all the bytes before it

  friend bool operator==(const Op&, const Op&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit_fields(*this, visit);
  }
};

class Record;

// A write that somebody else holds (an Op, or a replica): its fields, to read. Good as long as the holder has it.
struct OpView {
  Dot dot;
  Hlc stamp;
  OpKind kind;
  std::string_view path;
  std::optional<Bytes> value;
  std::uint64_t plus;
  std::uint64_t minus;
  std::span<const Dot> replaces;
  const trust::Signature& signature;

  OpView(const Op& op);          // NOLINT(google-explicit-constructor): as a string is seen as a string_view
  OpView(const Record& record);  // NOLINT(google-explicit-constructor)
  Op copy() const;
  friend bool operator==(const OpView& a, const OpView& b);
  template <class Visitor>
  void fields(Visitor& visit) {
    visit_fields(*this, visit);
  }
};

inline OpView::OpView(const Op& op)
    : dot(op.dot),
      stamp(op.stamp),
      kind(op.kind),
      path(op.path),
      value(op.value),
      plus(op.plus),
      minus(op.minus),
      replaces(op.replaces),
      signature(op.signature) {}

// A write that says nothing but that others are over: a removal, an erased register or log. Never a counter, and no
// removal from a 2P-set: that ends what will be written too, so it is a value like any other and lives for ever.
bool is_tombstone(const OpView& op);

// Levels of printable UTF-8 bytes separated by '/', at most kPathBytesMax; no wildcards.
// Errors: InvalidArgument, naming the path.
Status check_path(std::string_view path);

void sign_op(Op& op, const trust::SecretKey& key);
Buffer encode_op(const OpView& op);
// The bytes that the signature covers.
Bytes signed_part(Bytes encoded_op);

// Decodes, and checks every bound and that fields which its kind does not use are empty; the signature is not checked.
// Errors: DataLoss: malformed, drop it and count it against who sent it.
Result<Op> decode_op(Bytes bytes);

}  // namespace sedge::crdt
