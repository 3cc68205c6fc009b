// A write as a replica holds it: one block of memory with all its fields, packed.
//
// Behind 28 bytes of header lie path, value and signature, and then what few writes have: the upper halves of large
// epochs and sequences, a counter's or log's numbers, the dots that are replaced. The writer's id is kept once for all
// its writes. So a write costs 92 bytes beside its path and value, 64 of them its signature, and what the allocator
// rounds up.
// Rejected: the encoded op as the only form. It would save some ten bytes and cost a decoding at each comparison.
// Paths kept once for all writes at a path: a pointer, an allocation and a second thing to count, which pay only from
// the third element of a set on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "crdt/op.h"
#include "crdt/sorted_blocks.h"

namespace sedge::crdt {

// Names a set of living writes: the sum of what each contributes, so that it changes by one addition a write and
// does not depend on order. A checksum against accidents; who may write could forge equality by effort.
using Digest = std::array<std::uint64_t, 2>;

struct Origin;

class Record {
 public:
  // In bytes, as it is asked of the allocator.
  static std::size_t size_of(const OpView& op);
  // Give it to free(). Requires: the bounds of decode_op(). `origin` outlives it.
  static Record* make(const OpView& op, Origin& origin);
  static void free(Record* record);
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  Origin& origin() const { return *origin_; }
  Hlc stamp() const { return {stamp_}; }
  OpKind kind() const { return static_cast<OpKind>(kind_); }
  BootEpoch epoch() const { return {epoch_ | upper(0)}; }
  Sequence sequence() const { return {sequence_ | upper(1)}; }
  Dot dot() const;
  std::pair<BootEpoch, Sequence> turn() const { return {epoch(), sequence()}; }  // among its origin's writes
  std::string_view path() const { return as_text({data(), path_bytes_}); }
  bool has_value() const { return has_value_ != 0; }
  Bytes value() const { return {data() + path_bytes_, value_bytes_}; }
  const trust::Signature& signature() const {
    return *reinterpret_cast<const trust::Signature*>(data() + path_bytes_ + value_bytes_);
  }
  std::uint64_t number(std::size_t which) const {  // plus, minus
    return which < shape_of(kind()).numbers ? read<std::uint64_t>(numbers() + which * sizeof(std::uint64_t)) : 0;
  }
  std::span<const Dot> replaces() const {
    if (!shape_of(kind()).replaces) return {};
    const std::uint8_t* const count = numbers();  // it has none
    const std::size_t offset = aligned(static_cast<std::size_t>(count - base()) + sizeof(std::uint16_t));
    return {reinterpret_cast<const Dot*>(base() + offset), read<std::uint16_t>(count)};
  }

 private:
  Record() = default;
  template <class T>
  static T read(const std::uint8_t* at) {
    T value{};
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  // A record is aligned as dots are.
  static std::size_t aligned(std::size_t offset) { return (offset + alignof(Dot) - 1) / alignof(Dot) * alignof(Dot); }
  std::uint64_t upper(std::size_t which) const {
    return wide_ == 0 ? 0 : std::uint64_t{read<std::uint32_t>(tail() + which * sizeof(std::uint32_t))} << 32;
  }
  const std::uint8_t* base() const { return reinterpret_cast<const std::uint8_t*>(this); }
  const std::uint8_t* data() const { return base() + kHeaderBytes; }
  const std::uint8_t* tail() const { return data() + path_bytes_ + value_bytes_ + sizeof(trust::Signature); }
  const std::uint8_t* numbers() const { return tail() + (wide_ == 0 ? 0 : 2 * sizeof(std::uint32_t)); }

  static constexpr std::size_t kHeaderBytes = 28;
  std::uint64_t stamp_;
  Origin* origin_;
  std::uint32_t epoch_;  // the lower halves
  std::uint32_t sequence_;
  std::uint32_t path_bytes_ : 10;
  std::uint32_t value_bytes_ : 17;
  std::uint32_t kind_ : 3;
  std::uint32_t has_value_ : 1;
  std::uint32_t wide_ : 1;  // the upper halves are not zero
};

// One writer, and its writes in order.
struct Origin {
  explicit Origin(NodeId writer) : id(writer) {}
  NodeId id;
  Digest digest{};
  std::size_t bytes = 0;
  SortedBlocks<Record*> writes;
};

using Origins = std::vector<std::pair<NodeId, std::unique_ptr<Origin>>>;  // in order of ids

inline Dot Record::dot() const { return {origin_->id, epoch(), sequence()}; }

inline OpView::OpView(const Record& record)
    : dot(record.dot()),
      stamp(record.stamp()),
      kind(record.kind()),
      path(record.path()),
      value(record.has_value() ? std::optional(record.value()) : std::nullopt),
      plus(record.number(0)),
      minus(record.number(1)),
      replaces(record.replaces()),
      signature(record.signature()) {}

}  // namespace sedge::crdt
