// Robots that track one target together. Each sees it along one direction only, so alone it could never tell where the
// target is; by averages over the fleet all have nearly the estimate of one robot that has every measurement.
//   kalman track HOME ROBOT ROBOTS STEPS SEED [INVITATION]   is one of them, and prints a line a step
//   kalman check SEED FILE...                                compares what they printed with a central filter
//
// There is no sensor here: the target's path and the noise of the measurements are drawn from SEED, alike in each
// program, and the target waits for the slowest robot. Nodes, links and averages are real.
//
// A step: each robot measures, all average what they measured (kalman.h), each corrects its own filter by mean × count.
// Then they meet: each writes what it estimates and of how many robots it heard, waits for the others, and takes over
// the estimate of one who heard of more, or is further. So who was late, or was restarted, is back after a step, and
// who is gone is waited for once.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <numbers>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kalman.h"
#include "sedge/sedge.h"
#include "sedge/typed.h"

using namespace std::chrono_literals;
namespace robot = sedge::robot;
using kalman::Estimate;
using kalman::Information;
using kalman::Vector;

constexpr char kUsage[] =
    "usage: kalman track HOME ROBOT ROBOTS STEPS SEED [INVITATION]\n"
    "       kalman check SEED FILE...\n"
    "track: is robot ROBOT (1, 2, ...) of ROBOTS (at most 32), for STEPS (at most 1000) of a target drawn from SEED;\n"
    "the invitation also from $SEDGE_INVITATION, only needed the first time.\n"
    "check: reads what each robot printed. Succeeds if each one's error, over the second half of the steps, is at\n"
    "most 1.25 times that of a filter with all measurements, and less than that of a filter with its own.\n"
    "Example, beside a node that is up:\n"
    "  kalman track rover1 1 2 10 7 \"$(sedge fleet invite --name robot-1)\" > 1.txt &\n"
    "  kalman track rover2 2 2 10 7 \"$(sedge fleet invite --name robot-2)\" > 2.txt; wait\n"
    "  kalman check 7 1.txt 2.txt\n";

constexpr auto kWindow = 2s;     // of an averaging, and so the time between two measurements
constexpr auto kPatience = 30s;  // with who does not come to a meeting
constexpr unsigned kRobotsMax = 32, kStepsMax = 1000;

constexpr double kOfCentral = 1.25;  // `check`: at most so many times its error, and less than alone

// To print as to read.
constexpr char kMeasuredLine[] = "measured step %u robot %u heading %lf sigma %lf z %lf\n";
constexpr char kEstimateLine[] = "estimate step %u robot %u heard %u at %lf %lf speed %lf %lf\n";

constexpr double kPlaceSigma = 30, kSpeedSigma = 2;  // of the target at the start, in m and m/s: all that is known
constexpr double kAcceleration = 0.05;               // its intensity, in m²/s³
const kalman::Motion kMotion = kalman::motion(std::chrono::duration<double>(kWindow).count(), kAcceleration);

Estimate before_all() {
  Estimate out;
  for (std::size_t i = 0; i < kalman::kStates; ++i) {
    const double sigma = i < 2 ? kPlaceSigma : kSpeedSigma;
    out.covariance[i][i] = sigma * sigma;
  }
  return out;
}

int complain(const std::string& message) {
  std::fprintf(stderr, "kalman: %s\n", message.c_str());
  return 1;
}

// --- what stands for a target and sensors ---

// Of variance 1, alike on every machine, as std::normal_distribution is not: twelve uniform numbers, less their mean.
double normal(std::mt19937_64& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += static_cast<double>(random() >> 11) * 0x1.0p-53;
  return sum;
}

// Where the target is at each step, [0, steps].
std::vector<Vector> path_of_target(unsigned seed, unsigned steps) {
  std::mt19937_64 random(seed);
  const double dt = kMotion.step[0][2];
  const double jolt_sigma = std::sqrt(kAcceleration / dt);  // a constant acceleration in each step
  std::vector<Vector> path{{normal(random) * kPlaceSigma, normal(random) * kPlaceSigma, normal(random) * kSpeedSigma,
                            normal(random) * kSpeedSigma}};
  while (path.size() <= steps) {
    Vector next = kalman::predict({path.back(), {}}, kMotion).mean;
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const double acceleration = normal(random) * jolt_sigma;
      next[axis] += acceleration * dt * dt / 2;
      next[axis + 2] += acceleration * dt;
    }
    path.push_back(next);
  }
  return path;
}

// The place of the target along `heading`, counted from the origin.
struct Measurement {
  double heading_rad = 0;
  double sigma_m = 1;
  double z_m = 0;
  Information information() const {
    return kalman::information_of({std::cos(heading_rad), std::sin(heading_rad), 0, 0}, z_m, sigma_m * sigma_m);
  }
};

Measurement measure(unsigned number, unsigned robots, unsigned step, unsigned seed, const Vector& target) {
  std::seed_seq noise_of{seed, number, step};
  std::mt19937_64 random(noise_of);
  Measurement out;
  out.heading_rad = 0.2 + std::numbers::pi * (number - 1) / robots;  // all ways round
  out.sigma_m = 1 + 0.5 * number;                                    // the first sees best
  out.z_m =
      std::cos(out.heading_rad) * target[0] + std::sin(out.heading_rad) * target[1] + normal(random) * out.sigma_m;
  return out;
}

// --- together, by averages ---

struct Heard {
  Information information;
  std::uint32_t robots = 1;
};

// Places are measured, and no speeds: of the information five numbers are not zero. An averaging takes its window, so
// the five are under way at once. None, and stderr says why: they did not all come to an end with the same robots.
std::optional<Heard> average(robot::Fleet& fleet, const std::string& topic, const Information& own) {
  struct Number {
    const char* name;
    double own;
    double& sum;
  };
  Heard out;
  Information& sum = out.information;
  const std::array<Number, 5> numbers{{{"/xx", own.matrix[0][0], sum.matrix[0][0]},
                                       {"/xy", own.matrix[0][1], sum.matrix[0][1]},
                                       {"/yy", own.matrix[1][1], sum.matrix[1][1]},
                                       {"/x", own.vector[0], sum.vector[0]},
                                       {"/y", own.vector[1], sum.vector[1]}}};
  std::vector<std::future<robot::Result<robot::Average>>> asked;
  for (const Number& each : numbers) {
    asked.push_back(std::async(std::launch::async, [&fleet, name = topic + each.name, value = each.own] {
      return fleet.average(name, value, kWindow);
    }));
  }
  std::optional<std::uint64_t> robots;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto told = asked[i].get();
    if (!told) return complain(told.error().message), std::nullopt;
    if (robots.value_or(told->count) != told->count) return complain(topic + ": some were late"), std::nullopt;
    robots = told->count;
    numbers[i].sum = told->sum;
  }
  sum.matrix[1][0] = sum.matrix[0][1];
  out.robots = static_cast<std::uint32_t>(*robots);
  return out;
}

// What a robot writes at a meeting.
struct Standing {
  std::uint32_t step = 0;   // done
  std::uint32_t heard = 0;  // of so many robots, in that step
  Vector mean{};
  kalman::Matrix covariance{};
  template <class V>
  void fields(V& visit) {
    visit("step", step);
    visit("heard", heard);
    visit("mean", mean);
    visit("covariance", covariance);
  }
};

bool further(const Standing& a, const Standing& b) { return std::pair{a.step, a.heard} > std::pair{b.step, b.heard}; }

// Where the robots stand, as this one knows: told on the loop, awaited on the program's thread.
class Team {
 public:
  explicit Team(unsigned robots) : standings_(robots), awaited_(robots, true) {}

  void tell(std::size_t index, const Standing& standing) {
    const std::lock_guard lock(mutex_);
    standings_[index] = standing;
    changed_.notify_all();
  }

  // Until all have done this step, or for kPatience; who is not there then is not waited for until it has caught up.
  // Returns the standing of who is furthest.
  Standing meet(const Standing& mine) {
    std::unique_lock lock(mutex_);
    const auto here = [&](std::size_t i) { return standings_[i] && standings_[i]->step >= mine.step; };
    changed_.wait_for(lock, kPatience, [&] {
      for (std::size_t i = 0; i < awaited_.size(); ++i) {
        if (awaited_[i] && !here(i)) return false;
      }
      return true;
    });
    Standing furthest = mine;
    for (std::size_t i = 0; i < awaited_.size(); ++i) {
      awaited_[i] = here(i);
      if (awaited_[i] && further(*standings_[i], furthest)) furthest = *standings_[i];
    }
    return furthest;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::optional<Standing>> standings_;
  std::vector<bool> awaited_;
};

struct Mission {
  unsigned number = 1;  // this robot
  unsigned robots = 1;
  unsigned steps = 0;
  unsigned seed = 0;
  std::string path() const { return "track/" + std::to_string(seed); }
  robot::Register<Standing> standing(robot::Fleet& fleet, unsigned of) const {
    return {fleet, path() + "/robot/" + std::to_string(of)};
  }
};

Standing track_step(robot::Fleet& fleet, const Mission& mission, const Vector& target, const Standing& before) {
  const unsigned step = before.step + 1;
  const Measurement measured = measure(mission.number, mission.robots, step, mission.seed, target);
  std::printf(kMeasuredLine, step, mission.number, measured.heading_rad, measured.sigma_m, measured.z_m);
  const Heard alone{measured.information(), 1};
  const Heard heard =
      average(fleet, mission.path() + "/step/" + std::to_string(step), alone.information).value_or(alone);
  const Estimate predicted = kalman::predict({before.mean, before.covariance}, kMotion);
  const Estimate now = correct(predicted, heard.information).value_or(predicted);
  return {step, heard.robots, now.mean, now.covariance};
}

// `team` is told by callbacks: it outlives the fleet.
int track(robot::Fleet& fleet, Team& team, const Mission& mission) {
  for (unsigned of = 1; of <= mission.robots; ++of) {
    const auto watched = mission.standing(fleet, of).watch([&team, of](const std::optional<Standing>& standing) {
      if (standing) team.tell(of - 1, *standing);
    });
    if (!watched) return complain(watched.error().message);
  }
  const auto standing_of_mine = mission.standing(fleet, mission.number);
  const Estimate first = before_all();
  Standing standing = standing_of_mine.get().value_or(Standing{0, 0, first.mean, first.covariance});
  const std::vector<Vector> target = path_of_target(mission.seed, mission.steps);
  while (true) {
    if (const auto written = standing_of_mine.set(standing); !written) return complain(written.error().message);
    const Standing furthest = team.meet(standing);
    const bool sound = kalman::correct({furthest.mean, furthest.covariance}, {}).has_value();
    if (sound) standing = furthest;  // whoever wrote it
    std::printf(kEstimateLine, standing.step, mission.number, standing.heard, standing.mean[0], standing.mean[1],
                standing.mean[2], standing.mean[3]);
    if (standing.step >= mission.steps) return 0;
    standing = track_step(fleet, mission, target[standing.step + 1], standing);
  }
}

// --- against one filter that knows all ---

using Track = std::map<unsigned, Vector>;           // by step
using Knowledge = std::map<unsigned, Information>;  // likewise

// What a robot printed.
struct Diary {
  unsigned robot = 0;
  Track estimates;
  Knowledge own;
};

std::optional<Diary> read_diary(const std::string& name) {
  Diary out;
  std::ifstream file(name);
  for (std::string line; std::getline(file, line);) {
    unsigned step = 0, heard = 0;
    Measurement m;
    Vector mean{};
    if (std::sscanf(line.c_str(), kMeasuredLine, &step, &out.robot, &m.heading_rad, &m.sigma_m, &m.z_m) == 5) {
      out.own[step] = m.information();
    }
    if (std::sscanf(line.c_str(), kEstimateLine, &step, &out.robot, &heard, &mean[0], &mean[1], &mean[2], &mean[3]) ==
        7) {
      out.estimates[step] = mean;
    }
    if (step > kStepsMax) return std::nullopt;
  }
  if (out.estimates.empty()) return std::nullopt;
  return out;
}

Track filtered(const Knowledge& knowledge, unsigned steps) {
  Track out;
  Estimate estimate = before_all();
  for (unsigned step = 1; step <= steps; ++step) {
    estimate = predict(estimate, kMotion);
    if (const auto by = knowledge.find(step); by != knowledge.end()) {
      estimate = correct(estimate, by->second).value_or(estimate);
    }
    out[step] = estimate.mean;
  }
  return out;
}

// Of the place, over the second half: in the first the filters find the target.
double rms_error(const Track& track, const std::vector<Vector>& target) {
  double sum = 0;
  unsigned count = 0;
  for (auto at = track.lower_bound(static_cast<unsigned>(target.size() / 2)); at != track.end(); ++at, ++count) {
    const auto& [step, mean] = *at;
    sum += std::pow(mean[0] - target[step][0], 2) + std::pow(mean[1] - target[step][1], 2);
  }
  return std::sqrt(sum / count);
}

int check(unsigned seed, const std::vector<std::string>& files) {
  std::vector<Diary> diaries;
  Knowledge all;
  unsigned steps = 0;
  for (const std::string& name : files) {
    const auto diary = read_diary(name);
    if (!diary) return complain("'" + name + "' is not what `kalman track` printed");
    for (const auto& [step, told] : diary->own) all[step] = all[step] + told;
    steps = std::max(steps, diary->estimates.rbegin()->first);
    diaries.push_back(*diary);
  }
  const std::vector<Vector> target = path_of_target(seed, steps);
  const double central = rms_error(filtered(all, steps), target);
  bool good = true;
  for (const Diary& each : diaries) {
    const double error = rms_error(each.estimates, target), alone = rms_error(filtered(each.own, steps), target);
    const bool at_end = each.estimates.contains(steps);
    std::printf("robot %u: error %.3f m, central %.3f m, alone %.3f m%s\n", each.robot, error, central, alone,
                at_end ? "" : "; it did not come to the end");
    good = good && at_end && error <= kOfCentral * central && error < alone;
  }
  return good ? 0
              : complain(
                    "not each robot came to the end with an error of at most 1.25 times the central filter's, and less "
                    "than alone");
}

// --- main ---

int usage() { return std::fputs(kUsage, stderr), 2; }

int track_from(char** words, int count) {
  const auto number = [&](int i) { return static_cast<unsigned>(std::strtoul(words[i], nullptr, 10)); };
  const Mission mission{.number = number(3), .robots = number(4), .steps = number(5), .seed = number(6)};
  if (mission.robots > kRobotsMax || mission.number < 1 || mission.number > mission.robots) return usage();
  if (mission.steps < 1 || mission.steps > kStepsMax) return usage();
  const char* invitation = count > 7 ? words[7] : std::getenv("SEDGE_INVITATION");
  Team team(mission.robots);
  auto fleet = robot::Fleet::open({.home = words[2],
                                   .invitation = invitation != nullptr ? invitation : "",
                                   .name = "robot-" + std::to_string(mission.number)});
  if (!fleet) return complain(fleet.error().message);
  const int result = track(*fleet, team, mission);
  const auto closed = fleet->close();
  return result != 0 || closed ? result : complain(closed.error().message);
}

int main(int argc, char** argv) {
  (void)std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // line by line, into a file as well
  const std::string_view role = argc > 1 ? argv[1] : "";
  if (role == "--help") return std::fputs(kUsage, stdout), 0;
  if (role == "track" && argc >= 7) return track_from(argv, argc);
  if (role == "check" && argc >= 4) {
    return check(static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)), {argv + 3, argv + argc});
  }
  return usage();
}
