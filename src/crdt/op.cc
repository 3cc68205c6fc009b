#include "crdt/op.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "base/assert.h"
#include "wire/codec.h"

namespace sedge::crdt {
namespace {

bool numbers_fit(std::size_t numbers, const Op& op) {
  if (numbers == 2) return true;
  if (numbers == 0) return (op.plus | op.minus) == 0;
  return op.plus >= 1 && op.plus <= kKeepMax && op.minus == 0;
}

Status check(const Op& op) {
  const KindShape& shape = shape_of(op.kind);
  const bool fits = (op.value ? shape.value != HasValue::kNever : shape.value != HasValue::kAlways) &&
                    numbers_fit(shape.numbers, op) && (shape.replaces || op.replaces.empty());
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

Op OpView::copy() const {
  Op op{dot, stamp, kind, std::string(path), std::nullopt, plus, minus, {replaces.begin(), replaces.end()}, signature};
  if (value) op.value = to_buffer(*value);
  return op;
}

bool operator==(const OpView& a, const OpView& b) {
  const auto rest = [](const OpView& op) {
    return std::tie(op.dot, op.stamp, op.kind, op.path, op.plus, op.minus, op.signature);
  };
  return rest(a) == rest(b) && a.value.has_value() == b.value.has_value() &&
         (!a.value || std::ranges::equal(*a.value, *b.value)) && std::ranges::equal(a.replaces, b.replaces);
}

bool is_tombstone(const OpView& op) {
  return op.kind == OpKind::kRemove || (!op.value && shape_of(op.kind).value == HasValue::kPerhaps);
}

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

Buffer encode_op(const OpView& op) { return wire::encode(op); }

Result<Op> decode_op(Bytes bytes) {
  SEDGE_TRY(Op op, wire::decode<Op>(bytes));
  SEDGE_CHECK(check(op));
  return op;
}

}  // namespace sedge::crdt
