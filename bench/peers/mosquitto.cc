// MQTT 3.1.1 through libmosquitto and its own network thread; on_message is called there.
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <mosquitto.h>

#include "client.h"

namespace sedge::bench {
namespace {

constexpr int kKeepAliveS = 60;
// Of QoS 1. The default of 20 is few for a round trip; the client walks the whole list for every acknowledgement, so
// that with a window's worth (16,384) it comes to a standstill. 200 and 2000 do equally well.
constexpr int kInFlightMax = 200;

Status own(int code, std::string_view what) {
  if (code == MOSQ_ERR_SUCCESS) return {};
  return fail(Code::kUnavailable, "mosquitto: {}: {}", what, mosquitto_strerror(code));
}

class MqttChannel : public Channel {
 public:
  explicit MqttChannel(int qos) : qos_(qos), client_(mosquitto_new(nullptr, true, this)) {}
  MqttChannel(const MqttChannel&) = delete;
  MqttChannel& operator=(const MqttChannel&) = delete;
  ~MqttChannel() override {
    mosquitto_disconnect(client_);
    mosquitto_loop_stop(client_, true);
    mosquitto_destroy(client_);
  }

  Status connect(const Endpoint& endpoint) {
    const std::string ca = endpoint.folder + "/ca.pem";
    const std::string certificate = endpoint.folder + "/client.pem";
    const std::string key = endpoint.folder + "/client.key";
    SEDGE_CHECK(own(mosquitto_tls_set(client_, ca.c_str(), nullptr, certificate.c_str(), key.c_str(), nullptr), "TLS"));
    SEDGE_CHECK(own(mosquitto_tls_opts_set(client_, 1, "tlsv1.3", nullptr), "TLS 1.3"));
    SEDGE_CHECK(own(mosquitto_int_option(client_, MOSQ_OPT_TCP_NODELAY, 1), "TCP_NODELAY"));
    SEDGE_CHECK(own(mosquitto_int_option(client_, MOSQ_OPT_SEND_MAXIMUM, kInFlightMax), "send maximum"));
    SEDGE_CHECK(own(mosquitto_int_option(client_, MOSQ_OPT_RECEIVE_MAXIMUM, kInFlightMax), "receive maximum"));
    return own(mosquitto_connect(client_, "127.0.0.1", endpoint.port, kKeepAliveS), "connect");
  }

  Status start(Side side, Receive receive) override {
    receive_ = std::move(receive);
    to_ = topic_to(side == Side::kNear ? Side::kFar : Side::kNear);
    mosquitto_message_callback_set(client_, [](mosquitto*, void* self, const mosquitto_message* message) {
      static_cast<MqttChannel*>(self)->receive_(
          {static_cast<const char*>(message->payload), static_cast<std::size_t>(message->payloadlen)});
    });
    SEDGE_CHECK(own(mosquitto_subscribe(client_, nullptr, std::string(topic_to(side)).c_str(), qos_), "subscribe"));
    return own(mosquitto_loop_start(client_), "its thread");
  }

  Status send(std::string_view payload) override {
    return own(
        mosquitto_publish(client_, nullptr, to_.c_str(), static_cast<int>(payload.size()), payload.data(), qos_, false),
        "publish");
  }

 private:
  const int qos_;
  mosquitto* client_;
  std::string to_;
  Receive receive_;
};

}  // namespace

Result<std::unique_ptr<Channel>> open_channel(const Endpoint& endpoint) {
  mosquitto_lib_init();
  auto channel = std::make_unique<MqttChannel>(endpoint.qos);
  SEDGE_CHECK(channel->connect(endpoint));
  return channel;
}

std::string library_version() {
  int major = 0;
  int minor = 0;
  int revision = 0;
  mosquitto_lib_version(&major, &minor, &revision);
  return fmt::format("{}.{}.{}", major, minor, revision);
}

}  // namespace sedge::bench
