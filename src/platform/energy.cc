#include "platform/energy.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <fstream>
#include <string>
#include <system_error>

namespace sedge::platform {
namespace {

namespace fs = std::filesystem;

std::optional<std::uint64_t> number_in(const fs::path& file) {
  std::ifstream text(file);
  std::uint64_t number = 0;
  return text >> number ? std::optional(number) : std::nullopt;
}

std::string word_in(const fs::path& file) {
  std::ifstream text(file);
  std::string word;
  text >> word;
  return word;
}

// In order of names. A folder that is not there has none.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(folder, missing)) entries.push_back(entry.path());
  std::ranges::sort(entries);
  return entries;
}

double cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Watts that a battery gives away now; 0 where it is charged, or does not say.
double draw_of(const fs::path& battery) {
  constexpr double kMicro = 1e-6;
  if (word_in(battery / "status") != "Discharging") return 0;
  if (const auto power = number_in(battery / "power_now")) return static_cast<double>(*power) * kMicro;
  const auto current = number_in(battery / "current_now");
  const auto voltage = number_in(battery / "voltage_now");
  return current && voltage ? static_cast<double>(*current) * kMicro * static_cast<double>(*voltage) * kMicro : 0;
}

}  // namespace

std::string_view source_name(EnergySource source) {
  switch (source) {
    case EnergySource::kPackages:
      return "rapl";
    case EnergySource::kBattery:
      return "battery";
    case EnergySource::kCpuTime:
      return "cpu-time estimate";
  }
  return "";
}

EnergyMeter::EnergyMeter(const fs::path& sys, Instant now) : cpu_begun_s_(cpu_seconds()), last_(now) {
  find_counters(sys);
  if (counters_.empty()) find_batteries(sys);
  last_draw_w_ = draw_w();
}

// Packages alone: "intel-rapl:0". Their parts (cores, memory: "intel-rapl:0:1") are in them or are not everywhere.
void EnergyMeter::find_counters(const fs::path& sys) {
  for (const fs::path& zone : entries_of(sys / "class/powercap")) {
    if (!word_in(zone / "name").starts_with("package")) continue;
    const auto energy = number_in(zone / "energy_uj");  // not everybody may read it
    const auto range = number_in(zone / "max_energy_range_uj");
    if (energy && range) counters_.push_back({zone / "energy_uj", *energy, *range});
  }
}

void EnergyMeter::find_batteries(const fs::path& sys) {
  for (const fs::path& supply : entries_of(sys / "class/power_supply")) {
    if (word_in(supply / "type") != "Battery" || word_in(supply / "scope") == "Device") continue;  // a mouse's
    const bool gauge = number_in(supply / "power_now") || number_in(supply / "current_now");
    if (gauge) batteries_.push_back(supply);
  }
}

double EnergyMeter::draw_w() const {
  double watts = 0;
  for (const fs::path& battery : batteries_) watts += draw_of(battery);
  return watts;
}

Energy EnergyMeter::look(Instant now) {
  constexpr double kMicro = 1e-6;
  for (Counter& counter : counters_) {
    const auto energy = number_in(counter.file);
    if (!energy) continue;
    const std::uint64_t used = *energy >= counter.last_uj
                                   ? *energy - counter.last_uj  // else it began again
                                   : counter.range_uj - std::min(counter.last_uj, counter.range_uj) + *energy;
    joules_ += static_cast<double>(used) * kMicro;
    counter.last_uj = *energy;
  }
  if (!batteries_.empty()) {
    const double draw = draw_w();
    if (draw > 0 && last_draw_w_ > 0) joules_ += (draw + last_draw_w_) / 2 * to_seconds(now - last_);
    last_draw_w_ = draw;
  }
  last_ = now;
  Energy energy{.cpu_s = cpu_seconds() - cpu_begun_s_};
  if (!counters_.empty()) energy.source = EnergySource::kPackages;
  if (!batteries_.empty()) energy.source = EnergySource::kBattery;
  if (energy.source != EnergySource::kCpuTime) energy.joules = joules_;
  return energy;
}

}  // namespace sedge::platform
