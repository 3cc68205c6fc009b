// A tensor register's value: what a large value consists of, not the value itself.
//
// A model's parameters are megabytes, a replicated write is at most 64 KiB and lives in everybody's state. So the
// register holds a manifest: how many bytes there are, and the hash of each chunk. It is signed as the write that it
// is, so the chunks need no signature: whoever sends them, they are the right ones or they are not. Chunks of one
// size, cut where the bytes are: a tensor's place does not change from one version to the next, so a chunk in which
// nothing changed has the hash it had, and does not travel again.
// Rejected: chunks cut where the content says (as for files, into which one inserts): tensors do not shift. A finer
// delta (XOR with the former chunk, packed): measured in docs/adr/0025, and not worth its rules yet.
// Format: docs/formats/tensor.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "trust/keys.h"

namespace sedge::mesh {

inline constexpr std::string_view kManifestMagic = "sedge.tensor.1";
inline constexpr std::size_t kChunksMax = 1024;  // their hashes fit a value twice
inline constexpr std::uint32_t kChunkBytesMin = 64u << 10;
inline constexpr std::uint32_t kChunkBytesMax = 1u << 20;
inline constexpr std::uint64_t kTensorBytesMax = std::uint64_t{kChunksMax} * kChunkBytesMax;

struct ChunkName {
  trust::Digest hash{};
  std::uint32_t bytes = 0;  // part of the name: a manifest that lies about a size spoils nobody else's chunk
  friend auto operator<=>(const ChunkName&, const ChunkName&) = default;
};

struct Manifest {
  std::uint64_t bytes = 0;
  std::uint32_t chunk_bytes = kChunkBytesMin;  // of each chunk but the last; a power of two
  std::vector<trust::Digest> chunks;
  friend bool operator==(const Manifest&, const Manifest&) = default;

  ChunkName name(std::size_t chunk) const;
  template <class V>
  void fields(V& visit) {
    visit("bytes", bytes);
    visit("chunk_bytes", chunk_bytes);
    visit("chunks", chunks);
  }
};

// The smallest size that gives no more than kChunksMax chunks. Requires: bytes <= kTensorBytesMax.
std::uint32_t chunk_bytes_for(std::uint64_t bytes);
ChunkName name_of(Bytes chunk);
// Errors: InvalidArgument: larger than kTensorBytesMax. Cost: a hash of all bytes.
Result<Manifest> make_manifest(Bytes tensor);
Bytes chunk_of(Bytes tensor, const Manifest& manifest, std::size_t chunk);

Buffer encode_manifest(const Manifest& manifest);
bool is_manifest(Bytes value);  // by its first bytes
// Errors: DataLoss: not one; the register is then an ordinary one.
Result<Manifest> decode_manifest(Bytes value);

}  // namespace sedge::mesh
