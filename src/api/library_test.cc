#include <atomic>
#include <filesystem>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "api/testing.h"
#include "sedge/sedge.h"

namespace sedge::robot {
namespace {

class Library : public testing::Test {
 protected:
  Result<Fleet> open() const {
    return Fleet::open({.home = home_.string(), .listen = "127.0.0.1:0", .beacons = false});
  }

  const api::testing::Home fleet_of_one_;
  const std::filesystem::path& home_ = fleet_of_one_.path;
};

TEST_F(Library, a_home_without_a_fleet_says_what_to_do) {
  const auto opened = Fleet::open({.home = (home_ / "nothing").string()});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kFailedPrecondition);
  EXPECT_FALSE(opened.error().message.empty());
  EXPECT_EQ(Fleet::open({.home = home_.string(), .invitation = "sedge1:torn"}).error().code, Code::kInvalidArgument);
}

TEST_F(Library, an_overlay_that_there_is_not_is_refused) {
  const auto with = [&](std::string overlay, std::string zone) {
    const auto fleet = Fleet::open({.home = home_.string(),
                                    .listen = "127.0.0.1:0",
                                    .beacons = false,
                                    .overlay = std::move(overlay),
                                    .zone = std::move(zone)});
    return fleet ? std::nullopt : std::optional(fleet.error().code);
  };
  EXPECT_EQ(with("cobweb", ""), Code::kInvalidArgument);
  EXPECT_EQ(with("star:0", ""), Code::kInvalidArgument);
  EXPECT_EQ(with("hierarchy", "@1"), Code::kInvalidArgument);
  EXPECT_EQ(with("hierarchy:30", "barn"), std::nullopt);
}

TEST_F(Library, entries_are_durable_when_a_write_returns) {
  {
    auto fleet = open();
    ASSERT_TRUE(fleet) << fleet.error().message;
    EXPECT_EQ(fleet->name(), "rover");
    ASSERT_TRUE(fleet->set("field/north", "dry"));
    ASSERT_TRUE(fleet->add("visits", 2));
    ASSERT_TRUE(fleet->add("visits", -5));
    ASSERT_TRUE(fleet->insert("seen", "fox"));
    ASSERT_TRUE(fleet->insert("seen", "hen"));
    ASSERT_TRUE(fleet->remove("seen", "fox"));
    EXPECT_EQ(fleet->insert("visits", "x").error().code, Code::kFailedPrecondition);
    EXPECT_EQ(fleet->set("", "x").error().code, Code::kInvalidArgument);
    EXPECT_EQ(fleet->get("field/south").error().code, Code::kNotFound);
    EXPECT_TRUE(fleet->close());
  }
  auto again = open();
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->get("field/north")->values, std::vector<std::string>{"dry"});
  EXPECT_EQ(again->get("field/north")->writer, again->id());
  EXPECT_EQ(again->get("visits")->total, -3);
  EXPECT_EQ(again->get("visits")->kind, Entry::Kind::kCounter);
  EXPECT_EQ(again->get("seen")->values, std::vector<std::string>{"hen"});
}

TEST(LibraryOfTheFounder, a_fleet_agrees_on_values_and_has_a_leader) {
  const api::testing::Home home("rover", true);
  auto fleet = Fleet::open({.home = home.path.string(), .listen = "127.0.0.1:0", .beacons = false});
  ASSERT_TRUE(fleet) << fleet.error().message;
  const auto first = fleet->set_agreed("charger/holder", "rover-7", 0);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(fleet->set_agreed("charger/holder", "rover-8", 0).error().code, Code::kFailedPrecondition);
  const auto held = fleet->get_agreed("charger/holder");
  ASSERT_TRUE(held);
  EXPECT_EQ(held->value, "rover-7");
  EXPECT_EQ(held->version, *first);
  EXPECT_EQ(fleet->get_agreed("nobody").value().version, 0u);
  const auto leader = fleet->leader();
  ASSERT_TRUE(leader) << leader.error().message;
  EXPECT_TRUE(leader->self);
  EXPECT_EQ(leader->name, "rover");
}

TEST_F(Library, a_callback_remembers_and_may_call_everything_but_what_waits) {
  auto fleet = open();
  ASSERT_TRUE(fleet) << fleet.error().message;
  std::promise<std::string> seen;
  auto done = seen.get_future();
  const auto id = fleet->subscribe("orders/#", [&, calls = 0](const Message& order) mutable {
    const Status written = fleet->set("last/order", order.payload);
    const auto asked = fleet->ask({.model = "m"});
    if (++calls == 2) {
      seen.set_value(std::string(order.topic) + (written ? " written" : written.error().message) +
                     (!asked && asked.error().code == Code::kFailedPrecondition ? " not asked" : " asked"));
    }
  });
  ASSERT_TRUE(id);
  ASSERT_TRUE(fleet->publish("orders/a", "go", {.retain = true}));
  ASSERT_TRUE(fleet->publish("orders/b", "stop"));
  EXPECT_EQ(done.get(), "orders/b written not asked");
  fleet->unsubscribe(*id);
  ASSERT_TRUE(fleet->publish("orders/c", "ignored"));
  EXPECT_EQ(fleet->publish("orders/#", "x").error().code, Code::kInvalidArgument);
}

TEST_F(Library, who_subscribes_late_gets_as_many_retained_messages_as_the_topic_keeps_and_then_each_new_one_once) {
  auto fleet = open();
  ASSERT_TRUE(fleet) << fleet.error().message;
  const Publish kept{.retain = true, .depth = 3};
  for (const char* order : {"1", "2", "3", "4"}) ASSERT_TRUE(fleet->publish("orders/a", order, kept));
  std::vector<std::string> heard;  // written on the loop, read after close() has joined it
  ASSERT_TRUE(fleet->subscribe("orders/#", [&heard](const Message& order) { heard.emplace_back(order.payload); }));
  for (const char* order : {"5", "6"}) ASSERT_TRUE(fleet->publish("orders/a", order, kept));
  EXPECT_EQ(fleet->publish("orders/a", "7", {.retain = true, .depth = 4}).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(fleet->publish("orders/a", "7", {.retain = true, .depth = 0}).error().code, Code::kInvalidArgument);
  ASSERT_TRUE(fleet->close());
  EXPECT_EQ(heard, (std::vector<std::string>{"2", "3", "4", "5", "6"}));
}

TEST_F(Library, a_log_keeps_its_newest_entries_and_is_erased_as_a_whole) {
  auto fleet = open();
  ASSERT_TRUE(fleet) << fleet.error().message;
  for (const char* entry : {"1", "2", "3"}) ASSERT_TRUE(fleet->append("mission/log", entry, 2));
  const auto log = fleet->get("mission/log");
  ASSERT_TRUE(log);
  EXPECT_EQ(log->kind, Entry::Kind::kLog);
  EXPECT_EQ(log->values, (std::vector<std::string>{"2", "3"}));
  EXPECT_EQ(fleet->append("mission/log", "4", 9).error().code, Code::kFailedPrecondition);
  ASSERT_TRUE(fleet->erase("mission/log"));
  EXPECT_EQ(fleet->get("mission/log").error().code, Code::kNotFound);
  ASSERT_TRUE(fleet->append("mission/log", "5", 9));
  ASSERT_TRUE(fleet->set_multi("who", "a"));
  EXPECT_TRUE(fleet->erase("who"));
  ASSERT_TRUE(fleet->add("done", 1));
  EXPECT_EQ(fleet->erase("done").error().code, Code::kFailedPrecondition);
}

TEST_F(Library, a_filter_erases_a_whole_subtree) {
  auto fleet = open();
  ASSERT_TRUE(fleet) << fleet.error().message;
  ASSERT_TRUE(fleet->set("robot/7/pose", "1 2"));
  ASSERT_TRUE(fleet->insert("robot/7/tasks", "dig"));
  ASSERT_TRUE(fleet->set("robot/8/pose", "3 4"));
  ASSERT_TRUE(fleet->erase("robot/7/#"));
  EXPECT_EQ(fleet->get("robot/7/pose").error().code, Code::kNotFound);
  EXPECT_TRUE(fleet->get("robot/7/tasks")->values.empty());
  EXPECT_TRUE(fleet->get("robot/8/pose"));
  EXPECT_EQ(fleet->erase("robot/9/#").error().code, Code::kNotFound);
}

TEST_F(Library, who_is_out_of_a_two_phase_set_stays_out) {
  auto fleet = open();
  ASSERT_TRUE(fleet) << fleet.error().message;
  ASSERT_TRUE(fleet->insert_2p("struck", "a"));
  ASSERT_TRUE(fleet->insert_2p("struck", "b"));
  ASSERT_TRUE(fleet->remove_2p("struck", "a"));
  EXPECT_EQ(fleet->insert_2p("struck", "a").error().code, Code::kFailedPrecondition);
  EXPECT_EQ(fleet->insert("struck", "c").error().code, Code::kFailedPrecondition) << "it is no other set";
  EXPECT_EQ(fleet->get("struck")->kind, Entry::Kind::k2PSet);
  EXPECT_EQ(fleet->get("struck")->values, std::vector<std::string>{"b"});
}

TEST_F(Library, a_tensor_is_read_as_it_was_put_and_its_watch_is_called) {
  auto fleet = open();
  ASSERT_TRUE(fleet) << fleet.error().message;
  EXPECT_EQ(fleet->get_tensor("models/m").error().code, Code::kNotFound);
  std::atomic<int> told = 0;
  ASSERT_TRUE(fleet->watch("models/#", [&told](std::string_view, const std::optional<Entry>&) { ++told; }));
  std::string model(200'000, 'a');
  for (std::size_t i = 0; i < model.size(); ++i) model[i] = static_cast<char>(i * i % 251);
  ASSERT_TRUE(fleet->put_tensor("models/m", model));
  EXPECT_EQ(fleet->get_tensor("models/m"), model);
  model[100'000] = '!';
  ASSERT_TRUE(fleet->put_tensor("models/m", model));
  EXPECT_EQ(fleet->get_tensor("models/m"), model);
  ASSERT_TRUE(fleet->put_tensor("models/empty", ""));
  EXPECT_EQ(fleet->get_tensor("models/empty"), "");
  ASSERT_TRUE(fleet->erase("models/m"));
  EXPECT_EQ(fleet->get_tensor("models/m").error().code, Code::kNotFound);
  ASSERT_TRUE(fleet->close());
  EXPECT_GE(told, 4);
}

TEST_F(Library, a_watch_gives_what_is_there_and_then_what_changes) {
  auto fleet = open();
  ASSERT_TRUE(fleet) << fleet.error().message;
  ASSERT_TRUE(fleet->set("field/north", "dry"));
  std::vector<std::string> seen;  // written on the loop, read after close() has joined it
  ASSERT_TRUE(fleet->watch("field/+", [&seen](std::string_view path, const std::optional<Entry>& entry) {
    seen.push_back(std::string(path) + " " + (entry ? entry->values.front() : "erased"));
  }));
  ASSERT_TRUE(fleet->set("field/north", "wet"));
  ASSERT_TRUE(fleet->erase("field/north"));
  ASSERT_TRUE(fleet->close());
  EXPECT_EQ(seen, (std::vector<std::string>{"field/north dry", "field/north wet", "field/north erased"}));
}

TEST_F(Library, a_question_that_nobody_can_answer_is_an_error_or_its_fallback) {
  auto fleet = open();
  ASSERT_TRUE(fleet) << fleet.error().message;
  EXPECT_EQ(fleet->ask({.model = "heron", .prompt = "hi"}).error().code, Code::kNotFound);
  EXPECT_EQ(fleet->ask({.model = "heron", .deadline = std::chrono::milliseconds(0)}).error().code,
            Code::kInvalidArgument);
  const auto answer = fleet->ask({.model = "heron", .prompt = "hi", .fallback = "hold"});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->text, "hold");
  EXPECT_TRUE(answer->fallback);
  EXPECT_FALSE(answer->deadline_met);
  EXPECT_EQ(fleet->await_model("heron", std::chrono::milliseconds(1)).error().code, Code::kDeadlineExceeded);
}

TEST_F(Library, members_are_at_least_ourselves) {
  auto fleet = open();
  ASSERT_TRUE(fleet) << fleet.error().message;
  const auto members = fleet->members();
  ASSERT_TRUE(members);
  ASSERT_EQ(members->size(), 1u);
  EXPECT_TRUE(members->front().self);
  EXPECT_EQ(members->front().id, fleet->id());
}

TEST_F(Library, calls_after_and_during_a_close_are_refused_and_never_hang) {
  auto fleet = open();
  ASSERT_TRUE(fleet) << fleet.error().message;
  std::atomic<int> written = 0;
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      while (fleet->add("count", 1)) ++written;
    });
  }
  while (written < 20) std::this_thread::yield();
  EXPECT_TRUE(fleet->close());
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(fleet->set("a", "b").error().code, Code::kUnavailable);
  int told = 0;
  EXPECT_FALSE(fleet->start({.model = "m"}, {}, [&told](const Result<Answer>& answer) { told += answer ? 100 : 1; }));
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(fleet->close()) << "twice is once";
}

}  // namespace
}  // namespace sedge::robot
