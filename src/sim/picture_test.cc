#include "sim/picture.h"

#include <gtest/gtest.h>

namespace sedge::sim {
namespace {

TEST(Picture, is_one_file_with_a_chart_for_each_question_and_loads_nothing) {
  Scenario story = standard_story(4, 1, 20s).value();
  story.name = "four & <friends>";
  const auto report = play(story, {.chapter = {}, .pictures = true});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_GE(report->samples.size(), 20u);
  EXPECT_GT(report->samples.back().same_view, 0.99);
  EXPECT_FALSE(report->latencies_ms.empty());
  EXPECT_FALSE(report->links.empty());
  const std::string html = picture(story, *report);
  std::size_t charts = 0;
  for (std::size_t at = html.find("<svg"); at != std::string::npos; at = html.find("<svg", at + 1)) ++charts;
  EXPECT_EQ(charts, 5u);
  EXPECT_NE(html.find("four &amp; &lt;friends&gt;"), std::string::npos);
  EXPECT_NE(html.find("SIGKILL"), std::string::npos);
  for (const char* outside : {"http", "src=", "href=", "@import", "nan", "inf"}) {
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  }
}

// Taking samples is looking: the run is the same one.
TEST(Picture, does_not_change_the_run) {
  const Scenario story = standard_story(4, 3, 20s).value();
  EXPECT_EQ(play(story, {.chapter = {}, .pictures = true})->trace, play(story)->trace);
}

}  // namespace
}  // namespace sedge::sim
