#include "quic/tls.h"

#include <algorithm>
#include <array>
#include <ctime>

#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "trust/certificate.h"
#include "wire/codec.h"

namespace sedge::quic {
namespace {

// Only what we use: one group, two ciphers, one signature algorithm. QUIC forbids the middlebox compatibility mode.
constexpr const char* kPriority =
    "NONE:+VERS-TLS1.3:+AEAD:+AES-128-GCM:+CHACHA20-POLY1305:+GROUP-X25519:+SIGN-EDDSA-ED25519:+ECDHE-ECDSA:"
    "%DISABLE_TLS13_COMPAT_MODE";
constexpr const char* kExtension = "2.25.73342026";  // private; in no registry, and in nobody's way
constexpr std::string_view kExporterLabel = "EXPORTER-sedge-join-1";
constexpr std::size_t kExtensionBytesMax = trust::kChainBytesMax + 64;
constexpr std::size_t kHandshakeBytesMax = 24576;
constexpr std::array<std::string_view, 2> kAlpn = {"sedge/1", "sedge-join/1"};  // by Protocol

gnutls_datum_t datum(Bytes bytes) {
  // GnuTLS takes mutable pointers and leaves them alone.
  return {const_cast<unsigned char*>(bytes.data()), static_cast<unsigned>(bytes.size())};
}

Status checked(int code, std::string_view what) {
  if (code >= 0) return {};
  return fail(Code::kInternal, "TLS: {}: {}", what, gnutls_strerror(code));
}

// GnuTLS's handles, freed on every way out.
struct Crt {
  gnutls_x509_crt_t handle = nullptr;
  Crt() { gnutls_x509_crt_init(&handle); }
  ~Crt() { gnutls_x509_crt_deinit(handle); }
  Crt(const Crt&) = delete;
  Crt& operator=(const Crt&) = delete;
};
struct PrivateKey {
  gnutls_x509_privkey_t handle = nullptr;
  PrivateKey() { gnutls_x509_privkey_init(&handle); }
  ~PrivateKey() { gnutls_x509_privkey_deinit(handle); }
  PrivateKey(const PrivateKey&) = delete;
  PrivateKey& operator=(const PrivateKey&) = delete;
};
struct PublicKeyHandle {
  gnutls_pubkey_t handle = nullptr;
  PublicKeyHandle() { gnutls_pubkey_init(&handle); }
  ~PublicKeyHandle() { gnutls_pubkey_deinit(handle); }
  PublicKeyHandle(const PublicKeyHandle&) = delete;
  PublicKeyHandle& operator=(const PublicKeyHandle&) = delete;
};

Status fill_certificate(const Crt& crt, const PrivateKey& key, Bytes extension) {
  constexpr std::uint8_t kSerial = 1;
  constexpr std::time_t kNoEnd = 253402300799;  // RFC 5280: 99991231235959Z, "no well-defined expiration"
  SEDGE_CHECK(checked(gnutls_x509_crt_set_version(crt.handle, 3), "version"));
  SEDGE_CHECK(checked(gnutls_x509_crt_set_serial(crt.handle, &kSerial, 1), "serial"));
  SEDGE_CHECK(checked(gnutls_x509_crt_set_activation_time(crt.handle, 0), "activation"));
  SEDGE_CHECK(checked(gnutls_x509_crt_set_expiration_time(crt.handle, kNoEnd), "expiration"));
  SEDGE_CHECK(checked(gnutls_x509_crt_set_key(crt.handle, key.handle), "key"));
  if (!extension.empty()) {
    SEDGE_CHECK(
        checked(gnutls_x509_crt_set_extension_by_oid(crt.handle, kExtension, extension.data(), extension.size(), 0),
                "extension"));
  }
  return checked(gnutls_x509_crt_sign2(crt.handle, crt.handle, key.handle, GNUTLS_DIG_SHA512, 0), "signing");
}

Result<trust::PublicKey> key_of(const Crt& crt) {
  const auto refused = [] { return fail(Code::kUnauthenticated, "the peer's TLS key is not Ed25519"); };
  const PublicKeyHandle key;
  if (gnutls_pubkey_import_x509(key.handle, crt.handle, 0) < 0) return refused();
  gnutls_ecc_curve_t curve{};
  gnutls_datum_t raw{};
  if (gnutls_pubkey_export_ecc_raw(key.handle, &curve, &raw, nullptr) < 0) return refused();
  trust::PublicKey out;
  const bool right = curve == GNUTLS_ECC_CURVE_ED25519 && raw.size == out.bytes.size();
  if (right) std::copy_n(raw.data, out.bytes.size(), out.bytes.begin());
  gnutls_free(raw.data);
  if (!right) return refused();
  return out;
}

}  // namespace

Result<PeerProof> read_certificate(Bytes der) {
  const Crt crt;
  const gnutls_datum_t bytes = datum(der);
  if (gnutls_x509_crt_import(crt.handle, &bytes, GNUTLS_X509_FMT_DER) < 0) {
    return fail(Code::kUnauthenticated, "the peer's TLS certificate is malformed");
  }
  PeerProof proof;
  SEDGE_TRY(proof.key, key_of(crt));
  Buffer extension(kExtensionBytesMax);
  std::size_t size = extension.size();
  unsigned critical = 0;
  if (gnutls_x509_crt_get_extension_by_oid(crt.handle, kExtension, 0, extension.data(), &size, &critical) < 0) {
    return fail(Code::kUnauthenticated, "the peer is no node of a fleet: its TLS certificate carries no chain");
  }
  auto identity = wire::decode<TlsIdentity>(Bytes(extension).first(size));
  if (!identity) return fail(Code::kUnauthenticated, "the peer's identity: {}", identity.error().message);
  proof.identity = std::move(*identity);
  return proof;
}

Result<std::unique_ptr<TlsCredentials>> TlsCredentials::create(const trust::SecretKey& key, const TlsIdentity& identity,
                                                               bool accept_joins) {
  return create_raw(key, wire::encode(identity), accept_joins);
}

Result<std::unique_ptr<TlsCredentials>> TlsCredentials::create_raw(const trust::SecretKey& key, Bytes extension,
                                                                   bool accept_joins) {
  std::unique_ptr<TlsCredentials> out(new TlsCredentials);
  out->accept_joins_ = accept_joins;
  const PrivateKey private_key;
  const trust::PublicKey public_key = key.public_key();
  const gnutls_datum_t x = datum(public_key.bytes);
  const gnutls_datum_t k = datum(key.seed());
  SEDGE_CHECK(checked(gnutls_x509_privkey_import_ecc_raw(private_key.handle, GNUTLS_ECC_CURVE_ED25519, &x, nullptr, &k),
                      "node key"));
  Crt crt;
  SEDGE_CHECK(fill_certificate(crt, private_key, extension));
  gnutls_datum_t der{};
  SEDGE_CHECK(checked(gnutls_x509_crt_export2(crt.handle, GNUTLS_X509_FMT_DER, &der), "encoding"));
  out->certificate_ = Buffer(der.data, der.data + der.size);
  gnutls_free(der.data);
  SEDGE_CHECK(checked(gnutls_certificate_allocate_credentials(&out->credentials_), "credentials"));
  SEDGE_CHECK(checked(gnutls_certificate_set_x509_key(out->credentials_, &crt.handle, 1, private_key.handle),
                      "own certificate"));
  gnutls_certificate_set_verify_function(out->credentials_, &TlsSession::verify);
  SEDGE_CHECK(checked(gnutls_priority_init(&out->priority_, kPriority, nullptr), "algorithms"));
  return out;
}

TlsCredentials::~TlsCredentials() {
  if (credentials_ != nullptr) gnutls_certificate_free_credentials(credentials_);
  if (priority_ != nullptr) gnutls_priority_deinit(priority_);
}

Status TlsSession::configure(const TlsCredentials& credentials, unsigned flags,
                             std::initializer_list<Protocol> protocols) {
  // No tickets: resumption would let a peer in on a certificate that was looked at earlier.
  SEDGE_CHECK(checked(gnutls_init(&session_, flags | GNUTLS_NO_TICKETS), "session"));
  SEDGE_CHECK(checked(gnutls_priority_set(session_, credentials.priority_), "algorithms"));
  SEDGE_CHECK(
      checked(gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, credentials.credentials_), "credentials"));
  gnutls_handshake_set_max_packet_length(session_, kHandshakeBytesMax);
  std::array<gnutls_datum_t, kAlpn.size()> names{};
  unsigned count = 0;
  for (const Protocol protocol : protocols) {
    names[count++] = datum(as_bytes(kAlpn[static_cast<std::size_t>(protocol)]));
  }
  SEDGE_CHECK(checked(gnutls_alpn_set_protocols(session_, names.data(), count, GNUTLS_ALPN_MANDATORY), "ALPN"));
  reference_ = {&TlsSession::connection_of, this};
  gnutls_session_set_ptr(session_, &reference_);
  return {};
}

Result<std::unique_ptr<TlsSession>> TlsSession::dial(const TlsCredentials& credentials, Protocol protocol,
                                                     PeerCheck& check) {
  std::unique_ptr<TlsSession> out(new TlsSession);
  out->check_ = &check;
  // Forced: where the server's hints do not match, GnuTLS would leave our certificate out without a word.
  SEDGE_CHECK(out->configure(credentials, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT, {protocol}));
  SEDGE_CHECK(checked(ngtcp2_crypto_gnutls_configure_client_session(out->session_), "QUIC client"));
  return out;
}

Result<std::unique_ptr<TlsSession>> TlsSession::accept(const TlsCredentials& credentials, PeerCheck& check) {
  std::unique_ptr<TlsSession> out(new TlsSession);
  out->check_ = &check;
  if (credentials.accept_joins_) {
    SEDGE_CHECK(out->configure(credentials, GNUTLS_SERVER, {Protocol::kLink, Protocol::kJoin}));
  } else {
    SEDGE_CHECK(out->configure(credentials, GNUTLS_SERVER, {Protocol::kLink}));
  }
  gnutls_certificate_server_set_request(out->session_, GNUTLS_CERT_REQUIRE);
  SEDGE_CHECK(checked(ngtcp2_crypto_gnutls_configure_server_session(out->session_), "QUIC server"));
  return out;
}

TlsSession::~TlsSession() {
  if (session_ != nullptr) gnutls_deinit(session_);
}

void TlsSession::attach(ngtcp2_conn* conn) {
  conn_ = conn;
  ngtcp2_conn_set_tls_native_handle(conn, session_);
}

ngtcp2_conn* TlsSession::connection_of(ngtcp2_crypto_conn_ref* ref) {
  return static_cast<TlsSession*>(ref->user_data)->conn_;
}

// GnuTLS calls this once the peer has shown its certificate; zero lets the handshake go on.
int TlsSession::verify(gnutls_session_t session) {
  auto* ref = static_cast<ngtcp2_crypto_conn_ref*>(gnutls_session_get_ptr(session));
  auto* self = static_cast<TlsSession*>(ref->user_data);
  const auto proof = self->read_peer();
  return proof && self->check_->check_peer(*proof) ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

Result<PeerProof> TlsSession::read_peer() const {
  gnutls_datum_t chosen{};
  if (gnutls_alpn_get_selected_protocol(session_, &chosen) < 0) {
    return fail(Code::kUnauthenticated, "the peer chose no protocol");
  }
  const std::string_view name = as_text({chosen.data, chosen.size});
  const auto row = std::find(kAlpn.begin(), kAlpn.end(), name);
  if (row == kAlpn.end()) return fail(Code::kUnauthenticated, "the peer chose another protocol");
  unsigned count = 0;
  const gnutls_datum_t* list = gnutls_certificate_get_peers(session_, &count);
  if (list == nullptr || count != 1) {
    return fail(Code::kUnauthenticated, "the peer showed {} TLS certificates instead of one", count);
  }
  SEDGE_TRY(PeerProof proof, read_certificate({list[0].data, list[0].size}));
  proof.protocol = static_cast<Protocol>(row - kAlpn.begin());
  return proof;
}

Result<trust::Exporter> TlsSession::join_exporter() const {
  trust::Exporter out{};
  SEDGE_CHECK(checked(gnutls_prf_rfc5705(session_, kExporterLabel.size(), kExporterLabel.data(), 0, nullptr, out.size(),
                                         reinterpret_cast<char*>(out.data())),
                      "exporter"));
  return out;
}

}  // namespace sedge::quic
