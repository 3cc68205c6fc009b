// What energy the work on this machine takes: what a token costs a battery.
//
// Three sources, the best that is there. The processor's own counters (RAPL, Intel and AMD): energy of its packages. A
// battery's gauge while it discharges: power, which is added up over time, so somebody has to look now and then. Both
// are of the whole machine, whatever runs on it. Without either there is CPU time of this process, which says how two
// ways of doing something compare, and no joules: what a busy core draws is nothing that software can know.
// Sources: the kernel's Documentation/power/powercap and Documentation/ABI/testing/sysfs-class-power.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace sedge::platform {

enum class EnergySource : std::uint8_t { kPackages, kBattery, kCpuTime };
std::string_view source_name(EnergySource source);  // "rapl", "battery", "cpu-time estimate"

struct Energy {
  EnergySource source = EnergySource::kCpuTime;
  std::optional<double> joules;  // of the machine, since the meter was made; none: only CPU time is known
  double cpu_s = 0;              // of this process and all its threads, since then
};

class EnergyMeter {
 public:
  // `sys`: where the kernel shows its devices.
  EnergyMeter(const std::filesystem::path& sys, Instant now);

  // Counters start again after an hour or so of full load, and a battery's power counts from one look to the next: look
  // every few seconds. A battery that is being charged says nothing of what is used: that time is left out.
  Energy look(Instant now);

 private:
  struct Counter {
    std::filesystem::path file;
    std::uint64_t last_uj = 0;
    std::uint64_t range_uj = 0;
  };
  void find_counters(const std::filesystem::path& sys);
  void find_batteries(const std::filesystem::path& sys);
  double draw_w() const;

  std::vector<Counter> counters_;
  std::vector<std::filesystem::path> batteries_;
  double joules_ = 0;
  double cpu_begun_s_;
  Instant last_;
  double last_draw_w_ = 0;
};

}  // namespace sedge::platform
