#include "mesh/manifest.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"
#include "wire/codec.h"

namespace sedge::mesh {
namespace {

std::uint64_t count_of(std::uint64_t bytes, std::uint32_t chunk_bytes) {
  return bytes / chunk_bytes + (bytes % chunk_bytes != 0 ? 1 : 0);
}

Status check(const Manifest& manifest) {
  const std::uint32_t size = manifest.chunk_bytes;
  if (!std::has_single_bit(size) || size < kChunkBytesMin || size > kChunkBytesMax) {
    return fail(Code::kDataLoss, "manifest: chunks of {} bytes; a power of two from {} to {} is allowed", size,
                kChunkBytesMin, kChunkBytesMax);
  }
  if (manifest.chunks.size() > kChunksMax || manifest.chunks.size() != count_of(manifest.bytes, size)) {
    return fail(Code::kDataLoss, "manifest: {} chunks of {} bytes for {}; at most {} are allowed",
                manifest.chunks.size(), size, manifest.bytes, kChunksMax);
  }
  return {};
}

}  // namespace

ChunkName Manifest::name(std::size_t chunk) const {
  const std::uint64_t from = std::uint64_t{chunk} * chunk_bytes;
  return {chunks.at(chunk), static_cast<std::uint32_t>(std::min<std::uint64_t>(chunk_bytes, bytes - from))};
}

std::uint32_t chunk_bytes_for(std::uint64_t bytes) {
  SEDGE_ASSERT(bytes <= kTensorBytesMax);
  std::uint32_t size = kChunkBytesMin;
  while (count_of(bytes, size) > kChunksMax) size *= 2;
  return size;
}

ChunkName name_of(Bytes chunk) { return {trust::digest(chunk), static_cast<std::uint32_t>(chunk.size())}; }

Result<Manifest> make_manifest(Bytes tensor) {
  if (tensor.size() > kTensorBytesMax) {
    return fail(Code::kInvalidArgument, "a tensor of {} bytes; {} are allowed: give it as several", tensor.size(),
                kTensorBytesMax);
  }
  Manifest manifest{tensor.size(), chunk_bytes_for(tensor.size()), {}};
  const std::uint64_t count = count_of(manifest.bytes, manifest.chunk_bytes);
  for (std::size_t i = 0; i < count; ++i) manifest.chunks.push_back(trust::digest(chunk_of(tensor, manifest, i)));
  return manifest;
}

Bytes chunk_of(Bytes tensor, const Manifest& manifest, std::size_t chunk) {
  const std::size_t from = chunk * manifest.chunk_bytes;
  return tensor.subspan(from, std::min<std::size_t>(manifest.chunk_bytes, tensor.size() - from));
}

Buffer encode_manifest(const Manifest& manifest) { return wire::encode(manifest, to_buffer(as_bytes(kManifestMagic))); }

bool is_manifest(Bytes value) { return as_text(value).starts_with(kManifestMagic); }

Result<Manifest> decode_manifest(Bytes value) {
  if (!is_manifest(value)) return fail(Code::kDataLoss, "a manifest begins with {}", kManifestMagic);
  SEDGE_TRY(Manifest manifest, wire::decode<Manifest>(value.subspan(kManifestMagic.size())));
  SEDGE_CHECK(check(manifest));
  return manifest;
}

}  // namespace sedge::mesh
