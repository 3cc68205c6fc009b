#include "crdt/record.h"

#include <cstring>
#include <memory>
#include <new>

#include "base/assert.h"

namespace sedge::crdt {
namespace {

static_assert(sizeof(Record) == 32);  // 28 of header, which data follows, and what aligns it
constexpr std::uint64_t kUpper = std::uint64_t{1} << 32;

bool is_wide(const Dot& dot) { return (dot.epoch.value | dot.sequence.value) >= kUpper; }

std::uint32_t lower(std::uint64_t number) { return static_cast<std::uint32_t>(number % kUpper); }

template <class T>
std::uint8_t* put(std::uint8_t* at, const T& value) {
  std::memcpy(at, &value, sizeof value);
  return at + sizeof value;
}

std::uint8_t* put(std::uint8_t* at, Bytes bytes) {
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

}  // namespace

std::size_t Record::size_of(const OpView& op) {
  std::size_t bytes = kHeaderBytes + op.path.size() + (op.value ? op.value->size() : 0) + sizeof(trust::Signature);
  if (is_wide(op.dot)) bytes += 2 * sizeof(std::uint32_t);
  bytes += shape_of(op.kind).numbers * sizeof(std::uint64_t);
  if (!shape_of(op.kind).replaces) return bytes;
  bytes += sizeof(std::uint16_t);
  return op.replaces.empty() ? bytes : aligned(bytes) + op.replaces.size_bytes();
}

Record* Record::make(const OpView& op, Origin& origin) {
  SEDGE_ASSERT(op.path.size() <= kPathBytesMax && op.replaces.size() <= kReplacesMax);
  SEDGE_ASSERT(!op.value || op.value->size() <= kValueBytesMax);
  auto* const record = new (::operator new(std::max(size_of(op), sizeof(Record)))) Record;
  record->stamp_ = op.stamp.value;
  record->origin_ = &origin;
  record->epoch_ = lower(op.dot.epoch.value);
  record->sequence_ = lower(op.dot.sequence.value);
  record->path_bytes_ = static_cast<std::uint32_t>(op.path.size()) & 0x3ff;
  record->value_bytes_ = static_cast<std::uint32_t>(op.value ? op.value->size() : 0) & 0x1ffff;
  record->kind_ = static_cast<std::uint32_t>(op.kind) & 7;
  record->has_value_ = op.value.has_value();
  record->wide_ = is_wide(op.dot);

  auto* const base = reinterpret_cast<std::uint8_t*>(record);
  std::uint8_t* at = put(base + kHeaderBytes, as_bytes(op.path));
  if (op.value) at = put(at, *op.value);
  new (at) trust::Signature(op.signature);
  at += sizeof(trust::Signature);
  if (record->wide_) {
    at = put(at, static_cast<std::uint32_t>(op.dot.epoch.value / kUpper));
    at = put(at, static_cast<std::uint32_t>(op.dot.sequence.value / kUpper));
  }
  const std::array<std::uint64_t, 2> numbers = {op.plus, op.minus};
  for (std::size_t i = 0; i < shape_of(op.kind).numbers; ++i) at = put(at, numbers[i]);
  if (!shape_of(op.kind).replaces) return record;
  at = put(at, static_cast<std::uint16_t>(op.replaces.size()));
  if (op.replaces.empty()) return record;
  auto* const dots = base + aligned(static_cast<std::size_t>(at - base));
  std::uninitialized_copy(op.replaces.begin(), op.replaces.end(), reinterpret_cast<Dot*>(dots));
  return record;
}

void Record::free(Record* record) { ::operator delete(record); }

}  // namespace sedge::crdt
