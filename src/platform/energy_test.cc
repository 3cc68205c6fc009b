#include "platform/energy.h"

#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "platform/system.h"
#include "support/temp_folder.h"

namespace sedge::platform {
namespace {

namespace fs = std::filesystem;

// A folder like the kernel's.
class EnergyTest : public testing::Test {
 protected:
  void write(const std::string& file, const std::string& text) {
    fs::create_directories((sys_ / file).parent_path());
    std::ofstream(sys_ / file) << text << "\n";
  }
  void add_zone(const std::string& zone, const std::string& name, std::uint64_t uj) {
    write("class/powercap/" + zone + "/name", name);
    write("class/powercap/" + zone + "/max_energy_range_uj", "262143328850");
    set(zone, uj);
  }
  void set(const std::string& zone, std::uint64_t uj) {
    write("class/powercap/" + zone + "/energy_uj", std::to_string(uj));
  }
  void add_battery(const std::string& status, const std::string& gauge, const std::string& value) {
    write("class/power_supply/BAT0/type", "Battery");
    write("class/power_supply/BAT0/status", status);
    write("class/power_supply/BAT0/" + gauge, value);
  }

  test::TempFolder folder_;
  const fs::path& sys_ = folder_.path();
  Instant now_{1s};
};

TEST_F(EnergyTest, of_all_packages_and_none_of_their_parts) {
  add_zone("intel-rapl:0", "package-0", 1'000'000);
  add_zone("intel-rapl:0:0", "core", 500'000);
  add_zone("intel-rapl:0:1", "dram", 500'000);
  add_zone("intel-rapl:1", "package-1", 7'000'000);
  EnergyMeter meter(sys_, now_);
  EXPECT_EQ(meter.look(now_).joules, 0.0);
  set("intel-rapl:0", 3'500'000), set("intel-rapl:1", 8'000'000), set("intel-rapl:0:0", 2'000'000);
  const Energy energy = meter.look(now_ + 1s);
  EXPECT_EQ(source_name(energy.source), "rapl");
  EXPECT_NEAR(*energy.joules, 3.5, 1e-9);
  EXPECT_NEAR(*meter.look(now_ + 2s).joules, 3.5, 1e-9);
}

TEST_F(EnergyTest, a_counter_that_begins_again_loses_nothing) {
  add_zone("intel-rapl:0", "package-0", 262'143'000'000);
  EnergyMeter meter(sys_, now_);
  set("intel-rapl:0", 1'671'150);
  EXPECT_NEAR(*meter.look(now_ + 1s).joules, 2.0, 1e-9);
}

TEST_F(EnergyTest, a_battery_counts_while_it_discharges) {
  add_battery("Discharging", "power_now", "8000000");
  EnergyMeter meter(sys_, now_);
  EXPECT_NEAR(*meter.look(now_ += 10s).joules, 80, 1e-9);
  write("class/power_supply/BAT0/power_now", "12000000");
  EXPECT_NEAR(*meter.look(now_ += 1s).joules, 90, 1e-9) << "from one look to the next";
  write("class/power_supply/BAT0/status", "Charging");
  EXPECT_NEAR(*meter.look(now_ += 1s).joules, 90, 1e-9);
  write("class/power_supply/BAT0/status", "Discharging");
  EXPECT_NEAR(*meter.look(now_ += 1s).joules, 90, 1e-9) << "nobody knows when it was unplugged";
  const Energy energy = meter.look(now_ += 1s);
  EXPECT_NEAR(*energy.joules, 102, 1e-9);
  EXPECT_EQ(source_name(energy.source), "battery");
}

TEST_F(EnergyTest, of_a_battery_that_tells_current_and_voltage) {
  add_battery("Discharging", "current_now", "1500000");
  write("class/power_supply/BAT0/voltage_now", "4000000");
  EnergyMeter meter(sys_, now_);
  EXPECT_NEAR(*meter.look(now_ + 2s).joules, 12, 1e-9);
}

TEST_F(EnergyTest, what_is_not_the_machines_battery_or_may_not_be_read_leaves_cpu_time) {
  add_battery("Discharging", "power_now", "100");
  write("class/power_supply/BAT0/scope", "Device");
  write("class/power_supply/AC/type", "Mains");
  write("class/powercap/intel-rapl:0/name", "package-0");  // its counter is not to be read
  EnergyMeter meter(sys_, now_);
  volatile double sum = 0;
  for (const Instant until = now() + 20ms; now() < until;) sum = sum + 1;
  const Energy energy = meter.look(now_ + 1s);
  EXPECT_FALSE(energy.joules);
  EXPECT_GT(energy.cpu_s, 0.0);
  EXPECT_EQ(source_name(energy.source), "cpu-time estimate");
  EXPECT_FALSE(EnergyMeter(sys_ / "nothing", now_).look(now_).joules);
}

}  // namespace
}  // namespace sedge::platform
