// How nodes hand each other the chunks of tensors (mesh/manifest.h). Grammar: docs/formats/tensor.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"

namespace sedge::wire {

using ChunkHash = std::array<std::uint8_t, 32>;  // BLAKE2b-256

inline constexpr std::size_t kPiecesWantedMax = 4;       // of one message
inline constexpr std::uint32_t kPieceBytes = 32u << 10;  // of a chunk, but its last

// "Which chunks of the tensor with this manifest do you have?"
struct ChunkQuery {
  ChunkHash manifest{};  // its hash
  friend bool operator==(const ChunkQuery&, const ChunkQuery&) = default;

  template <class V>
  void fields(V& visit) {
    visit("manifest", manifest);
  }
};

struct ChunkHave {
  ChunkHash manifest{};
  Buffer chunks;  // a bit each, the lowest first; none: the manifest has not come this far
  friend bool operator==(const ChunkHave&, const ChunkHave&) = default;

  template <class V>
  void fields(V& visit) {
    visit("manifest", manifest);
    visit("chunks", chunks);
  }
};

// A chunk is named by its hash and its size, a piece by its number within.
struct PieceName {
  ChunkHash chunk{};
  std::uint32_t chunk_bytes = 0;
  std::uint32_t number = 0;
  friend auto operator<=>(const PieceName&, const PieceName&) = default;

  template <class V>
  void fields(V& visit) {
    visit("chunk", chunk);
    visit("chunk_bytes", chunk_bytes);
    visit("number", number);
  }
};

struct ChunkWant {
  std::vector<PieceName> pieces;
  friend bool operator==(const ChunkWant&, const ChunkWant&) = default;

  template <class V>
  void fields(V& visit) {
    visit("pieces", pieces);
  }
};

struct ChunkPiece {
  PieceName name;
  std::optional<Buffer> bytes;  // none: it is not here any more
  friend bool operator==(const ChunkPiece&, const ChunkPiece&) = default;

  template <class V>
  void fields(V& visit) {
    visit("name", name);
    visit("bytes", bytes);
  }
};

}  // namespace sedge::wire
