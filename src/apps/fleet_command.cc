// sedge fleet create | invite | join | revoke | rotate-node | rotate-issuer | retire-issuer | force-quorum: who
// belongs to the fleet, by which key, and who decides when most voters are lost.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/App.hpp>

#include "apps/command.h"
#include "apps/control_client.h"
#include "platform/file_storage.h"
#include "platform/home.h"
#include "platform/join_client.h"
#include "platform/rotation.h"
#include "platform/system.h"

namespace sedge::apps {
namespace {

struct FleetOptions {
  std::string home = default_home();
  std::string name;
  std::string root_key;  // where the root's key goes
  std::string subject;   // invitation, or node
  std::string replace;   // the member that an invitation is for
  std::vector<std::string> seeds;
  std::vector<std::string> grants;
  std::vector<std::string> survivors;  // voters of a forced quorum
  bool leave_behind = false;           // members of a retired issuer
  double patience_s = 30;
  bool json = false;
};

std::uint64_t serial_now() { return static_cast<std::uint64_t>(platform::wall_seconds()) * 1'000'000; }

Status refuse_second_life(const std::filesystem::path& home) {
  if (!platform::has_home_file(home, trust::HomeFile::kNodeCertificate)) return {};
  return fail(Code::kAlreadyExists,
              "{} belongs to a fleet already: name another folder with --home or SEDGE_HOME, or remove this one",
              home.string());
}

void print(const FleetOptions& options, const json::Object& object, const std::string& people) {
  if (options.json)
    fmt::print("{}\n", json::write(object));
  else
    fmt::print("{}\n", people);
}

// Root -> issuer -> node, all made here; the root's key then belongs somewhere else.
Status create(const FleetOptions& options) {
  const std::filesystem::path home = options.home;
  SEDGE_CHECK(refuse_second_life(home));
  const std::string name = options.name.empty() ? platform::host_name() : options.name;
  if (!trust::valid_name(name))
    return fail(Code::kInvalidArgument, "'{}' is no name: 1 to 64 printable characters", name);
  SEDGE_CHECK(platform::make_home(home));
  platform::SystemEntropy entropy;
  const auto root = trust::KeyPair::generate(entropy);
  const auto issuer_key = trust::KeyPair::generate(entropy);
  const auto node_key = trust::KeyPair::generate(entropy);

  trust::Certificate issuer;
  issuer.fleet = trust::fingerprint(root.public_key);
  issuer.role = trust::Role::kIssuer;
  issuer.subject = issuer_key.public_key;
  issuer.name = name + "/issuer";
  issuer.grants = trust::Grants::of_an_issuer();
  issuer.serial = serial_now();
  trust::sign_certificate(issuer, root.secret);
  trust::Certificate node = issuer;
  node.role = trust::Role::kNode;
  node.subject = node_key.public_key;
  node.name = name;
  node.grants = trust::Grants::of_a_node();
  trust::sign_certificate(node, issuer_key.secret);
  const trust::CertificateChain chain{issuer, node};
  SEDGE_CHECK(trust::verify_chain(root.public_key, chain));
  trust::FleetSecret fleet_secret{};
  entropy.fill(fleet_secret);

  using trust::HomeFile;
  const std::filesystem::path root_path = options.root_key.empty() ? home / trust::home_file(HomeFile::kRootKey).name
                                                                   : std::filesystem::path(options.root_key);
  SEDGE_CHECK(platform::write_file_atomically(root_path, as_bytes(trust::encode_key(HomeFile::kRootKey, root.secret))));
  SEDGE_CHECK(platform::write_home_file(home, HomeFile::kFleetRoot, trust::encode_root(root.public_key)));
  SEDGE_CHECK(platform::write_home_file(home, HomeFile::kFleetSecret, trust::encode_fleet_secret(fleet_secret)));
  SEDGE_CHECK(platform::write_home_file(home, HomeFile::kIssuerKey,
                                        trust::encode_key(HomeFile::kIssuerKey, issuer_key.secret)));
  SEDGE_CHECK(platform::write_home_file(home, HomeFile::kIssuerCertificate, trust::encode_issuer_certificate(issuer)));
  SEDGE_CHECK(
      platform::write_home_file(home, HomeFile::kNodeKey, trust::encode_key(HomeFile::kNodeKey, node_key.secret)));
  // The certificate comes last: a home without one belongs to no fleet, so a crash on the way leaves nothing half made.
  SEDGE_CHECK(platform::write_home_file(home, HomeFile::kNodeCertificate, trust::encode_node_certificate(chain)));
  const std::string id = trust::node_id_of(node_key.public_key).hex();
  print(options, {{"fleet", to_hex(issuer.fleet)}, {"node", id}, {"name", name}, {"root_key", root_path.string()}},
        fmt::format("fleet {} created; this machine is its first node, '{}', and may invite others\n"
                    "the root key is {}: move it to a stick and lock it away; daily work does not need it\n"
                    "next: sedge up, then sedge fleet invite",
                    to_hex(issuer.fleet).substr(0, 16), name, root_path.string()));
  return {};
}

Status invite(const FleetOptions& options) {
  json::Object request{{"op", "invite"}, {"name", options.name}};
  if (!options.grants.empty()) request["grants"] = json::Array(options.grants.begin(), options.grants.end());
  if (!options.replace.empty()) request["replace"] = options.replace;
  SEDGE_TRY(const json::Object answer, ask_once(options.home, request));
  SEDGE_TRY(const std::string text, json::get_string(answer, "invitation"));
  print(options, answer, text);
  if (!options.json && on_terminal()) {
    if (options.replace.empty())
      fmt::print(stderr, "good for one machine, once: sedge fleet join {}...\n", text.substr(0, 16));
    else
      fmt::print(stderr, "on {}, with its node stopped: sedge fleet rotate-node {}...\n", options.replace,
                 text.substr(0, 16));
  }
  return {};
}

Status join(const FleetOptions& options) {
  const std::filesystem::path home = options.home;
  SEDGE_CHECK(refuse_second_life(home));
  SEDGE_TRY(const trust::Invitation invitation, trust::parse_invitation(options.subject));
  const auto patience = Duration(static_cast<std::int64_t>(options.patience_s * 1e9));
  SEDGE_TRY(const platform::Enrolment joined, platform::enrol(home, invitation, options.name, options.seeds, patience));
  const trust::CertificateChain& chain = joined.chain;
  std::string seeds;
  for (const std::string& seed : joined.seeds) seeds += " --seed " + seed;
  json::Array seed_list(joined.seeds.begin(), joined.seeds.end());
  print(options,
        {{"fleet", to_hex(chain.node.fleet)},
         {"node", trust::node_id_of(chain.node.subject).hex()},
         {"name", chain.node.name},
         {"seeds", seed_list}},
        fmt::format("joined fleet {} as '{}'\nnext: sedge up{}", to_hex(chain.node.fleet).substr(0, 16),
                    chain.node.name, seeds));
  return {};
}

Status rotate_node(const FleetOptions& options) {
  std::optional<trust::Invitation> invitation;
  if (!options.subject.empty()) {
    SEDGE_TRY(invitation, trust::parse_invitation(options.subject));
  }
  const auto patience = Duration(static_cast<std::int64_t>(options.patience_s * 1e9));
  SEDGE_TRY(const platform::Rotated rotated, platform::rotate_node(options.home, invitation, options.seeds, patience));
  const std::string id = trust::node_id_of(rotated.chain.node.subject).hex();
  print(options, {{"name", rotated.chain.node.name}, {"node", id}, {"former", rotated.former.hex()}},
        fmt::format("'{}' has a new key and is now {}; what it wrote as {} stays\n"
                    "next: sedge up, as before; {} is revoked when the issuer sees the new one",
                    rotated.chain.node.name, id.substr(0, 8), rotated.former.short_hex(), rotated.former.short_hex()));
  return {};
}

std::filesystem::path root_key_of(const FleetOptions& options) {
  if (!options.root_key.empty()) return options.root_key;
  return std::filesystem::path(options.home) / trust::home_file(trust::HomeFile::kRootKey).name;
}

Status rotate_issuer(const FleetOptions& options) {
  SEDGE_TRY(const platform::RotatedIssuer rotated, platform::rotate_issuer(options.home, root_key_of(options)));
  const std::string id = trust::node_id_of(rotated.issuer.subject).hex();
  print(options, {{"issuer", id}, {"former", rotated.former.hex()}},
        fmt::format("this machine lets others in with a new key, {}; invitations that are still open are void\n"
                    "next: sedge up; for each member `sedge fleet invite --replace NAME` and rotate-node there;\n"
                    "then sedge fleet retire-issuer, and nobody is let in by what {} signs any more",
                    id.substr(0, 8), rotated.former.short_hex()));
  return {};
}

struct Part {
  NodeId id;
  std::string name;
  bool alive = false;
  bool votes = false;
};

Result<std::vector<Part>> parts_in(const json::Object& report) {
  std::vector<Part> parts;
  for (const char* key : {"voters", "learners"}) {
    SEDGE_TRY(const json::Value* list, json::member(report, key));
    if (!list->is_array()) return fail(Code::kInternal, "the node's report has no list of {}", key);
    for (const json::Value& each : list->get_array()) {
      SEDGE_TRY(const json::Object* row, json::as_object(each, "a voter"));
      Part part;
      part.votes = key == std::string_view("voters");
      SEDGE_TRY(const std::string id, json::get_string(*row, "id"));
      SEDGE_TRY(const Buffer bytes, from_hex(id));
      SEDGE_TRY(part.id, id_from_bytes<NodeId>(bytes));
      SEDGE_TRY(part.name, json::get_string(*row, "name"));
      SEDGE_TRY(part.alive, json::get_bool(*row, "alive"));
      parts.push_back(std::move(part));
    }
  }
  return parts;
}

// Everybody who is left must be among them: whoever is not is made to forget what only it may have.
Result<std::vector<NodeId>> survivors_of(const std::vector<Part>& parts, const std::vector<std::string>& named,
                                         bool begun) {
  std::vector<NodeId> ids;
  for (const std::string& who : named) {
    const auto is = [&](const Part& part) {
      return part.name == who || (who.size() >= 8 && part.id.hex().starts_with(who));
    };
    const auto found = std::ranges::find_if(parts, is);
    if (found == parts.end()) {
      std::vector<std::string> names;
      for (const Part& part : parts) names.push_back(part.name.empty() ? part.id.hex() : part.name);
      return fail(Code::kNotFound, "'{}' is no voter or learner; those are {}", who, fmt::join(names, ", "));
    }
    if (!found->alive) return fail(Code::kFailedPrecondition, "'{}' is not alive, as this node sees it", who);
    ids.push_back(found->id);
  }
  std::size_t voters = 0, alive = 0;
  for (const Part& part : parts) {
    voters += part.votes ? 1 : 0;
    alive += part.votes && part.alive ? 1 : 0;
    if (part.alive && std::ranges::find(ids, part.id) == ids.end()) {
      return fail(Code::kFailedPrecondition, "'{}' is alive and may have what the others have not: name it, too",
                  part.name);
    }
  }
  // Until all whom the last order named have voted, a majority of them can do nothing.
  if (begun ? alive > voters / 2 : alive == voters) {
    return fail(Code::kFailedPrecondition, "{} of {} voters are alive, and no force is needed", alive, voters);
  }
  std::ranges::sort(ids);
  const auto twice = std::ranges::unique(ids);
  ids.erase(twice.begin(), twice.end());
  return ids;
}

Status force_quorum(const FleetOptions& options) {
  SEDGE_TRY(const json::Object report, ask_once(options.home, {{"op", "quorum"}}));
  SEDGE_TRY(const std::uint64_t group, json::get_uint(report, "group"));
  SEDGE_TRY(const std::uint64_t forced, json::get_uint(report, "forced"));
  SEDGE_TRY(const bool begun, json::get_bool(report, "begun"));
  if (group == 0) {
    return fail(Code::kFailedPrecondition, "this node is of no consensus group: run it on a voter that is left");
  }
  SEDGE_TRY(const std::vector<Part> parts, parts_in(report));
  SEDGE_TRY(std::vector<NodeId> voters, survivors_of(parts, options.survivors, begun));
  const std::size_t count = voters.size();
  wire::ForcedQuorum quorum{.number = forced + 1, .former = {group}, .group = {}, .voters = std::move(voters)};
  SEDGE_TRY(const Buffer order, platform::force_quorum(options.home, root_key_of(options), std::move(quorum)));
  const json::Object request{{"op", "force_quorum"}, {"order", to_base64url(order)}};
  SEDGE_CHECK(ask(options.home, request, [](const json::Object&) { return true; }));
  print(options, {{"forced", forced + 1}, {"voters", count}},
        fmt::format("{} voters go on without the others, once all of them are heard\n"
                    "next: sedge fleet revoke each one that is lost, so that none comes back unasked",
                    count));
  return {};
}

Status retire_issuer(const FleetOptions& options) {
  SEDGE_TRY(const trust::Revocation revocation, platform::retire_issuer(options.home, root_key_of(options)));
  const json::Object request{{"op", "retire_issuer"},
                             {"revocation", to_base64url(trust::encode_revocation(revocation))},
                             {"leave_behind", options.leave_behind}};
  SEDGE_CHECK(ask(options.home, request, [](const json::Object&) { return true; }));
  SEDGE_CHECK(platform::remove_home_file(options.home, trust::HomeFile::kFormerIssuerCertificate));
  print(
      options, {{"retired", revocation.subject.hex()}},
      fmt::format("issuer {} is retired: nobody is let in by what it signs any more", revocation.subject.short_hex()));
  return {};
}

Status revoke(const FleetOptions& options) {
  std::string whom;
  SEDGE_CHECK(ask(options.home, {{"op", "revoke"}, {"node", options.subject}}, [&whom](const json::Object& line) {
    if (line.contains("revoked")) whom = line.at("revoked").as_string();
    return true;
  }));
  print(options, {{"revoked", whom}}, fmt::format("{} is withdrawn; every node drops it as the word reaches it", whom));
  return {};
}

}  // namespace

void add_fleet(Commands& commands) {
  CLI::App* fleet = commands.add(commands.root(), "fleet", "Start a fleet, let machines in, put them out",
                                 "sedge fleet create --name gateway");
  fleet->require_subcommand(1);
  const auto subcommand = [&](const char* name, const char* help, const char* example,
                              Status (*run)(const FleetOptions&)) {
    auto options = std::make_shared<FleetOptions>();
    CLI::App* app = commands.add(*fleet, name, help, example);
    app->add_option("--home", options->home, "folder of the node's identity and state")->capture_default_str();
    app->add_flag("--json", options->json, "one JSON object");
    commands.on(app, [options, run] { return run(*options); });
    return std::pair(app, options);
  };
  const auto [create_app, create_options] = subcommand("create", "Start a fleet; this machine is its first node",
                                                       "sedge fleet create --name gateway", create);
  create_app->add_option("--name", create_options->name, "of this node; the host's name by default");
  create_app->add_option("--root-key", create_options->root_key, "file for the root key, such as one on a stick");
  const auto [invite_app, invite_options] =
      subcommand("invite", "Make a one-time invitation for one machine", "sedge fleet invite --name rover-7", invite);
  invite_app->add_option("--name", invite_options->name, "that the new node shall have; else it chooses");
  invite_app->add_option("--grant", invite_options->grants,
                         "such as pub:telemetry/#; several allowed; default: everything a node may do");
  invite_app->add_option("--replace", invite_options->replace,
                         "a member's name, or the beginning of its id: for its next key, with its name and grants "
                         "(see rotate-node)");
  const auto [join_app, join_options] =
      subcommand("join", "Join a fleet with an invitation", "sedge fleet join sedge1:... --name rover-7", join);
  join_app->add_option("invitation", join_options->subject, "the text that `sedge fleet invite` printed")->required();
  join_app->add_option("--name", join_options->name, "of this node; the host's name by default");
  join_app->add_option("--seed", join_options->seeds, "address of the issuer, instead of those in the invitation");
  join_app->add_option("--patience", join_options->patience_s, "seconds to keep trying")->capture_default_str();
  const auto [rotate_app, rotate_options] =
      subcommand("rotate-node", "Give this machine's node a new key, with its name, grants and state",
                 "sedge fleet rotate-node sedge1:...", rotate_node);
  rotate_app->add_option("invitation", rotate_options->subject,
                         "the text that `sedge fleet invite --replace NAME` printed; none where this home holds the "
                         "issuer's key");
  rotate_app->add_option("--seed", rotate_options->seeds, "address of the issuer, instead of those in the invitation");
  rotate_app->add_option("--patience", rotate_options->patience_s, "seconds to keep trying")->capture_default_str();
  const auto [issuer_app, issuer_options] =
      subcommand("rotate-issuer", "Give this machine a new key to let others in with, signed by the root",
                 "sedge fleet rotate-issuer --root-key /media/stick/root.key", rotate_issuer);
  issuer_app->add_option("--root-key", issuer_options->root_key,
                         "file of the root key; root.key in the home by default");
  const auto [retire_app, retire_options] =
      subcommand("retire-issuer", "Withdraw the issuer's key before the last rotate-issuer, everywhere",
                 "sedge fleet retire-issuer --root-key /media/stick/root.key", retire_issuer);
  retire_app->add_option("--root-key", retire_options->root_key,
                         "file of the root key; root.key in the home by default");
  retire_app->add_flag("--leave-behind", retire_options->leave_behind,
                       "though members have their certificates of it: they are put out");
  const auto [force_app, force_options] =
      subcommand("force-quorum", "Let the voters that are left go on, when most are lost for good",
                 "sedge fleet force-quorum rover-2 rover-5 --root-key /media/stick/root.key", force_quorum);
  force_app->add_option("survivors", force_options->survivors, "every voter and learner that is left, by name or id")
      ->required();
  force_app->add_option("--root-key", force_options->root_key, "file of the root key; root.key in the home by default");
  const auto [revoke_app, revoke_options] =
      subcommand("revoke", "Withdraw a node's certificate, everywhere", "sedge fleet revoke rover-7", revoke);
  revoke_app->add_option("node", revoke_options->subject, "its name, or the beginning of its id")->required();
}

}  // namespace sedge::apps
