#include "crdt/op.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "wire/codec.h"

namespace sedge::crdt {
namespace {

const trust::KeyPair& pair() {
  static const trust::KeyPair pair = trust::KeyPair::from_seed({1, 2, 3});
  return pair;
}

Dot any_dot() {
  Dot dot;
  dot.origin.bytes = *rc::gen::arbitrary<std::array<std::uint8_t, 16>>();
  dot.epoch.value = *rc::gen::arbitrary<std::uint64_t>();
  dot.sequence.value = *rc::gen::inRange<std::uint64_t>(1, ~std::uint64_t{0});
  return dot;
}

Op any_op() {
  Op op;
  op.dot = any_dot();
  op.stamp.value = *rc::gen::arbitrary<std::uint64_t>();
  op.kind = *rc::gen::element(OpKind::kRegister, OpKind::kMulti, OpKind::kCounter, OpKind::kInsert, OpKind::kRemove,
                              OpKind::kAppend, OpKind::kInsert2P, OpKind::kRemove2P);
  op.path = *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange<char>('a', 'z')));
  const bool set = family_of(op.kind) == Family::kSet;
  if (has_elements(family_of(op.kind)) || (op.kind != OpKind::kCounter && *rc::gen::arbitrary<bool>()))
    op.value = *rc::gen::arbitrary<Buffer>();
  if (op.kind == OpKind::kCounter) op.plus = *rc::gen::arbitrary<std::uint64_t>();
  if (op.kind == OpKind::kAppend) op.plus = *rc::gen::inRange<std::uint64_t>(1, kKeepMax + 1);
  if (set || op.kind == OpKind::kMulti) {
    std::map<NodeId, Dot> dots;
    for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
      const Dot dot = any_dot();
      dots[dot.origin] = dot;
    }
    for (const auto& [origin, dot] : dots) op.replaces.push_back(dot);
  }
  return op;
}

TEST(Op, comes_back_from_its_bytes_with_its_signature_valid) {
  EXPECT_TRUE(rc::check([] {
    Op op = any_op();
    sign_op(op, pair().secret);
    const Buffer bytes = encode_op(op);
    RC_ASSERT(decode_op(bytes).value() == op);
    RC_ASSERT(trust::verify(pair().public_key, kOpDomain, signed_part(bytes), op.signature));
  }));
}

TEST(Op, every_byte_before_the_signature_is_signed) {
  Op op;
  op.dot = {{}, {1}, {1}};
  op.path = "a/b";
  op.value = Buffer{1, 2, 3};
  sign_op(op, pair().secret);
  const Buffer bytes = encode_op(op);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    Buffer changed = bytes;
    changed[at] ^= 1;
    const auto other = decode_op(changed);
    if (!other) continue;
    EXPECT_FALSE(trust::verify(pair().public_key, kOpDomain, signed_part(changed), other->signature)) << at;
  }
}

TEST(Op, any_bytes_are_an_op_or_an_error) {
  EXPECT_TRUE(rc::check([](const Buffer& bytes) { (void)decode_op(bytes); }));
}

TEST(Op, what_its_kind_does_not_have_is_refused) {
  const auto refused = [](auto change) {
    Op op;
    op.dot = {{}, {1}, {1}};
    op.path = "a";
    change(op);
    const auto decoded = decode_op(wire::encode(op));
    return !decoded && decoded.error().code == Code::kDataLoss;
  };
  EXPECT_FALSE(refused([](Op&) {}));
  EXPECT_TRUE(refused([](Op& op) { op.plus = 1; }));
  EXPECT_TRUE(refused([](Op& op) { op.replaces.resize(1); }));
  EXPECT_TRUE(refused([](Op& op) { op.kind = OpKind::kInsert; }));  // without an element
  EXPECT_TRUE(refused([](Op& op) { op.kind = OpKind::kRemove2P; }));
  EXPECT_TRUE(refused([](Op& op) { op.kind = OpKind::kInsert2P, op.value = Buffer{}, op.replaces.resize(1); }));
  EXPECT_TRUE(refused([](Op& op) { op.kind = OpKind::kCounter, op.value = Buffer{}; }));
  EXPECT_TRUE(refused([](Op& op) { op.kind = OpKind::kMulti, op.replaces.resize(2); }));  // one origin twice
  EXPECT_FALSE(refused([](Op& op) { op.kind = OpKind::kAppend, op.plus = kKeepMax; }));
  EXPECT_TRUE(refused([](Op& op) { op.kind = OpKind::kAppend; }));  // of no entries
  EXPECT_TRUE(refused([](Op& op) { op.kind = OpKind::kAppend, op.plus = kKeepMax + 1; }));
  EXPECT_TRUE(refused([](Op& op) { op.kind = OpKind::kAppend, op.plus = 1, op.minus = 1; }));
  EXPECT_TRUE(refused([](Op& op) { op.dot.sequence.value = 0; }));
  EXPECT_TRUE(refused([](Op& op) { op.path = ""; }));
  EXPECT_TRUE(refused([](Op& op) { op.path = "a/#"; }));
  EXPECT_TRUE(refused([](Op& op) { op.path = std::string(kPathBytesMax + 1, 'a'); }));
  EXPECT_TRUE(refused([](Op& op) { op.value = Buffer(kValueBytesMax + 1); }));
  EXPECT_FALSE(refused([](Op& op) { op.value = Buffer(kValueBytesMax), op.path = std::string(kPathBytesMax, 'a'); }));
}

}  // namespace
}  // namespace sedge::crdt
