// A home that belongs to a fleet which was created for it, for tests that run a whole node; all of them are of one
// fleet. Gone with the object.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "platform/home.h"
#include "trust/home.h"
#include "trust/testing.h"

namespace sedge::api::testing {

class Home {
 public:
  // `issuer`: the node where the fleet was created, which may invite and founds the consensus group.
  // `place`: of this node among several that a test runs, from 0; keys come from it.
  explicit Home(const std::string& name = "rover", bool issuer = false, int place = 0) {
    using enum trust::HomeFile;
    trust::testing::Fleet fleet(7);
    for (int i = 0; i < place; ++i) (void)fleet.enrol("another");
    const auto member = fleet.enrol(name);
    std::vector<std::pair<trust::HomeFile, std::string>> files = {
        {kNodeKey, trust::encode_key(kNodeKey, member.keys.secret)},
        {kNodeCertificate, trust::encode_node_certificate(member.chain)},
        {kFleetRoot, trust::encode_root(fleet.root.public_key)},
        {kFleetSecret, trust::encode_fleet_secret(fleet.secret)},
    };
    if (issuer) {
      files.emplace_back(kIssuerKey, trust::encode_key(kIssuerKey, fleet.issuer.secret));
      files.emplace_back(kIssuerCertificate, trust::encode_issuer_certificate(member.chain.issuer));
    }
    char pattern[] = "/tmp/sedge-test-XXXXXX";  // short: a socket's path has at most 107 bytes
    path = ::mkdtemp(pattern);
    for (const auto& [file, text] : files) SEDGE_ASSERT(platform::write_home_file(path, file, text).has_value());
  }
  ~Home() { std::filesystem::remove_all(path); }
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;

  std::filesystem::path path;
};

}  // namespace sedge::api::testing
