#include "trust/rotation.h"

#include <gtest/gtest.h>

#include "trust/testing.h"
#include "wire/codec.h"

namespace sedge::trust {
namespace {

using testing::Fleet;

TEST(Rotation, is_the_former_key_s_word_for_one_successor_and_one_last_write) {
  Fleet fleet(3);
  const auto rover = fleet.enrol("rover"), drone = fleet.enrol("drone");
  const PublicKey next = KeyPair::generate(fleet.source).public_key;
  const Cut last{{4}, {17}};
  const Rotation rotation = sign_rotation(rover.keys.secret, next, last);
  EXPECT_EQ(rotation.former, rover.id);
  EXPECT_TRUE(check_rotation(rover.keys.public_key, next, rotation));

  EXPECT_FALSE(check_rotation(rover.keys.public_key, drone.keys.public_key, rotation)) << "who overheard it";
  const Status other = check_rotation(drone.keys.public_key, next, rotation);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find(rover.id.short_hex()), std::string::npos) << "it names who asks";
  EXPECT_NE(other.error().message.find(drone.id.short_hex()), std::string::npos) << "and whom it is for";
  Rotation later = rotation;
  later.last.sequence = {18};
  EXPECT_FALSE(check_rotation(rover.keys.public_key, next, later));
  Rotation forged = sign_rotation(drone.keys.secret, next, last);
  forged.former = rover.id;
  EXPECT_FALSE(check_rotation(rover.keys.public_key, next, forged)) << "an invitation alone is not enough";
}

TEST(Rotation, its_messages_and_records_come_back_as_they_were) {
  Fleet fleet(4);
  const auto rover = fleet.enrol("rover");
  const auto next = KeyPair::generate(fleet.source);
  const RotationRequest request{{7, next.public_key, "rover", {}},
                                sign_rotation(rover.keys.secret, next.public_key, {{1}, {2}})};
  EXPECT_EQ(wire::decode<RotationRequest>(wire::encode(request)).value(), request);
  for (const auto& successor : {std::optional<PublicKey>(), std::optional(next.public_key)}) {
    const Replacement replacement{rover.chain, successor, {{1}, {2}}};
    EXPECT_EQ(wire::decode<Replacement>(wire::encode(replacement)).value(), replacement);
  }
  for (const std::uint64_t serial : {std::uint64_t{1}, std::uint64_t{258}, Replacement::kOwnSerials}) {
    EXPECT_EQ(replacement_serial(replacement_key(serial)).value(), serial);
  }
  EXPECT_EQ(replacement_serial(Buffer(7)).error().code, Code::kDataLoss);
}

}  // namespace
}  // namespace sedge::trust
