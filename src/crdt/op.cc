#include "crdt/op.h"

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "wire/codec.h"

namespace sedge::crdt {
namespace {

enum class Numbers { kNone, kTotals, kKeep };

// What each kind carries. `value`: 0 never, 1 perhaps, 2 always.
struct Shape {
  Family family;
  int value;
  Numbers numbers;
  bool replaces;
};
constexpr std::array<Shape, kOpKinds> kShapes = {{
    {Family::kRegister, 1, Numbers::kNone, false},
    {Family::kMulti, 1, Numbers::kNone, true},
    {Family::kCounter, 0, Numbers::kTotals, false},
    {Family::kSet, 2, Numbers::kNone, true},
    {Family::kSet, 2, Numbers::kNone, true},
    {Family::kLog, 1, Numbers::kKeep, false},
    {Family::k2PSet, 2, Numbers::kNone, false},
    {Family::k2PSet, 2, Numbers::kNone, false},
}};

const Shape& shape_of(OpKind kind) { return kShapes.at(static_cast<std::size_t>(kind)); }

bool numbers_fit(Numbers numbers, const Op& op) {
  if (numbers == Numbers::kTotals) return true;
  if (numbers == Numbers::kNone) return (op.plus | op.minus) == 0;
  return op.plus >= 1 && op.plus <= kKeepMax && op.minus == 0;
}

Status check(const Op& op) {
  const Shape& shape = shape_of(op.kind);
  const bool fits = (op.value ? shape.value != 0 : shape.value != 2) && numbers_fit(shape.numbers, op) &&
                    (shape.replaces || op.replaces.empty());
  if (!fits) return fail(Code::kDataLoss, "op {}: fields that its kind does not have", op.dot.text());
  if (op.dot.sequence.value == 0) return fail(Code::kDataLoss, "op {}: sequences start at 1", op.dot.text());
  if (op.value && op.value->size() > kValueBytesMax) {
    return fail(Code::kDataLoss, "op {}: a value of {} bytes; {} are allowed", op.dot.text(), op.value->size(),
                kValueBytesMax);
  }
  if (op.replaces.size() > kReplacesMax) {
    return fail(Code::kDataLoss, "op {}: replaces {} dots; {} are allowed", op.dot.text(), op.replaces.size(),
                kReplacesMax);
  }
  const auto unsorted = [](const Dot& a, const Dot& b) { return a.origin >= b.origin; };
  if (std::ranges::adjacent_find(op.replaces, unsorted) != op.replaces.end()) {
    return fail(Code::kDataLoss, "op {}: replaced dots are not one an origin in ascending order", op.dot.text());
  }
  if (!check_path(op.path)) return fail(Code::kDataLoss, "op {}: not a path", op.dot.text());
  return {};
}

}  // namespace

Family family_of(OpKind kind) { return shape_of(kind).family; }

bool is_tombstone(const Op& op) { return op.kind == OpKind::kRemove || (!op.value && shape_of(op.kind).value == 1); }

std::string_view family_name(Family family) {
  constexpr std::array<std::string_view, kFamilies> kNames = {"register", "multi-value register", "counter", "set",
                                                              "log",      "two-phase set"};
  return kNames.at(static_cast<std::size_t>(family));
}

Status check_path(std::string_view path) {
  const auto unfit = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '+' || c == '#'; };
  if (path.empty() || path.size() > kPathBytesMax || std::ranges::any_of(path, unfit)) {
    return fail(Code::kInvalidArgument,
                "'{}' is not a path: 1 to {} bytes such as 'mission/board', without control characters, '+' and '#'",
                path.substr(0, 80), kPathBytesMax);
  }
  return {};
}

Bytes signed_part(Bytes encoded_op) {
  SEDGE_ASSERT(encoded_op.size() > sizeof(trust::Signature));
  return encoded_op.first(encoded_op.size() - sizeof(trust::Signature));
}

void sign_op(Op& op, const trust::SecretKey& key) {
  op.signature = trust::sign(key, kOpDomain, signed_part(encode_op(op)));
}

Buffer encode_op(const Op& op) { return wire::encode(op); }

Result<Op> decode_op(Bytes bytes) {
  SEDGE_TRY(Op op, wire::decode<Op>(bytes));
  SEDGE_CHECK(check(op));
  return op;
}

}  // namespace sedge::crdt
