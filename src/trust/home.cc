#include "trust/home.h"

#include <algorithm>

#include "wire/codec.h"

namespace sedge::trust {
namespace {

constexpr std::array<HomeFileInfo, kHomeFiles> kFiles = {{
    {"node.key", "sedge node key 1", true},
    {"node.cert", "sedge node certificate 1", false},
    {"root.key", "sedge root key 1", true},
    {"fleet.root", "sedge fleet root 1", false},
    {"fleet.secret", "sedge fleet secret 1", true},
    {"issuer.key", "sedge issuer key 1", true},
    {"issuer.cert", "sedge issuer certificate 1", false},
    {"next.key", "sedge next node key 1", true},
    {"next.cert", "sedge next node certificate 1", false},
    {"former.cert", "sedge former node certificate 1", false},
    {"next-issuer.key", "sedge next issuer key 1", true},
    {"next-issuer.cert", "sedge next issuer certificate 1", false},
    {"former-issuer.cert", "sedge former issuer certificate 1", false},
}};
constexpr std::size_t kChecksumBytes = 4;

template <std::size_t N>
Result<std::array<std::uint8_t, N>> fixed(HomeFile file, std::string_view text) {
  SEDGE_TRY(Buffer contents, open_home_file(file, text));
  if (contents.size() != N) {
    return fail(Code::kDataLoss, "{}: {} bytes instead of {}", home_file(file).name, contents.size(), N);
  }
  std::array<std::uint8_t, N> out;
  std::copy(contents.begin(), contents.end(), out.begin());
  wipe(contents);
  return out;
}

template <class T>
Result<T> message(HomeFile file, std::string_view text) {
  SEDGE_TRY(const Buffer contents, open_home_file(file, text));
  auto value = wire::decode<T>(contents);
  if (!value) return in_context(home_file(file).name, value.error());
  return value;
}

}  // namespace

const HomeFileInfo& home_file(HomeFile file) { return kFiles[static_cast<std::size_t>(file)]; }

std::string seal_home_file(HomeFile file, Bytes contents) {
  Buffer bytes = to_buffer(contents);
  const Digest sum = digest(contents);
  bytes.insert(bytes.end(), sum.begin(), sum.begin() + kChecksumBytes);
  std::string text = fmt::format("{} {}\n", home_file(file).title, to_base64url(bytes));
  wipe(bytes);
  return text;
}

Result<Buffer> open_home_file(HomeFile file, std::string_view text) {
  const HomeFileInfo& info = home_file(file);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
  if (text.size() > kHomeFileBytesMax)
    return fail(Code::kDataLoss, "{}: {} bytes are too many", info.name, text.size());
  if (!text.starts_with(info.title) || text.substr(info.title.size()).substr(0, 1) != " ") {
    const auto other = std::find_if(kFiles.begin(), kFiles.end(),
                                    [&](const HomeFileInfo& candidate) { return text.starts_with(candidate.title); });
    return fail(Code::kDataLoss, "{}: it should begin with '{}' but is {}", info.name, info.title,
                other == kFiles.end() ? "no file of Sedge's" : other->title);
  }
  const auto bytes = from_base64url(text.substr(info.title.size() + 1));
  if (!bytes || bytes->size() < kChecksumBytes) return fail(Code::kDataLoss, "{}: cut short or damaged", info.name);
  const Bytes contents = Bytes(*bytes).first(bytes->size() - kChecksumBytes);
  const Digest sum = digest(contents);
  if (!std::equal(sum.begin(), sum.begin() + kChecksumBytes, bytes->end() - kChecksumBytes)) {
    return fail(Code::kDataLoss, "{}: damaged, its checksum does not fit", info.name);
  }
  return to_buffer(contents);
}

std::string encode_key(HomeFile file, const SecretKey& key) { return seal_home_file(file, key.seed()); }

Result<SecretKey> decode_key(HomeFile file, std::string_view text) {
  SEDGE_TRY(Seed seed, fixed<32>(file, text));
  SecretKey key(seed);
  wipe(seed);
  return key;
}

std::string encode_node_certificate(const CertificateChain& chain, HomeFile file) {
  return seal_home_file(file, encode_chain(chain));
}
Result<CertificateChain> decode_node_certificate(std::string_view text, HomeFile file) {
  return message<CertificateChain>(file, text);
}

std::string encode_issuer_certificate(const Certificate& certificate, HomeFile file) {
  return seal_home_file(file, wire::encode(certificate));
}
Result<Certificate> decode_issuer_certificate(std::string_view text, HomeFile file) {
  return message<Certificate>(file, text);
}

std::string encode_root(const PublicKey& root) { return seal_home_file(HomeFile::kFleetRoot, root.bytes); }
Result<PublicKey> decode_root(std::string_view text) {
  SEDGE_TRY(const auto bytes, fixed<32>(HomeFile::kFleetRoot, text));
  return PublicKey{bytes};
}

std::string encode_fleet_secret(const FleetSecret& secret) { return seal_home_file(HomeFile::kFleetSecret, secret); }
Result<FleetSecret> decode_fleet_secret(std::string_view text) { return fixed<32>(HomeFile::kFleetSecret, text); }

}  // namespace sedge::trust
