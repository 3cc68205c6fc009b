#include "mesh/packing.h"

#include <algorithm>
#include <memory>

#include <zstd.h>

namespace sedge::mesh {
namespace {

constexpr int kLevel = 1;
constexpr std::size_t kPays = 8;         // an eighth fewer bytes, or it stays as it is
constexpr std::uint32_t kPauseMax = 64;  // payloads between two tries on what does not pay

using Compressor = std::unique_ptr<ZSTD_CCtx, decltype([](ZSTD_CCtx* context) { ZSTD_freeCCtx(context); })>;
using Decompressor = std::unique_ptr<ZSTD_DCtx, decltype([](ZSTD_DCtx* context) { ZSTD_freeDCtx(context); })>;

}  // namespace

std::optional<Buffer> Packer::pack(Bytes plain) {
  if (plain.size() < kPackBytesMin) return std::nullopt;
  if (skips_ > 0) return --skips_, std::nullopt;
  thread_local const Compressor context(ZSTD_createCCtx());
  Buffer packed(plain.size() - plain.size() / kPays);
  const std::size_t size =
      ZSTD_compressCCtx(context.get(), packed.data(), packed.size(), plain.data(), plain.size(), kLevel);
  if (ZSTD_isError(size)) {  // it does not fit: that would not pay
    pause_ = std::clamp(2 * pause_, 1U, kPauseMax);
    skips_ = pause_;
    return std::nullopt;
  }
  pause_ = 0;
  packed.resize(size);
  ++stats_.packed;
  stats_.bytes_plain += plain.size();
  stats_.bytes_packed += size;
  return packed;
}

Result<Buffer> unpack(Bytes packed, std::size_t bytes_max) {
  const unsigned long long says = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (says == ZSTD_CONTENTSIZE_ERROR || says == ZSTD_CONTENTSIZE_UNKNOWN) {
    return fail(Code::kDataLoss, "{} bytes that are no packed payload", packed.size());
  }
  if (says > bytes_max) return fail(Code::kDataLoss, "a packed payload of {} bytes; {} are allowed", says, bytes_max);
  thread_local const Decompressor context(ZSTD_createDCtx());
  Buffer plain(static_cast<std::size_t>(says));
  const std::size_t size = ZSTD_decompressDCtx(context.get(), plain.data(), plain.size(), packed.data(), packed.size());
  if (ZSTD_isError(size) || size != plain.size()) {
    return fail(Code::kDataLoss, "a packed payload of {} bytes does not unpack", packed.size());
  }
  return plain;
}

}  // namespace sedge::mesh
