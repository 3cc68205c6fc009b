// A robot that tells 20 times a second where it is, and a mission that waits for its orders as a coroutine; and the
// operator who sends one. Messages are structs.
//   typed_robot drive HOME [INVITATION]      obeys orders until one says it is the last
//   typed_robot send HOME X Y [INVITATION]   orders the robot to X Y (metres), to park there, and waits until it has
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "sedge/await.h"
#include "sedge/sedge.h"
#include "sedge/typed.h"

using namespace std::chrono_literals;
namespace robot = sedge::robot;

struct Place {
  double x_m = 0;
  double y_m = 0;
  template <class V>
  void fields(V& visit) {
    visit("x_m", x_m);
    visit("y_m", y_m);
  }
};

struct Telemetry {
  Place at;
  float speed_mps = 0;
  std::uint8_t battery_percent = 100;  // robots told none in their first version: this is then kept
  template <class V>
  void fields(V& visit) {
    visit("at", at);
    visit("speed_mps", speed_mps);
    visit.added("battery_percent", battery_percent);
  }
};

struct Order {
  Place to;
  std::string text;
  bool last = false;
  template <class V>
  void fields(V& visit) {
    visit("to", to);
    visit("text", text);
    visit("last", last);
  }
};

constexpr char kTelemetry[] = "robot/rover-7/telemetry";
constexpr char kOrders[] = "robot/rover-7/orders";
constexpr double kSpeedMps = 1;
constexpr auto kTick = 50ms;      // 20 Hz
constexpr int kTicksParked = 20;  // it says for a second that it is there
constexpr double kTickMetres = kSpeedMps * std::chrono::duration<double>(kTick).count();

// What the mission wants and the control loop does: they are on two threads.
class Goal {
 public:
  void set(const Order& order) {
    const std::lock_guard lock(mutex_);
    order_ = order;
  }
  Order get() const {
    const std::lock_guard lock(mutex_);
    return order_;
  }

 private:
  mutable std::mutex mutex_;
  Order order_;
};

int complain(const robot::Error& error) {
  std::fprintf(stderr, "typed_robot: %s\n", error.message.c_str());
  return 1;
}

double distance(const Place& from, const Place& to) { return std::hypot(to.x_m - from.x_m, to.y_m - from.y_m); }

// Runs on the node's loop, one short step an order. The model's words are for people; without a model in the fleet, or
// without one in time, the fallback's.
robot::Coroutine<> obey(robot::Fleet& fleet, robot::Stream<Order> orders, Goal& goal) {
  while (const auto order = co_await orders.next()) {
    goal.set(order->value);  // first: driving does not wait for words
    const robot::Question question{
        .model = "heron", .prompt = order->value.text, .deadline = 500ms, .fallback = "on my way"};
    const auto words = co_await ask(fleet, question);
    std::printf("order %s: %s\n", order->value.text.c_str(), words ? words->text.c_str() : "nothing to say");
  }
}

int drive(robot::Fleet& fleet) {
  auto orders = robot::Stream<Order>::open(fleet, kOrders, {.capacity = 4, .on_malformed = [](const auto& told) {
                                                              std::printf("no order: %s\n", told.error.message.c_str());
                                                            }});
  if (!orders) return complain(orders.error());
  Goal goal;
  const robot::Job mission = spawn(obey(fleet, *std::move(orders), goal));
  const robot::Publisher<Telemetry> telemetry(fleet, kTelemetry, {.urgency = robot::Urgency::kLow});

  Telemetry now;
  int ticks_parked = 0;
  for (auto tick = std::chrono::steady_clock::now();; tick += kTick) {
    std::this_thread::sleep_until(tick);
    const Order order = goal.get();
    const double left = distance(now.at, order.to);
    const double part = left <= kTickMetres ? 1 : kTickMetres / left;
    now.at.x_m += (order.to.x_m - now.at.x_m) * part;
    now.at.y_m += (order.to.y_m - now.at.y_m) * part;
    now.speed_mps = left > 0 ? static_cast<float>(kSpeedMps) : 0;
    // ResourceExhausted: a neighbour does not keep up. The next one is newer anyway.
    if (const auto told = telemetry.publish(now); !told && told.error().code != robot::Code::kResourceExhausted) {
      return complain(told.error());
    }
    ticks_parked = order.last && left == 0 ? ticks_parked + 1 : 0;
    if (ticks_parked == kTicksParked) break;
  }
  const auto noted = robot::Register<Place>(fleet, "robot/rover-7/parked").set(now.at);
  return noted ? 0 : complain(noted.error());
}

// The robot is heard, so it hears: an order for a robot that is still to come would be a retained one.
robot::Coroutine<robot::Status> send_it(robot::Stream<Telemetry> telemetry, robot::Publisher<Order> orders,
                                        Order order) {
  if (const auto first = co_await telemetry.next(); !first) co_return std::unexpected(first.error());
  if (const auto sent = orders.publish(order); !sent) co_return sent;
  while (true) {
    const auto heard = co_await telemetry.next();
    if (!heard) co_return std::unexpected(heard.error());
    if (distance(heard->value.at, order.to) > 0) continue;
    std::printf("it is there, battery %u %%\n", unsigned{heard->value.battery_percent});
    co_return robot::Status{};
  }
}

robot::Coroutine<> note_result(robot::Coroutine<robot::Status> task, robot::Status& result) {
  result = co_await std::move(task);
}

int send(robot::Fleet& fleet, Place to) {
  auto telemetry = robot::Stream<Telemetry>::open(fleet, kTelemetry);
  if (!telemetry) return complain(telemetry.error());
  robot::Publisher<Order> orders(fleet, kOrders, {.urgency = robot::Urgency::kUrgent, .lifespan = 10s});
  robot::Status result;  // the Job's until that is done
  const robot::Job sending = spawn(
      note_result(send_it(*std::move(telemetry), orders, {.to = to, .text = "go and park", .last = true}), result));
  const auto done = sending.wait(60s);
  if (!done) return complain(done.error());
  return result ? 0 : complain(result.error());
}

int main(int argc, char** argv) {
  (void)std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // line by line, into a file as well
  const std::string_view role = argc > 1 ? argv[1] : "";
  const int given = role == "drive" ? 3 : role == "send" ? 5 : argc + 1;
  if (argc < given) {
    return std::fprintf(stderr, "usage: typed_robot drive HOME [INVITATION] | send HOME X Y [INVITATION]\n"), 2;
  }
  const char* invitation = argc > given ? argv[given] : std::getenv("SEDGE_INVITATION");
  auto fleet = robot::Fleet::open({.home = argv[2],
                                   .invitation = invitation != nullptr ? invitation : "",
                                   .name = role == "drive" ? "rover-7" : "operator"});
  if (!fleet) return complain(fleet.error());
  const int result = role == "drive" ? drive(*fleet) : send(*fleet, {std::atof(argv[3]), std::atof(argv[4])});
  const auto closed = fleet->close();
  return result != 0 || closed ? result : complain(closed.error());
}
