#include "apps/command.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <unistd.h>

namespace sedge::apps {

CLI::App* Commands::add(CLI::App& parent, const std::string& name, const std::string& help,
                        const std::string& example) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->footer("Example:\n  " + example);
  return command;
}

void Commands::on(CLI::App* command, Action action) {
  command->callback([this, action = std::move(action)] { chosen_ = action; });
}

int Commands::run() {
  if (!chosen_) {
    std::fputs(root_.help().c_str(), stdout);
    return 2;
  }
  const Status status = chosen_();
  if (status) return 0;
  std::fprintf(stderr, "sedge: %s\n", status.error().message.c_str());
  return status.error().code == Code::kInvalidArgument ? 2 : 1;
}

bool on_terminal() { return isatty(STDERR_FILENO) == 1; }

double parse_ms(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const std::string unit(end);
  const double scale = unit == "ms" ? 1 : unit == "s" ? 1000 : 0;
  return value > 0 && value * scale < 1e9 ? value * scale : 0;
}

std::string check_ms(const std::string& text) { return parse_ms(text) > 0 ? "" : "write it as 300ms or 2s"; }

std::string default_home() {
  if (const char* home = std::getenv("SEDGE_HOME"); home != nullptr && *home != 0) return home;
  const char* user = std::getenv("HOME");
  return std::string(user != nullptr ? user : "/root") + "/.local/share/sedge";
}

}  // namespace sedge::apps
