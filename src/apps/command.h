// How a command is made: one file a command, one row in main.cc's table. A command adds its options to the
// parser and names an action; main runs the action of the command the user chose and turns its Status into a
// message and an exit code, so that no command prints errors or exits by itself.
#pragma once

#include <functional>
#include <string>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "base/json.h"
#include "base/result.h"

namespace sedge::apps {

using Action = std::function<Status()>;

class Commands {
 public:
  explicit Commands(CLI::App& root) : root_(root) {}

  CLI::App& root() { return root_; }

  // Adds `name` under `parent` with its one-line help and an example that works as typed.
  CLI::App* add(CLI::App& parent, const std::string& name, const std::string& help, const std::string& example);

  // The action to run when `command` is what the user chose.
  void on(CLI::App* command, Action action);

  // Runs the chosen command. Returns the process's exit code.
  int run();

 private:
  CLI::App& root_;
  Action chosen_;
};

// What --long-context does, wherever it stands.
inline constexpr std::string_view kLongContextHelp =
    "a model that has other RoPE factors for longer texts (Phi-3 of 128k) uses them, for all texts";

// True when standard error is a terminal: progress is drawn only there.
bool on_terminal();

// Milliseconds in "300ms", "2s", "1.5s"; 0 when it is none of them. check_ms says so: "" or what a right one looks
// like.
double parse_ms(const std::string& text);
std::string check_ms(const std::string& text);

// $SEDGE_HOME, or ~/.local/share/sedge.
std::string default_home();

// Every command's registration; each lives in the file of its name.
void add_model(Commands& commands);   // model_command.cc: sedge model info|import|tokenize
void add_run(Commands& commands);     // run_command.cc
void add_eval(Commands& commands);    // eval_command.cc
void add_embed(Commands& commands);   // embed_command.cc
void add_fleet(Commands& commands);   // fleet_command.cc: sedge fleet create|invite|join|revoke
void add_up(Commands& commands);      // up_command.cc
void add_status(Commands& commands);  // status_command.cc
void add_audit(Commands& commands);   // audit_command.cc: sedge audit log|verify
void add_state(Commands& commands);   // state_command.cc: sedge set|get|watch|pub|sub|leader|average
void add_tensor(Commands& commands);  // tensor_command.cc: sedge tensor put|get|info
void add_sim(Commands& commands);     // sim_command.cc
void add_train(Commands& commands);   // train_command.cc: starts sedge-train

}  // namespace sedge::apps
