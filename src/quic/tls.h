// TLS 1.3 for QUIC, by GnuTLS. What TLS proves is possession of an Ed25519 key; who that key belongs to is for our own
// certificates to say. So each endpoint makes itself a self-signed X.509 certificate whose private extension holds
//
//   TlsIdentity { certificate chain, boot epoch, instance }
//
// and the peer's verify callback looks at two things only: the key, and that extension. Names, dates and issuers of
// the X.509 certificate mean nothing here. Raw public keys (RFC 7250) were rejected: they have no room for the chain,
// which would then travel after the handshake, and a stranger would already be inside. A CA in X.509 was rejected
// because grants and revocation are ours anyway (trust/certificate.h).
// Two protocols by ALPN: sedge/1, where both sides show a chain; sedge-join/1, where the dialler has none yet.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "trust/join.h"
#include "trust/keys.h"

namespace sedge::quic {

enum class Protocol : std::uint8_t { kLink, kJoin };

struct TlsIdentity {
  Buffer chain;  // empty: a joiner
  BootEpoch boot_epoch;
  std::uint64_t instance = 0;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("chain", chain);
    visit("boot_epoch", boot_epoch);
    visit("instance", instance);
  }
};

// What the other side showed, its form checked and nothing else.
struct PeerProof {
  Protocol protocol{};
  trust::PublicKey key;
  TlsIdentity identity;
};

// Decides about a peer in the middle of the handshake; an error ends it.
class PeerCheck {
 public:
  virtual ~PeerCheck() = default;
  virtual Status check_peer(const PeerProof& proof) = 0;
};

// The endpoint's own certificate and algorithms, shared by its sessions.
class TlsCredentials {
 public:
  // Errors: Internal, with GnuTLS's words.
  static Result<std::unique_ptr<TlsCredentials>> create(const trust::SecretKey& key, const TlsIdentity& identity,
                                                        bool accept_joins);
  // With any extension, or none where it is empty: what a hostile peer may do.
  static Result<std::unique_ptr<TlsCredentials>> create_raw(const trust::SecretKey& key, Bytes extension,
                                                            bool accept_joins);
  Bytes certificate() const { return certificate_; }  // X.509, DER
  ~TlsCredentials();
  TlsCredentials(const TlsCredentials&) = delete;
  TlsCredentials& operator=(const TlsCredentials&) = delete;

 private:
  friend class TlsSession;
  TlsCredentials() = default;
  gnutls_certificate_credentials_t credentials_ = nullptr;
  gnutls_priority_t priority_ = nullptr;
  Buffer certificate_;
  bool accept_joins_ = false;
};

class TlsSession {
 public:
  // `conn` is set by attach() before the first packet; `check` outlives the session.
  static Result<std::unique_ptr<TlsSession>> dial(const TlsCredentials& credentials, Protocol protocol,
                                                  PeerCheck& check);
  static Result<std::unique_ptr<TlsSession>> accept(const TlsCredentials& credentials, PeerCheck& check);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  void attach(ngtcp2_conn* conn);
  // Requires: a completed handshake. Errors: Internal.
  Result<trust::Exporter> join_exporter() const;

 private:
  TlsSession() = default;
  Status configure(const TlsCredentials& credentials, unsigned flags, std::initializer_list<Protocol> protocols);
  static ngtcp2_conn* connection_of(ngtcp2_crypto_conn_ref* ref);
  static int verify(gnutls_session_t session);
  Result<PeerProof> read_peer() const;
  friend class TlsCredentials;

  gnutls_session_t session_ = nullptr;
  ngtcp2_crypto_conn_ref reference_{};
  ngtcp2_conn* conn_ = nullptr;
  PeerCheck* check_ = nullptr;
};

// Parses one X.509 certificate for the two things that count. Total on any bytes.
// Errors: Unauthenticated: no certificate of ours.
Result<PeerProof> read_certificate(Bytes der);

}  // namespace sedge::quic
