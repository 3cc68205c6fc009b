// A robot in the fleet: takes orders, tells how it is, shares what it saw, asks a model what to do next.
//   robot HOME MODEL [INVITATION]     the invitation also from $SEDGE_INVITATION; only needed the first time
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>
#include <utility>

#include "sedge/sedge.h"

using namespace std::chrono_literals;
namespace robot = sedge::robot;

int complain(const robot::Error& error) {
  std::fprintf(stderr, "robot: %s\n", error.message.c_str());
  return 1;
}

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: robot HOME MODEL [INVITATION]\n"), 2;
  const char* invitation = argc > 3 ? argv[3] : std::getenv("SEDGE_INVITATION");
  auto fleet =
      robot::Fleet::open({.home = argv[1], .invitation = invitation != nullptr ? invitation : "", .name = "rover-7"});
  if (!fleet) return complain(fleet.error());
  std::printf("joined as %s\n", fleet->name().c_str());

  std::promise<std::string> first_order;
  const auto orders = fleet->subscribe("robot/rover-7/orders", [&, open = true](const robot::Message& order) mutable {
    if (std::exchange(open, false)) first_order.set_value(std::string(order.payload));
  });
  if (!orders) return complain(orders.error());
  if (const auto found = fleet->await_model(argv[2], 20s); !found) return complain(found.error());

  auto told = fleet->publish("robot/rover-7/telemetry", R"({"battery":81})", {.retain = true});
  if (told) told = fleet->set("field/north", "dry");  // returns when it is on disk here; the fleet has it soon after
  if (told) told = fleet->add("robot/rover-7/starts", 1);
  if (!told) return complain(told.error());

  const auto answer = fleet->ask({.model = argv[2],
                                  .prompt = "Once upon a time",
                                  .chat = false,
                                  .tokens_max = 24,
                                  .deadline = 10s,
                                  .fallback = "hold position"},
                                 [](std::string_view text) { std::printf("%.*s", int(text.size()), text.data()); });
  if (!answer) return complain(answer.error());
  std::printf("\n%s: %u tokens by %s\n", answer->fallback ? answer->reason.c_str() : "answered", answer->tokens,
              answer->served_by.c_str());

  auto order = first_order.get_future();
  std::printf("order: %s\n", order.wait_for(20s) == std::future_status::ready ? order.get().c_str() : "none came");
  const auto closed = fleet->close();
  return closed ? 0 : complain(closed.error());
}
