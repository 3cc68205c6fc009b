// NATS through its C client. It has two ways to publish, chosen for a whole connection: at once, or gathered for up to
// a millisecond by a thread that sends. So a channel is two connections: send() takes the first, stream() the second.
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <nats/nats.h>

#include "client.h"

namespace sedge::bench {
namespace {

Status own(natsStatus status, std::string_view what) {
  if (status == NATS_OK) return {};
  const char* detail = nats_GetLastError(nullptr);
  return fail(Code::kUnavailable, "nats: {}: {} {}", what, natsStatus_GetText(status), detail != nullptr ? detail : "");
}

// Subjects are words joined by dots.
std::string subject_to(Side side) {
  std::string subject(topic_to(side));
  subject.replace(subject.find('/'), 1, ".");
  return subject;
}

// The URL's scheme asks for TLS; that it is 1.3, OPENSSL_CONF of run.py asks, for this client has no option for it.
Result<natsConnection*> connect(const Endpoint& endpoint, bool at_once) {
  natsOptions* options = nullptr;
  SEDGE_CHECK(own(natsOptions_Create(&options), "options"));
  natsConnection* connection = nullptr;
  const Status done = [&]() -> Status {
    const std::string url = "tls://127.0.0.1:" + std::to_string(endpoint.port);
    const std::string ca = endpoint.folder + "/ca.pem";
    const std::string certificate = endpoint.folder + "/client.pem";
    const std::string key = endpoint.folder + "/client.key";
    SEDGE_CHECK(own(natsOptions_SetURL(options, url.c_str()), "URL"));
    SEDGE_CHECK(own(natsOptions_SetSecure(options, true), "TLS"));
    SEDGE_CHECK(own(natsOptions_LoadCATrustedCertificates(options, ca.c_str()), "its CA"));
    SEDGE_CHECK(own(natsOptions_LoadCertificatesChain(options, certificate.c_str(), key.c_str()), "its certificate"));
    SEDGE_CHECK(own(natsOptions_SetAllowReconnect(options, false), "no reconnection"));
    SEDGE_CHECK(own(natsOptions_SetSendAsap(options, at_once), "send at once"));
    return own(natsConnection_Connect(&connection, options), "connect");
  }();
  natsOptions_Destroy(options);
  SEDGE_CHECK(done);
  return connection;
}

class NatsChannel : public Channel {
 public:
  NatsChannel() = default;
  NatsChannel(const NatsChannel&) = delete;
  NatsChannel& operator=(const NatsChannel&) = delete;
  ~NatsChannel() override {
    natsConnection_Close(at_once_);
    natsConnection_Close(gathered_);
    natsSubscription_Destroy(subscription_);
    natsConnection_Destroy(at_once_);
    natsConnection_Destroy(gathered_);
    nats_CloseAndWait(0);  // until no callback runs any more
  }

  Status connect_both(const Endpoint& endpoint) {
    SEDGE_TRY(at_once_, connect(endpoint, true));
    SEDGE_TRY(gathered_, connect(endpoint, false));
    return {};
  }

  Status start(Side side, Receive receive) override {
    receive_ = std::move(receive);
    to_ = subject_to(side == Side::kNear ? Side::kFar : Side::kNear);
    const auto on_message = [](natsConnection*, natsSubscription*, natsMsg* message, void* self) {
      static_cast<NatsChannel*>(self)->receive_(
          {natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))});
      natsMsg_Destroy(message);
    };
    return own(natsConnection_Subscribe(&subscription_, at_once_, subject_to(side).c_str(), on_message, this),
               "subscribe");
  }

  Status send(std::string_view payload) override { return publish(at_once_, payload); }
  Status stream(std::string_view payload) override { return publish(gathered_, payload); }

 private:
  Status publish(natsConnection* connection, std::string_view payload) {
    return own(natsConnection_Publish(connection, to_.c_str(), payload.data(), static_cast<int>(payload.size())),
               "publish");
  }

  natsConnection* at_once_ = nullptr;
  natsConnection* gathered_ = nullptr;
  natsSubscription* subscription_ = nullptr;
  std::string to_;
  Receive receive_;
};

}  // namespace

Result<std::unique_ptr<Channel>> open_channel(const Endpoint& endpoint) {
  auto channel = std::make_unique<NatsChannel>();
  SEDGE_CHECK(channel->connect_both(endpoint));
  return channel;
}

std::string library_version() { return nats_GetVersion(); }

}  // namespace sedge::bench
