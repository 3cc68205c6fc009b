// DDS through Cyclone's C API: reliable, everything kept until it is acknowledged, samples taken in the listener, on
// the thread that receives them. Where the peers are, and that multicast is off, run.py says in CYCLONEDDS_URI.
// A writer sends each sample by itself or fills packets; send() takes a writer of the first kind, stream() one of the
// second. It has no broker, and no security unless its plugins and a signed permissions document are set up: the row
// says "none".
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <dds/dds.h>
#include <dds/version.h>

#include "client.h"
#include "message.h"

namespace sedge::bench {
namespace {

using Sample = sedge_bench_Message;
static_assert(sizeof(Sample) == kMessageBytes);

constexpr int kTakenAtOnce = 64;

Status own(dds_return_t code, std::string_view what) {
  if (code >= 0) return {};
  const Code our = code == DDS_RETCODE_TIMEOUT ? Code::kResourceExhausted : Code::kUnavailable;
  return fail(our, "dds: {}: {}", what, dds_strretcode(code));
}

class DdsChannel : public Channel {
 public:
  DdsChannel() = default;
  DdsChannel(const DdsChannel&) = delete;
  DdsChannel& operator=(const DdsChannel&) = delete;
  ~DdsChannel() override { dds_delete(participant_); }  // and all it made

  Status open() {
    participant_ = dds_create_participant(DDS_DOMAIN_DEFAULT, nullptr, nullptr);
    return own(participant_, "participant");
  }

  Status start(Side side, Receive receive) override {
    receive_ = std::move(receive);
    const dds_entity_t out = topic(side == Side::kNear ? Side::kFar : Side::kNear);
    const dds_entity_t in = topic(side);
    SEDGE_CHECK(own(out, "topic"));
    SEDGE_CHECK(own(in, "topic"));
    dds_qos_t* qos = dds_create_qos();
    dds_qset_reliability(qos, DDS_RELIABILITY_RELIABLE, 0);  // full: say so at once
    dds_qset_history(qos, DDS_HISTORY_KEEP_ALL, 0);
    dds_listener_t* listener = dds_create_listener(this);
    dds_lset_data_available(listener,
                            [](dds_entity_t reader, void* self) { static_cast<DdsChannel*>(self)->take(reader); });
    dds_write_set_batch(true);  // holds for the writers made from now on
    filling_ = dds_create_writer(participant_, out, qos, nullptr);
    dds_write_set_batch(false);
    single_ = dds_create_writer(participant_, out, qos, nullptr);
    const dds_entity_t reader = dds_create_reader(participant_, in, qos, listener);
    dds_delete_listener(listener);
    dds_delete_qos(qos);
    SEDGE_CHECK(own(filling_, "writer"));
    SEDGE_CHECK(own(single_, "writer"));
    return own(reader, "reader");
  }

  Status send(std::string_view payload) override { return write(single_, payload); }
  Status stream(std::string_view payload) override { return write(filling_, payload); }
  void flush() override { dds_write_flush(filling_); }

 private:
  dds_entity_t topic(Side side) {
    std::string name(topic_to(side));
    name.replace(name.find('/'), 1, "_");
    return dds_create_topic(participant_, &sedge_bench_Message_desc, name.c_str(), nullptr, nullptr);
  }

  Status write(dds_entity_t writer, std::string_view payload) {
    Sample sample;
    std::memcpy(sample.payload, payload.data(), sizeof sample.payload);
    return own(dds_write(writer, &sample), "write");
  }

  void take(dds_entity_t reader) {
    void* samples[kTakenAtOnce] = {};
    dds_sample_info_t infos[kTakenAtOnce];
    for (;;) {
      const dds_return_t count = dds_take(reader, samples, infos, kTakenAtOnce, kTakenAtOnce);
      if (count <= 0) return;
      for (int i = 0; i < count; ++i) {
        const auto* sample = static_cast<const Sample*>(samples[i]);
        if (infos[i].valid_data) receive_({reinterpret_cast<const char*>(sample->payload), sizeof sample->payload});
      }
      dds_return_loan(reader, samples, count);
    }
  }

  dds_entity_t participant_ = 0;
  dds_entity_t single_ = 0;
  dds_entity_t filling_ = 0;
  Receive receive_;
};

}  // namespace

Result<std::unique_ptr<Channel>> open_channel(const Endpoint&) {
  auto channel = std::make_unique<DdsChannel>();
  SEDGE_CHECK(channel->open());
  return channel;
}

std::string library_version() { return DDS_VERSION; }

}  // namespace sedge::bench
