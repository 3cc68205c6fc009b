// Topics and entries that hold values of your own types, over a Fleet.
//
// What is published on a topic is bytes; a robot's program means a pose or an order. Every program would write the same
// lines in each callback: decode, and do something sound with what does not decode. Here they are once. The type is
// yours and stays on your side: nothing of it travels but its bytes (sedge/codec.h), so a topic or a path has one type,
// by agreement. That each message names its type, with a hash of its fields, was rejected: a fleet is not updated all
// at once, and the day a field is added all would refuse each other.
//
//   Publisher<Pose> poses(fleet, "robot/rover-7/pose", {.reliable = false});
//   (void)poses.publish({.x_m = 3, .y_m = 4});
//   (void)subscribe<Pose>(fleet, "robot/+/pose", [](const Pose& pose, const Message& from) { draw(from.topic, pose);
//   }); Register<Area> search(fleet, "mission/area"); (void)search.set({.north_m = 200});
//
// Bytes that are no T never reach a callback as a value: they are told to `on_malformed`, or dropped where there is
// none. Threads, errors and what a callback may do are the Fleet's (sedge/sedge.h). A Publisher and a Register keep its
// address: it outlives them and is not moved meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "sedge/codec.h"
#include "sedge/sedge.h"

namespace sedge::robot {

// Bytes that are no value of the type that is expected there: of a newer, older or wrong program.
struct Malformed {
  std::string_view where;   // topic or path; the three are valid within the callback
  std::string_view origin;  // id of the node that wrote it
  std::string_view bytes;
  Error error;  // DataLoss: names the field and the offset
};
using OnMalformed = std::function<void(const Malformed&)>;

struct SubscribeTyped {
  OnMalformed on_malformed{};
  Subscribe subscription{};
};

namespace detail {

inline void tell(const OnMalformed& on_malformed, std::string_view where, std::string_view origin,
                 std::string_view bytes, Error error) {
  if (on_malformed) on_malformed({.where = where, .origin = origin, .bytes = bytes, .error = std::move(error)});
}

// `callback(T&&, const Message&)`, on the loop.
template <class T, class Callback>
Result<SubscriptionId> hear(Fleet& fleet, std::string_view filter, Callback callback, SubscribeTyped options) {
  return fleet.subscribe(
      filter,
      [callback = std::move(callback), on_malformed = std::move(options.on_malformed)](const Message& message) mutable {
        Result<T> value = decode<T>(message.payload);
        if (!value) return tell(on_malformed, message.topic, message.origin, message.payload, std::move(value.error()));
        callback(*std::move(value), message);
      },
      std::move(options.subscription));
}

}  // namespace detail

template <class T>
class Publisher {
  static_assert(Encodable<T>,
                "Sedge: this type has no Codec: give it fields(visit), or specialise sedge::robot::Codec");

 public:
  Publisher(Fleet& fleet, std::string topic, Publish options = {})
      : fleet_(&fleet), topic_(std::move(topic)), options_(options) {}

  // As Fleet::publish, with its errors: those of a topic that is malformed or not granted come here too.
  Status publish(const T& value) const { return fleet_->publish(topic_, encode(value), options_); }

  const std::string& topic() const { return topic_; }

 private:
  Fleet* fleet_;
  std::string topic_;
  Publish options_;
};

// As Fleet::subscribe, and ended by Fleet::unsubscribe.
template <class T>
Result<SubscriptionId> subscribe(Fleet& fleet, std::string_view filter,
                                 std::function<void(const T& value, const Message& message)> callback,
                                 SubscribeTyped options = {}) {
  static_assert(Encodable<T>,
                "Sedge: this type has no Codec: give it fields(visit), or specialise sedge::robot::Codec");
  if (!callback) return std::unexpected(Error{Code::kInvalidArgument, "a subscription needs a callback"});
  return detail::hear<T>(fleet, filter, std::move(callback), std::move(options));
}

// A replicated register that holds a T. Multi-values, counters, sets and logs are the Fleet's own.
template <class T>
class Register {
  static_assert(Encodable<T>,
                "Sedge: this type has no Codec: give it fields(visit), or specialise sedge::robot::Codec");

 public:
  Register(Fleet& fleet, std::string path) : fleet_(&fleet), path_(std::move(path)) {}

  // As Fleet::set.
  Status set(const T& value) const { return fleet_->set(path_, encode(value)); }

  // Errors: NotFound: nothing is written there. FailedPrecondition: another kind of entry lives there. DataLoss: what
  // is there is no T.
  Result<T> get() const {
    const Result<Entry> entry = fleet_->get(path_);
    if (!entry) return std::unexpected(entry.error());
    if (entry->kind != Entry::Kind::kRegister || entry->values.empty()) {
      return std::unexpected(Error{Code::kFailedPrecondition, "'" + path_ + "' holds no register"});
    }
    return decode<T>(entry->values.front());
  }

  // Called for the value that is there already, then for every change; no value: it was erased. A value that is no T
  // is told to on_malformed alone: the last one that was heard is then not what the fleet has.
  using OnChange = std::function<void(const std::optional<T>& value)>;
  Result<WatchId> watch(OnChange callback, OnMalformed on_malformed = {}) const {
    if (!callback) return std::unexpected(Error{Code::kInvalidArgument, "a watch needs a callback"});
    return fleet_->watch(path_, [callback = std::move(callback), on_malformed = std::move(on_malformed)](
                                    std::string_view path, const std::optional<Entry>& entry) {
      if (!entry) return callback(std::nullopt);
      if (entry->kind != Entry::Kind::kRegister || entry->values.empty()) {
        return detail::tell(on_malformed, path, entry->writer, {},
                            {Code::kFailedPrecondition, "'" + std::string(path) + "' holds no register"});
      }
      Result<T> value = decode<T>(entry->values.front());
      if (!value)
        return detail::tell(on_malformed, path, entry->writer, entry->values.front(), std::move(value.error()));
      callback(*std::move(value));
    });
  }

  const std::string& path() const { return path_; }

 private:
  Fleet* fleet_;
  std::string path_;
};

}  // namespace sedge::robot
