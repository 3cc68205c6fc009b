// The one binary. Each row of the table is a command and lives in its own file.
#include <cstdio>
#include <exception>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "apps/command.h"

namespace {

using AddCommand = void (*)(sedge::apps::Commands&);

constexpr AddCommand kCommands[] = {
    sedge::apps::add_model, sedge::apps::add_run,   sedge::apps::add_eval,   sedge::apps::add_sim,
    sedge::apps::add_train, sedge::apps::add_fleet, sedge::apps::add_up,     sedge::apps::add_status,
    sedge::apps::add_state, sedge::apps::add_audit, sedge::apps::add_tensor, sedge::apps::add_embed,
};

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("Sedge turns a group of devices into one system that thinks together, with no cloud.", "sedge");
  app.set_version_flag("--version", "sedge " SEDGE_VERSION);
  app.footer("Example:\n  sedge run models/heron/heron.gguf \"scout two, hold position\" --local");
  app.require_subcommand(0, 1);
  sedge::apps::Commands commands(app);
  for (const AddCommand add : kCommands) add(commands);
  CLI11_PARSE(app, argc, argv);
  return commands.run();
} catch (const std::exception& error) {  // no memory, most likely: ours are Results
  std::fprintf(stderr, "sedge: %s\n", error.what());
  return 1;
}
