#include "serve/forecast.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::serve {
namespace {

constexpr Instant kStart{};
constexpr ForecastOptions kFour{.workers = 1, .batch_max = 4, .stretch = 2, .margin = 1};

Rates measured() {
  Rates rates(1000, 100);
  for (int i = 0; i < 100; ++i) rates.stepped(4, 0.016);
  return rates;
}

TEST(Rates, what_was_not_measured_costs_no_less_than_what_was) {
  Rates rates(1000, 100);
  EXPECT_DOUBLE_EQ(rates.step_s(3), 0.03) << "nothing is known of batches";
  rates.stepped(4, 0.016);
  EXPECT_DOUBLE_EQ(rates.step_s(1), 0.01);
  EXPECT_DOUBLE_EQ(rates.step_s(3), 0.016) << "a step of four with an empty place";
  EXPECT_DOUBLE_EQ(rates.step_s(8), 0.032) << "twice a step of four";
}

TEST(Rates, a_step_never_costs_less_alone_nor_more_than_apart) {
  EXPECT_TRUE(rc::check([] {
    Rates rates(1000, 100);
    for (int i = *rc::gen::inRange(0, 30); i > 0; --i) {
      rates.stepped(*rc::gen::inRange<std::size_t>(0, 100), *rc::gen::inRange(1, 400) * 1e-4);
    }
    for (std::size_t n = 1; n < 70; ++n) {
      RC_ASSERT(rates.step_s(n) >= rates.step_s(1));
      RC_ASSERT(rates.step_s(n) <= rates.step_s(1) * static_cast<double>(n) * (1 + 1e-9));
    }
  }));
}

TEST(Forecast, texts_in_one_step_end_sooner_than_one_after_the_other) {
  const Rates rates = measured();
  const std::vector<Load> four(4, Load{.rates = &rates, .prompt_s = 0, .tokens = 100});
  for (const Outlook& each : forecast(four, kStart, kFour)) EXPECT_NEAR(to_ms(each.end - kStart), 1600, 1);
  const std::vector<Load> five(5, four[0]);
  EXPECT_NEAR(to_ms(forecast(five, kStart, kFour)[4].end - kStart), 2600, 1) << "the fifth waits for a place";
}

TEST(Forecast, a_prompt_stretches_the_others_steps_and_no_more) {
  const Rates rates = measured();
  const std::vector<Load> loads = {{.rates = &rates, .prompt_s = 0, .tokens = 100},
                                   {.rates = &rates, .prompt_s = 0.8, .tokens = 10}};
  const auto outlook = forecast(loads, kStart, kFour);
  EXPECT_NEAR(to_ms(outlook[1].first_token - kStart), 1600, 1) << "half of each step";
  EXPECT_NEAR(to_ms(outlook[0].end - kStart), 1600 + 160 + 100, 2) << "80 tokens meanwhile, 10 beside, 10 alone";
}

TEST(Forecast, a_model_waits_for_the_worker_another_one_has) {
  const Rates rates = measured(), other = measured();
  const std::vector<Load> loads = {{.rates = &rates, .tokens = 10}, {.rates = &other, .tokens = 10}};
  EXPECT_EQ(together(loads, kStart, kFour), (std::vector<std::size_t>{0}));
  EXPECT_NEAR(to_ms(forecast(loads, kStart, kFour)[1].end - kStart), 200, 1);
}

TEST(Forecast, two_models_on_two_workers_have_one_each) {
  const ForecastOptions two{.workers = 2, .batch_max = 4, .stretch = 2, .margin = 1};
  Rates rates = measured();
  for (int i = 0; i < 100; ++i) rates.stepped(2, 0.012);
  const Rates other = rates;
  std::vector<Load> loads(4, Load{.rates = &rates, .tokens = 100});
  EXPECT_NEAR(to_ms(forecast(loads, kStart, two)[3].end - kStart), 1200, 1) << "two a worker";
  loads.resize(8, Load{.rates = &other, .tokens = 100});
  for (const Outlook& each : forecast(loads, kStart, two)) EXPECT_NEAR(to_ms(each.end - kStart), 1600, 1);
  std::vector<Load> prompts = {{.rates = &rates, .prompt_s = 1}, {.rates = &rates, .prompt_s = 1}};
  prompts.push_back({.rates = &other, .prompt_s = 1});
  EXPECT_NEAR(to_ms(forecast(prompts, kStart, two)[1].first_token - kStart), 2000, 1) << "one reads the other model's";
}

TEST(Forecast, a_new_model_takes_no_worker_from_those_who_need_it) {
  const ForecastOptions two{.workers = 2, .batch_max = 4, .stretch = 2, .margin = 1};
  const Rates rates = measured(), other = measured();
  std::vector<Load> loads(2, Load{.rates = &rates, .tokens = 100, .deadline = kStart + 1050ms});
  loads.push_back({.rates = &other, .tokens = 100});
  EXPECT_EQ(together(loads, kStart, two), (std::vector<std::size_t>{0, 1})) << "1000 ms each alone, 1600 in one step";
  loads[0].deadline = loads[1].deadline = kStart + 1700ms;
  EXPECT_EQ(together(loads, kStart, two), (std::vector<std::size_t>{0, 1, 2}));
}

TEST(Forecast, everything_ends_and_company_makes_nobody_late_who_would_be_in_time_in_turn) {
  EXPECT_TRUE(rc::check([] {
    const Rates rates = measured();
    std::vector<Load> loads;
    Duration in_turn{};
    bool fits = true;
    for (int i = *rc::gen::inRange(1, 12); i > 0; --i) {
      Load load{.rates = &rates, .prompt_s = *rc::gen::inRange(0, 300) * 1e-3};
      load.tokens = *rc::gen::inRange(1, 100);
      in_turn += Duration(static_cast<std::int64_t>((load.prompt_s + load.tokens * 0.01) * 1e9));
      load.deadline = kStart + in_turn + std::chrono::milliseconds(*rc::gen::inRange(-20, 200));
      if (!loads.empty() && load.deadline < loads.back().deadline) continue;
      fits = fits && kStart + in_turn <= load.deadline;
      loads.push_back(load);
    }
    const auto outlook = forecast(loads, kStart, kFour);
    for (std::size_t i = 0; i < loads.size(); ++i) {
      RC_ASSERT(outlook[i].end != kNever);
      if (fits) RC_ASSERT(outlook[i].end <= loads[i].deadline + 1ms);
    }
  }));
}

}  // namespace
}  // namespace sedge::serve
