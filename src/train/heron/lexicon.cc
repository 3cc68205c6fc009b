// Word lists are single strings cut at '|' so that they can be read and extended without ceremony.
#include "train/heron/lexicon.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/assert.h"

namespace sedge::train::heron {
namespace {

using Words = std::vector<std::string_view>;

Words words(std::string_view text) {
  Words list;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('|', begin), text.size());
    list.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return list;
}

std::string pick(const Words& list, Prng& prng) { return std::string(list[prng.below(list.size())]); }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string capital(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

// ---------------------------------------------------------------------------------------------- names of our own

const Words kOnset = words("b|br|c|ch|d|dr|f|fl|g|gr|h|j|k|kr|l|m|n|p|pr|qu|r|s|sh|sk|sl|st|t|th|tr|v|w|y|z|||");
const Words kVowel = words("a|a|e|e|i|o|o|u|ae|ai|ea|ee|ia|ie|oa|oo|ou|y");
const Words kCoda = words("|||b|ck|d|g|ght|k|l|ll|m|n|n|nd|ng|nt|p|r|r|rd|rk|rn|rt|s|sk|ss|st|t|th|v|x|z");

std::string coined(Prng& prng) {
  std::string name;
  const std::uint64_t syllables = 2 + (prng.chance(0.3) ? 1 : 0);
  for (std::uint64_t i = 0; i < syllables; ++i) {
    name += pick(kOnset, prng) + pick(kVowel, prng);
    if (i + 1 == syllables || prng.chance(0.35)) name += pick(kCoda, prng);
  }
  return name;
}

const Words kPeople = words(
    "anna|ben|carla|david|elena|farid|grace|hugo|ines|jonas|karim|lena|marco|nadia|oscar|petra|quentin|rosa|samir|tina|"
    "ursula|victor|wanda|xavier|yusuf|zoe|alice|bob|charlotte|daniel|emma|felix|george|hannah|ivan|julia|kevin|laura|"
    "michael|nina|oliver|paula|rachel|simon|theo|uma|vera|william|yara|adam|bianca|chloe|dimitri|eva|frank|gina|henry|"
    "irene|jack|kate|leo|maria|noah|olga|peter|ruth|sofia|tom|ahmed|amara|andre|aisha|boris|diego|fatima|hiro|ingrid|"
    "james|jamie|jordan|kofi|liam|lucas|mei|miguel|morgan|omar|priya|rafael|robin|sara|taylor|tracy|alex|yuki|zara|"
    "hayden|peyton|sam|max|mia|john|mary|joe|lucy|nick|helen|stefan|greta|pablo|chen|raj|abdul|sven|erik|astrid");
const Words kRoles = words(
    "operator|commander|doctor|medic|mechanic|engineer|foreman|farmer|driver|guard|nurse|pilot|chief|captain|manager|"
    "technician|warden|visitor|supervisor|cook|sergeant|boss|ranger|patient|guest|inspector|surveyor|shepherd");
const Words kPosts = words(
    "control|base|command|dispatch|ops|headquarters|mission control|the operator|the control room|"
    "the ground station|the tower|the gateway|the command post|the office|the crew|everyone");

// ------------------------------------------------------------------------------------------------------- places

const Words kSide = words(
    "north|south|east|west|northern|southern|eastern|western|upper|lower|old|new|main|back|front|"
    "rear|left|right|far|near|inner|outer|big|small|long|central|second|first|third|northeast|"
    "southwest|northwest|southeast|top|bottom|middle|narrow|abandoned|burnt|flooded|red|blue|"
    "green|white|grey|black|yellow|steel|wooden|stone|public|spare|cold|dry");
const Words kPlace = words(
    "field|barn|silo|yard|gate|fence|orchard|vineyard|greenhouse|pasture|meadow|paddock|stable|shed|well|pond|lake|"
    "river|creek|stream|bridge|dam|canal|ditch|ford|road|track|path|trail|crossroads|junction|car park|parking lot|"
    "warehouse|depot|hangar|dock|pier|harbour|jetty|quay|platform|loading bay|ramp|runway|apron|helipad|landing pad|"
    "pad|tower|mast|antenna|substation|pump house|pumping station|power station|generator|tank farm|refinery|quarry|"
    "mine|pit|shaft|tunnel|cave|hill|ridge|summit|valley|slope|cliff|canyon|plateau|forest|wood|clearing|tree line|"
    "grove|swamp|marsh|beach|dune|island|shore|cove|bay|camp|village|town square|market|church|school|hospital|"
    "clinic|station|house|farmhouse|cottage|cabin|office|workshop|garage|garden|courtyard|roof|rooftop|basement|"
    "cellar|attic|lobby|hall|hallway|corridor|kitchen|bathroom|bedroom|living room|dining room|laundry room|pantry|"
    "balcony|terrace|porch|entrance|exit|front door|back door|elevator|stairs|staircase|lab|laboratory|storeroom|"
    "storage room|server room|control room|meeting room|canteen|reception|checkpoint|perimeter|border|wall|east wing|"
    "airfield|stadium|playground|park|pool|fire station|water tower|solar farm|wind farm|rail yard|scrapyard|landfill|"
    "test site|drop zone|staging area|assembly point|rally point|charging station|charging "
    "dock|dump|nursery|plantation|"
    "beehives|compost heap|feed store|cattle shed|milking parlour|chicken coop|grain store|weather station|"
    "lookout|lighthouse|boathouse|breakwater|reservoir|spillway|culvert|embankment|levee|crash site|excavation|trench|"
    "kitchen table|dining table|coffee table|desk|bed|sofa|couch|armchair|shelf|bookshelf|counter|sink|fridge|freezer|"
    "cupboard|cabinet|drawer|wardrobe|nightstand|side table|table|bench|rack|bin|conveyor|workbench|stove|microwave|"
    "dishwasher|washing machine|bar|fireplace|window|shower|toilet|bathtub|dresser|chair|pallet|container|trolley");
const Words kNumbered = words(
    "gate|sector|zone|waypoint|point|bay|dock|pad|row|field|block|lane|building|hangar|room|"
    "checkpoint|station|section|plot|area|floor|platform|pier|warehouse|aisle|site|tank|well|"
    "post|marker|landing pad|charging "
    "dock|rack|shelf|door|pen|tunnel|shaft|runway|cell|camp|house|village|tower|yard|lot|table|bench|barn|field|"
    "bridge");
const Words kProperKind = words(
    "farm|field|hill|ridge|bridge|lake|creek|forest|valley|point|house|station|road|street|"
    "square|park|mine|quarry|harbour|island|bay|woods|castle|dam|village|camp|tower|plaza");
const Words kPart = words(
    "edge|end|corner|side|north end|south end|east side|west side|north side|south side|foot|top|"
    "far end|far side|middle|centre|north edge|south edge|back|front|entrance|mouth|left side|"
    "right side|north corner|south corner|end|start|bottom");
const Words kNear = words(
    "behind|near|next to|in front of|beside|under|above|opposite|outside|beyond|around|"
    "by|close to|past|between");
const Words kNato = words(
    "alpha|bravo|charlie|delta|echo|foxtrot|golf|hotel|india|juliett|kilo|lima|mike|november|oscar|"
    "papa|quebec|romeo|sierra|tango|uniform|victor|whiskey|xray|yankee|zulu");
const Words kCompass = words("north|south|east|west|northeast|northwest|southeast|southwest");
const Words kOwnDirection = words("forward|back|left|right|ahead");

// ------------------------------------------------------------------------------------------------------- things

const Words kAdjective = words(
    "red|blue|green|yellow|white|black|orange|grey|brown|small|big|large|broken|empty|full|"
    "heavy|wooden|metal|plastic|spare|old|new|damaged|wet|cold|hot|loose|rusty|first|second|"
    "tall|long|short|round|missing|lost|injured|abandoned|parked|overturned|burning|leaking|"
    "unknown|suspicious|silver|purple|pink|clean|dirty|open|frozen|stray|fallen");
const Words kThing = words(
    "apple|axe|backpack|bag|ball|banana|barrel|basket|battery|blanket|bolt|book|bottle|bowl|box|brush|bucket|cable|"
    "camera|can|canister|cap|car|cart|chain|clamp|cloth|coat|cone|container|crate|cup|dish|drill|drone|drum|engine|"
    "envelope|extinguisher|fan|file|filter|first aid kit|flag|flare|flashlight|folder|fork|fuel can|fuse|generator|"
    "glass|glove|grinder|hammer|hard hat|harness|hat|helmet|hose|jacket|jar|jug|kettle|key|keys|kit|knife|ladder|lamp|"
    "laptop|letter|lever|light|magazine|map|mask|medicine|meter|mirror|mop|motor|mug|nail|napkin|net|newspaper|"
    "notebook|"
    "oil can|orange|package|paddle|paint|pallet|pan|paper|parcel|part|pear|pen|phone|pick|pillow|pipe|plank|plate|"
    "pliers|pole|pot|pump|radio|rag|rake|ratchet|relay|remote|rock|rope|sack|sandwich|sample|saw|scarf|scissors|screw|"
    "screwdriver|seal|sensor|sheet|shirt|shoe|shovel|sign|soap|socket|spade|spanner|sponge|spoon|stake|stone|strap|"
    "stretcher|suitcase|switch|tape|tarp|tent|thermometer|tile|tire|tool|toolbox|torch|towel|tray|tripod|truck|tube|"
    "umbrella|vacuum|valve|vest|wallet|water|water bottle|wheel|wire|wrench|coffee|tea|milk|juice|cereal|bread|cheese|"
    "soup|cookies|chips|toothpaste|shampoo|medical kit|drip bag|blood sample|test sample|tow bar|winch|jack|tractor|"
    "trailer|van|pickup|boat|bus|bicycle|motorbike|forklift|excavator|crane|convoy|ambulance|fire truck|tanker");
const Words kSight = words(
    "smoke|fire|flames|a fire|people|someone|anyone|a person|survivors|a survivor|a leak|leaks|damage|cracks|a crack|"
    "an intruder|intruders|movement|a vehicle|vehicles|animals|a deer|deer|cattle|sheep|wolves|a dog|a child|children|"
    "a boat|a drone|weeds|pests|flooding|ice|a landslide|debris|oil|an oil spill|gas|steam|hot spots|a hot spot|sparks|"
    "footprints|tracks|wreckage|casualties|a body|victims|hikers|a hiker|swimmers|a swimmer|lights|a light|a flare|"
    "obstacles|an obstacle|a fallen tree|mould|rust|thieves|trespassers|birds|a gap|holes|mines|a mine|a car|cars|"
    "trucks|a truck|strangers|the target|a signal|poachers|wild boar|a nest|dry spots|standing water|broken glass|"
    "workers|tourists|a broken fence|an open gate|anything strange|anything unusual|anything suspicious|trouble");
const Words kPlural = words(
    "people|boxes|crates|bottles|bags|cups|chairs|cars|trucks|trees|cows|sheep|barrels|pallets|"
    "parcels|tents|boats|sensors|batteries|tools|plates|apples|books|men|women|children|workers|"
    "visitors|animals|vehicles|survivors|cones|stakes|samples|blankets|helmets|spoons|glasses|"
    "drinks|snacks|fruits|containers|toys|packages|panels|hives|horses|pigs|goats|cables|"
    "doors|windows|lamps|guests|persons|machines|seedlings|rows|rocks|holes|shelves|bins");
const Words kDevice = words(
    "light|lights|floodlight|camera|thermal camera|beacon|siren|radio|fan|pump|sprayer|heater|"
    "engine|motor|strobe|searchlight|headlights|recorder|lidar|gimbal|winch|horn|generator|"
    "sprinkler|music|tv|lamp|navigation lights|landing light|speaker|microphone|transponder|"
    "conveyor|spotlight|alarm|mower|cutter|vacuum|night vision|autopilot|data link|air conditioning");
const Words kDoor = words(
    "door|gate|hatch|window|valve|front door|back door|gripper|garage door|entrance door|exit door|"
    "cargo door|curtain|lid|drawer|fridge|barrier|main valve|water valve|hangar door|vent|blinds|"
    "cupboard|cabinet|cargo bay|sluice|trapdoor|shutter|tailgate|claw|corridor door|fuel valve");
const Words kStatus = words(
    "status|position|location|battery|battery level|altitude|speed|heading|progress|temperature|"
    "fuel|load|signal strength|findings|eta|condition|health|payload|coordinates|range|wind speed|"
    "distance|sensor readings|damage|results|link quality|humidity|water level|pressure|mode");
const Words kMarkAs = words(
    "blocked|clear|dangerous|safe|done|searched|damaged|dry|flooded|empty|occupied|closed|open|hot|"
    "contaminated|unsafe|checked|off limits|priority|a hazard|a landing site|a landing zone|"
    "no go|impassable|a rally point|ready|infected|harvested|cleared|burnt|free");

// ------------------------------------------------------------------------------------------------------- agents

const Words kClass = words(
    "scout|scout|scout|drone|drone|rover|rover|hawk|crane|mule|hauler|carrier|digger|sprayer|tug|"
    "raven|eagle|falcon|unit|robot|bot|ranger|runner|truck|loader|lifter|tender|medic|guard|"
    "watcher|courier|harvester|tractor|quad|copter|flyer|boat|skiff|diver|crawler|walker|dog|"
    "lynx|bear|heron|swift|wasp|beetle|ant|spider|owl|viper|picker|porter|sentry|mapper|"
    "relay|camera|surveyor|pathfinder|kestrel|goose|otter|badger|mower|seeder|helper|cart");
const Words kEveryone = words(
    "everyone|everybody|all units|all of you|all robots|the robots|all agents|all the robots|whole team|the whole team|"
    "everyone|all stations|the fleet|the whole fleet|you all|the entire fleet|every robot|"
    "every unit|all hands|all");
const Words kColour = words(
    "red|blue|green|yellow|white|black|gold|silver|orange|purple|alpha|bravo|charlie|delta|echo|"
    "north|south|east|west|one|two|three");
const Words kTeam = words("team|team|team|squad|group|section|crew");

const std::array<std::string_view, 20> kUnits = {
    "zero", "one",    "two",    "three",    "four",     "five",    "six",     "seven",     "eight",    "nine",
    "ten",  "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
const std::array<std::string_view, 10> kTens = {"",      "",      "twenty",  "thirty", "forty",
                                                "fifty", "sixty", "seventy", "eighty", "ninety"};

std::string number_words(std::uint64_t n, Prng& prng) {
  if (n < 20) return std::string(kUnits[n]);
  if (n < 100) {
    const std::string tens(kTens[n / 10]);
    if (n % 10 == 0) return tens;
    return fmt::format("{}{}{}", tens, prng.chance(0.25) ? "-" : " ", kUnits[n % 10]);
  }
  const bool thousand = n >= 1000;
  const std::uint64_t big = thousand ? 1000 : 100;
  std::string head = n / big == 1 && prng.chance(0.4) ? "a" : number_words(n / big, prng);
  head += thousand ? " thousand" : " hundred";
  if (n % big == 0) return head;
  const bool joined = n % big < 100 && prng.chance(0.6);
  return fmt::format("{} {}{}", head, joined ? "and " : "", number_words(n % big, prng));
}

// Radio style: "two seven zero".
std::string digit_words(std::string_view digits) {
  std::string out;
  for (const char c : digits) {
    if (!out.empty()) out += ' ';
    out += kUnits[static_cast<std::size_t>(c - '0')];
  }
  return out;
}

std::string number_spoken(std::uint64_t n, Prng& prng) {
  return prng.chance(0.45) ? fmt::format("{}", n) : number_words(n, prng);
}

// ------------------------------------------------------------------------------------------------------ quantities

struct Unit {
  std::string_view canon;
  Words one, many, written;  // "metre", "metres", "m"
  std::vector<std::uint32_t> usual;
  int weight;
};

const std::vector<std::uint32_t> kTensSteps = {5, 10, 12, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 75, 80, 90};
const std::vector<std::uint32_t> kHundreds = {100, 110, 120, 125, 150, 180, 200, 220,
                                              250, 300, 350, 400, 500, 600, 800};
const std::vector<std::uint32_t> kSmall = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15};

std::vector<std::uint32_t> joined(std::vector<std::uint32_t> a, const std::vector<std::uint32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const std::vector<Unit> kLengths = {
    {"m", words("metre|meter"), words("metres|meters"), words("m| m| m|mtrs"), joined(kTensSteps, kHundreds), 14},
    {"km", words("kilometre|kilometer|k|klick"), words("kilometres|kilometers|k|klicks"), words("km| km"), kSmall, 3},
    {"ft", words("foot"), words("feet"), words("ft| ft"), joined(kTensSteps, kHundreds), 2},
    {"cm", words("centimetre|centimeter"), words("centimetres|centimeters"), words("cm| cm"), kTensSteps, 1},
    {"mi", words("mile"), words("miles"), words("mi| mi"), kSmall, 1},
};
const std::vector<Unit> kSpeeds = {
    {"m/s", words("metre per second|meter per second|metre a second"),
     words("metres per second|meters per second|metres a second|meters a second"), words("m/s| m/s"), kSmall, 8},
    {"km/h", words("kilometre per hour|kilometer per hour|k p h"),
     words("kilometres per hour|kilometers per hour|kilometres an hour|k p h|kph|kilometers an hour"),
     words("km/h| km/h|kph| kph"), joined(kSmall, kTensSteps), 4},
    {"kn", words("knot"), words("knots"), words("kn| kn| kts"), joined(kSmall, kTensSteps), 2},
    {"mph", words("mile per hour"), words("miles per hour|miles an hour"), words("mph| mph"), kTensSteps, 1},
};
const std::vector<Unit> kDurations = {
    {"s", words("second|sec"), words("seconds|secs"), words("s| s| sec"), kTensSteps, 5},
    {"min", words("minute|min"), words("minutes|mins"), words("min| min| mins"), joined(kSmall, kTensSteps), 9},
    {"h", words("hour"), words("hours"), words("h| h| hrs| hr"), kSmall, 3},
};

const Unit& pick_unit(const std::vector<Unit>& units, Prng& prng) {
  int total = 0;
  for (const Unit& unit : units) total += unit.weight;
  auto left = static_cast<int>(prng.below(static_cast<std::uint64_t>(total)));
  for (const Unit& unit : units) {
    left -= unit.weight;
    if (left < 0) return unit;
  }
  return units.front();
}

// "half a kilometre", "an hour and a half", "two and a half minutes", "1.5 km", "one point five kilometres"
Phrase fraction(const Unit& unit, Prng& prng) {
  const std::uint64_t whole = prng.below(4);
  const std::string one = pick(unit.one, prng);
  const std::string many = pick(unit.many, prng);
  const std::string article = one == "hour" ? "an" : "a";
  const std::string canon = fmt::format("{}.5 {}", whole, unit.canon);
  switch (prng.below(3)) {
    case 0:
      if (whole == 0) return {fmt::format("half {} {}", article, one), canon};
      if (whole == 1 && unit.canon == "h") return {"an hour and a half", canon};
      return {fmt::format("{} and a half {}", number_words(whole, prng), many), canon};
    case 1:
      return {fmt::format("{}.5{}", whole, pick(unit.written, prng)), canon};
    default:
      break;
  }
  const std::uint64_t tenth = 1 + prng.below(9);
  const std::string value = fmt::format("{}.{}", whole, tenth);
  const std::string spoken = prng.chance(0.5) ? fmt::format("{} {}", value, many)
                                              : fmt::format("{} point {} {}", kUnits[whole], kUnits[tenth], many);
  return {spoken, fmt::format("{} {}", value, unit.canon)};
}

Phrase quantity(const std::vector<Unit>& units, Prng& prng) {
  const Unit& unit = pick_unit(units, prng);
  const bool fractions = unit.canon != "ft" && unit.canon != "cm" && unit.canon != "s";
  if (fractions && prng.chance(unit.canon == "m" ? 0.05 : 0.22)) return fraction(unit, prng);
  std::uint64_t n = unit.usual[prng.below(unit.usual.size())];
  if (prng.chance(0.3)) n = 1 + prng.below(prng.chance(0.2) ? 1500 : 99);
  const std::string canon = fmt::format("{} {}", n, unit.canon);
  if (prng.chance(0.28)) return {fmt::format("{}{}", n, pick(unit.written, prng)), canon};
  if (n == 1)
    return {fmt::format("{} {}", prng.chance(0.5) && unit.canon != "h" ? "a" : "one", pick(unit.one, prng)), canon};
  return {fmt::format("{} {}", number_spoken(n, prng), pick(unit.many, prng)), canon};
}

Phrase percent(Prng& prng) {
  const std::uint64_t n = prng.chance(0.7) ? 5 * (1 + prng.below(20)) : 1 + prng.below(99);
  static const Words suffix = words("%| %| percent| percent| per cent");
  const std::string canon = fmt::format("{}%", n);
  if (prng.chance(0.45)) return {fmt::format("{}{}", n, pick(suffix, prng)), canon};
  return {fmt::format("{} {}", number_words(n, prng), prng.chance(0.8) ? "percent" : "per cent"), canon};
}

Phrase angle(Prng& prng) {
  const std::uint64_t n = prng.chance(0.6) ? 10 * prng.below(36) : prng.below(360);
  const std::string canon = fmt::format("{} deg", n);
  static const Words suffix = words("| degrees|degrees| deg");
  switch (prng.below(3)) {
    case 0:
      return {fmt::format("{}{}", n, prng.chance(0.6) ? " degrees" : ""), canon};
    case 1:
      return {number_words(n, prng) + (prng.chance(0.6) ? " degrees" : ""), canon};
    default:
      return {digit_words(fmt::format("{}", n)) + (prng.chance(0.4) ? " degrees" : ""), canon};
  }
}

Phrase clock(Prng& prng) {
  static const Words named =
      words("noon=12:00|midday=12:00|midnight=00:00|sunrise=sunrise|sunset=sunset|dawn=dawn|dusk=dusk");
  if (prng.chance(0.3)) {
    const std::string row = pick(named, prng);
    const std::size_t cut = row.find('=');
    return {row.substr(0, cut), row.substr(cut + 1)};
  }
  const std::uint64_t hour = prng.below(24);
  const std::uint64_t minute = prng.chance(0.6) ? 15 * prng.below(4) : prng.below(60);
  const std::string canon = fmt::format("{:02}:{:02}", hour, minute);
  switch (prng.below(5)) {
    case 0:
      return {fmt::format("{}:{:02}", hour, minute), canon};
    case 1:
      return {canon, canon};
    case 2:
      return {fmt::format("{:02}{:02}{}", hour, minute, prng.chance(0.4) ? " hours" : ""), canon};
    case 3:
      if (minute >= 10) return {fmt::format("{} {}", number_words(hour, prng), number_words(minute, prng)), canon};
      [[fallthrough]];
    default:
      break;
  }
  static const Words am = words("am| am");
  static const Words pm = words("pm| pm");
  const std::uint64_t twelve = hour % 12 == 0 ? 12 : hour % 12;
  const std::string suffix = hour < 12 ? pick(am, prng) : pick(pm, prng);
  return {fmt::format("{}{}", twelve, suffix), fmt::format("{:02}:00", hour)};
}

Phrase count(Prng& prng) {
  const std::uint64_t n = 2 + prng.below(prng.chance(0.8) ? 9 : 23);
  return {number_spoken(n, prng), fmt::format("{}", n)};
}

// ------------------------------------------------------------------------------------------------- making phrases

Phrase bare(std::string text) { return {text, lower(text)}; }

Phrase with_article(Phrase phrase, Prng& prng, double chance = 0.9) {
  if (prng.chance(chance)) phrase.spoken = "the " + phrase.spoken;
  return phrase;
}

Phrase numbered(const Words& kinds, Prng& prng) {
  const std::string kind = pick(kinds, prng);
  const std::uint64_t n = prng.chance(0.8) ? 1 + prng.below(12) : 1 + prng.below(99);
  if (prng.chance(0.12)) {
    const std::string letter = pick(kNato, prng);
    return {fmt::format("{} {}", kind, letter), fmt::format("{} {}", kind, letter)};
  }
  return {fmt::format("{} {}", kind, number_spoken(n, prng)), fmt::format("{} {}", kind, n)};
}

Phrase grid(Prng& prng) {
  const std::string letter = pick(kNato, prng);
  const std::uint64_t n = 1 + prng.below(prng.chance(0.7) ? 12 : 99);
  const std::string canon = fmt::format("grid {}{}", letter[0], n);
  const std::string figure = fmt::format("{}", n);
  switch (prng.below(3)) {
    case 0:
      return {fmt::format("grid {}{}", letter[0], n), canon};
    case 1:
      return {fmt::format("grid {} {}", letter[0], number_spoken(n, prng)), canon};
    default:
      return {fmt::format("grid {} {}", letter, n < 20 ? number_spoken(n, prng) : figure), canon};
  }
}

std::string some_name(Prng& prng) {
  return capital(prng.chance(0.6) ? coined(prng) : pick(prng.chance(0.5) ? kPeople : kClass, prng));
}

// A place without a preposition, as the object of "sweep" or "patrol".
Phrase plain_place(Prng& prng) {
  switch (prng.below(20)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      return with_article(bare(pick(kSide, prng) + " " + pick(kPlace, prng)), prng, 0.93);
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
      return with_article(bare(pick(kPlace, prng)), prng, 0.93);
    case 10:
    case 11:
    case 12:
      return numbered(kNumbered, prng);
    case 13:
      return grid(prng);
    case 14:
      return bare(some_name(prng) + " " + pick(kProperKind, prng));
    case 15:
      return bare(some_name(prng) + " " + pick(kProperKind, prng));
    case 16:
      return bare(capital(coined(prng)));
    case 17:
      return with_article(bare(capital(coined(prng)) + " " + pick(kPlace, prng)), prng, 0.5);
    case 18:
      return with_article(bare(pick(kThing, prng) + " " + pick(kPlace, prng)), prng);
    default:
      break;
  }
  const std::string part = pick(kPart, prng);
  const std::string whole = prng.chance(0.5) ? pick(kPlace, prng) : pick(kSide, prng) + " " + pick(kPlace, prng);
  return {fmt::format("the {} of the {}", part, whole), fmt::format("{} of {}", part, whole)};
}

Phrase thing(Prng& prng);

// "fifty metres north of the barn", "20 m left": a place by distance and direction.
Phrase offset(Prng& prng, bool whole) {
  const Phrase length = quantity(kLengths, prng);
  if (!whole) {
    const std::string direction = prng.chance(0.55) ? pick(kOwnDirection, prng) : pick(kCompass, prng);
    return {length.spoken + " " + direction, length.canon + " " + direction};
  }
  const Phrase anchor = plain_place(prng);
  const std::string direction = pick(kCompass, prng);
  const char* preposition = "of";
  return {fmt::format("{} {} {} {}", length.spoken, direction, preposition, anchor.spoken),
          fmt::format("{} {} of {}", length.canon, direction, anchor.canon)};
}

// "behind the barn", "between the barn and the silo": the preposition is part of the place.
Phrase beside(Prng& prng) {
  const std::string near = pick(kNear, prng);
  const Phrase anchor = prng.chance(0.8) ? plain_place(prng) : thing(prng);
  if (near != "between") return {near + " " + anchor.spoken, near + " " + anchor.canon};
  const Phrase other = plain_place(prng);
  return {fmt::format("between {} and {}", anchor.spoken, other.spoken),
          fmt::format("between {} and {}", anchor.canon, other.canon)};
}

Phrase located(Prng& prng) {  // "at the barn", "in the kitchen", "behind the barn"
  static const Words at = words("at|at|at|in|in|in|on|on|over|inside|along");
  if (prng.chance(0.16)) return beside(prng);
  if (prng.chance(0.06)) return offset(prng, true);
  if (prng.chance(0.04)) return bare("here");
  Phrase place = plain_place(prng);
  place.spoken = pick(at, prng) + " " + place.spoken;
  return place;
}

Phrase destination(
    Prng& prng) {  // "to the barn", "over to gate 3", "behind the barn", "fifty metres north of the barn"
  static const Words to = words("to|to|to|to|to|to|over to|towards|up to|down to|out to|into");
  if (prng.chance(0.1)) return beside(prng);
  if (prng.chance(0.09)) {
    Phrase place = offset(prng, true);
    if (prng.chance(0.3)) place.spoken = "to " + place.spoken;
    if (prng.chance(0.15)) place.spoken = "to a point " + place.spoken.substr(place.spoken.starts_with("to ") ? 3 : 0);
    return place;
  }
  if (prng.chance(0.015)) return {"to base", "base"};
  Phrase place = plain_place(prng);
  place.spoken = pick(to, prng) + " " + place.spoken;
  return place;
}

Phrase origin(Prng& prng) {
  if (prng.chance(0.12)) return beside(prng);
  Phrase place = plain_place(prng);
  static const Words from = words("from|from|from|from|from|at|in|on");
  place.spoken = pick(from, prng) + " " + place.spoken;
  return place;
}

Phrase thing(Prng& prng) {
  std::string name = prng.chance(0.07) ? coined(prng) : pick(kThing, prng);
  if (prng.chance(0.3)) name = pick(kAdjective, prng) + " " + name;
  if (prng.chance(0.05)) name = pick(kThing, prng) + " " + name;
  if (prng.chance(0.06)) {
    Phrase of = bare(prng.chance(0.5) ? fmt::format("{} number {}", name, 1 + prng.below(9)) : "bag of " + name);
    return with_article(of, prng, 1);
  }
  static const Words article = words("the|the|the|the|the|a|a|my|your|that|this|our|some|an|any");
  std::string chosen = pick(article, prng);
  const bool vowel = std::string_view("aeiou").contains(name[0]);
  if (chosen == "a" && vowel) chosen = "an";
  if (chosen == "an" && !vowel) chosen = "a";
  return {prng.chance(0.97) ? chosen + " " + name : name, name};
}

Phrase sight(Prng& prng) {
  if (prng.chance(0.25)) return thing(prng);
  static const Words pronoun = words("it|him|her|them|me");
  if (prng.chance(0.05)) return bare(pick(pronoun, prng));
  std::string spoken = pick(kSight, prng);
  std::string canon = spoken;
  for (const std::string_view article : {"a ", "an ", "the "}) {
    if (canon.starts_with(article)) {
      canon.erase(0, article.size());
      break;
    }
  }
  if (spoken == canon && prng.chance(0.2)) spoken = (prng.chance(0.5) ? "any " : "some ") + spoken;
  const bool open = canon.starts_with("any") || canon.starts_with("some");
  return {open ? canon : spoken, canon};
}

Phrase person(Prng& prng) {
  if (prng.chance(0.28)) return with_article(bare(pick(kRoles, prng)), prng, 1);
  return bare(capital(prng.chance(0.35) ? coined(prng) : pick(kPeople, prng)));
}

Phrase agent_number(std::string name, Prng& prng) {
  const std::uint64_t n = prng.chance(0.85) ? 1 + prng.below(9) : 10 + prng.below(40);
  const std::string canon = fmt::format("{}-{}", lower(name), n);
  switch (prng.below(10)) {
    case 0:
      return {fmt::format("{}-{}", name, n), canon};
    case 1:
      return {fmt::format("{}{}", name, n), canon};
    case 2:
      return {fmt::format("{} number {}", name, number_words(n, prng)), canon};
    case 3:
    case 4:
    case 5:
      return {fmt::format("{} {}", name, n), canon};
    default:
      return {fmt::format("{} {}", name, number_words(n, prng)), canon};
  }
}

std::string agent_class(Prng& prng) {
  if (prng.chance(0.12)) return pick(kNato, prng);
  return prng.chance(0.12) ? coined(prng) : pick(kClass, prng);
}

Phrase agent(Prng& prng) {
  if (prng.chance(0.8)) return agent_number(agent_class(prng), prng);
  return bare(capital(prng.chance(0.5) ? coined(prng) : agent_class(prng)));
}

Phrase followed(Prng& prng) {
  const std::uint64_t roll = prng.below(10);
  if (roll < 4) return person(prng);
  if (roll < 7) return agent(prng);
  static const Words pronoun = words("me|him|her|it|them|me");
  if (roll == 7) return bare(pick(pronoun, prng));
  return thing(prng);
}

// ------------------------------------------------------------------------------------------------------- messages

const Words kMessage = words(
    "hello|good morning|good evening|dinner is ready|lunch is served|all clear|help is on the way|the road is closed|"
    "we are leaving now|stand back|please wait here|the meeting starts at ten|the bus is late|it is time to go|"
    "stay calm|i am on my way|the water is not safe|keep off the grass|thank you for waiting|your order is ready|"
    "move away from the vehicle|evacuate the building|the show is over|fire drill in five minutes|welcome home|"
    "we found the dog|the door is open|come to the gate|the gate is locked|the doctor is coming|"
    "happy birthday|good night|the test is finished|watch out for ice|the coffee is hot|"
    "do not touch the fence|rain is coming|i need a hand|we are out of fuel|the harvest is done");
const Words kSubject = words(
    "the pump|the road|the gate|the bridge|dinner|the meeting|the bus|the crew|the truck|my shift|"
    "the water|the line|the tank|the harvest|the power|the north field|the lift|everything|"
    "the train|breakfast|the package|the game|the field|the camp|the shop|the lab|he|she|it");
const Words kBe = words("is|is|is|is now|will be|is not|was|has to be|should be|is still");
const Words kState = words(
    "ready|closed|open|late|broken|fixed|empty|full|cold|hot|safe|blocked|delayed|finished|wet|"
    "on fire|in danger|out of order|under water|cancelled|coming|leaving|at the gate|waiting|"
    "done for today|here|gone|over|in five minutes|at noon|behind schedule|tomorrow|on time");
const Words kDeed = words(
    "come home|bring the keys|call the office|wait at the gate|close the door|leave the building|"
    "move the truck|check the radio|take a break|open the valve|stay inside|follow the signs|"
    "put on a helmet|go to the camp|hurry up|sit down|be careful|keep quiet|clean up the mess|"
    "wash the dishes|feed the dog|turn around|slow down|help us|meet us at the barn|look up");

const Words kTopic = words(
    "the time|the date|a joke|the news|the score|your name|your team's name|what day it is|who you are|"
    "what time it is|something funny|something about yourself|the day of the week|a story|hi|"
    "what day tomorrow is|it's late|they're here|we're leaving|i'm tired|you're welcome|thank you|"
    "it's time to eat|i'm sorry|the way to the exit|the weather|what's for lunch|where the exit is");

Phrase message(Prng& prng) {
  if (prng.chance(0.15)) return bare(pick(kTopic, prng));
  std::string text;
  const std::uint64_t roll = prng.below(10);
  if (roll < 3) {
    text = pick(kMessage, prng);
  } else if (roll < 6) {
    text = pick(kSubject, prng) + " " + pick(kBe, prng) + " " + pick(kState, prng);
  } else if (roll == 6) {
    text = lower(person(prng).spoken) + " " + pick(kBe, prng) + " " + pick(kState, prng);
  } else if (roll == 7) {
    text = "we need " + pick(kPlural, prng) + " at the " + pick(kPlace, prng);
  } else if (roll == 8) {
    text =
        "the " + pick(kAdjective, prng) + " " + pick(kThing, prng) + " " + pick(kBe, prng) + " " + pick(kState, prng);
  } else {
    text = lower(coined(prng)) + " " + pick(kBe, prng) + " at the " + pick(kPlace, prng);
  }
  return {text, lower(text)};
}

Phrase deed(Prng& prng) {
  return bare("to " + (prng.chance(0.7) ? pick(kDeed, prng) : "bring the " + pick(kThing, prng)));
}

Phrase question(Prng& prng) {
  static const Words start = words("where|when|if|whether|why|how");
  const std::string text = pick(start, prng) + " " + pick(kSubject, prng) + " is " + pick(kState, prng);
  static const Words whole = words(
      "what time it is|what day it is|who is coming|how many people are here|where the keys are|"
      "if they need help|what happened|if everyone is safe|where the fire is|how they feel|"
      "what they want to drink|when the truck comes|which way to go|who has the keys");
  return bare(prng.chance(0.5) ? pick(whole, prng) : text);
}

Phrase post(Prng& prng) {
  Phrase phrase = prng.chance(0.3) ? person(prng) : bare(pick(kPosts, prng));
  if (phrase.canon.starts_with("the ")) phrase.canon.erase(0, 4);
  if (phrase.canon == "everyone") phrase.canon = "all";
  return phrase;
}

Phrase marked(Prng& prng) {
  Phrase phrase = bare(pick(kMarkAs, prng));
  if (phrase.canon.starts_with("a ")) phrase.canon.erase(0, 2);
  return phrase;
}

Phrase device(const Words& list, Prng& prng) {
  static const Words article = words("the|the|the|your|your");
  const std::string name = pick(list, prng);
  if (prng.chance(0.15)) return {name, name};
  return {pick(article, prng) + " " + name, name};
}

Phrase numbered_door(Prng& prng) {
  if (prng.chance(0.75)) return device(kDoor, prng);
  static const Words kinds = words("gate|door|valve|hatch|barrier|vent");
  return numbered(kinds, prng);
}

struct Maker {
  std::string_view kind;
  Phrase (*make)(Prng&);
};

const std::array kMakers = {
    Maker{"place", plain_place},
    Maker{"pp", located},
    Maker{"dest", destination},
    Maker{"src", origin},
    Maker{"move", [](Prng& p) { return offset(p, false); }},
    Maker{"compass", [](Prng& p) { return bare(pick(kCompass, p)); }},
    Maker{"thing", thing},
    Maker{"sight", sight},
    Maker{"plural",
          [](Prng& p) {
            std::string name = pick(kPlural, p);
            if (p.chance(0.2)) name = pick(kAdjective, p) + " " + name;
            return bare(name);
          }},
    Maker{"person", person},
    Maker{"post", post},
    Maker{"agent", agent},
    Maker{"followed", followed},
    Maker{"length", [](Prng& p) { return quantity(kLengths, p); }},
    Maker{"speed", [](Prng& p) { return quantity(kSpeeds, p); }},
    Maker{"duration", [](Prng& p) { return quantity(kDurations, p); }},
    Maker{"percent", percent},
    Maker{"angle", angle},
    Maker{"clock", clock},
    Maker{"count", count},
    Maker{"text", message},
    Maker{"deed", deed},
    Maker{"asked", question},
    Maker{"device", [](Prng& p) { return device(kDevice, p); }},
    Maker{"door", numbered_door},
    Maker{"status", [](Prng& p) { return bare(pick(kStatus, p)); }},
    Maker{"mark", marked},
    Maker{"name", [](Prng& p) { return bare(capital(coined(p))); }},
    Maker{"role", [](Prng& p) { return bare(pick(kRoles, p)); }},
    Maker{"noun", [](Prng& p) { return bare(pick(kThing, p)); }},
    Maker{"spot", [](Prng& p) { return bare(pick(kPlace, p)); }},
};

std::string in_quotes(std::string_view text) { return fmt::format("\"{}\"", text); }

Addressee listed(Prng& prng) {
  const std::uint64_t size = 2 + prng.below(prng.chance(0.3) ? 3 : 1);
  Addressee who;
  const bool shared = prng.chance(0.45);  // "scouts one and three"
  const std::string name = agent_class(prng);
  if (shared) who.spoken = name + "s ";
  for (std::uint64_t i = 0; i < size; ++i) {
    if (i > 0) who.spoken += i + 1 < size ? ", " : (size > 2 && prng.chance(0.4) ? ", and " : " and ");
    Phrase one = agent(prng);
    if (shared) {
      const std::uint64_t n = 1 + prng.below(9);
      one = {number_spoken(n, prng), fmt::format("{}-{}", lower(name), n)};
    }
    who.spoken += one.spoken;
    who.json += (i == 0 ? "[" : ",") + in_quotes(one.canon);
  }
  who.json += "]";
  return who;
}

Addressee group(Prng& prng) {
  if (prng.chance(0.45)) {
    const std::string team = pick(kTeam, prng);
    std::string name = prng.chance(0.8) ? pick(kColour, prng) : coined(prng);
    std::string canon = name;
    if (name == "one" || name == "two" || name == "three") canon = name == "one" ? "1" : name == "two" ? "2" : "3";
    const bool name_first = canon == name && prng.chance(0.35);
    return {name_first ? name + " " + team : team + " " + name, in_quotes(fmt::format("{}-{}", team, lower(canon))),
            ""};
  }
  static const Words lead = words("all|all the|all|the|");
  std::string one = agent_class(prng);
  while (one == "robot" || one == "unit") one = agent_class(prng);  // "all units" is everyone
  const std::string many = one + "s";
  const std::string start = pick(lead, prng);
  return {start.empty() ? many : start + " " + many, in_quotes(lower(many)), ""};
}

}  // namespace

bool is_phrase_kind(std::string_view kind) { return std::ranges::find(kMakers, kind, &Maker::kind) != kMakers.end(); }

Phrase make_phrase(std::string_view kind, Prng& prng) {
  const auto* found = std::ranges::find(kMakers, kind, &Maker::kind);
  SEDGE_ASSERT(found != kMakers.end());
  return found->make(prng);
}

Addressee make_single_agent(Prng& prng) {
  const Phrase one = agent(prng);
  return {one.spoken, in_quotes(one.canon), ""};
}

Addressee make_addressee(Prng& prng) {
  const std::uint64_t roll = prng.below(20);
  if (roll < 12) return make_single_agent(prng);
  if (roll < 15) return listed(prng);
  Addressee all = roll < 18 ? group(prng) : Addressee{pick(kEveryone, prng), in_quotes("all"), ""};
  if (prng.chance(roll < 18 ? 0.08 : 0.25)) {
    static const Words except = words("except|but|except for|apart from");
    const Phrase one = agent(prng);
    all.spoken += " " + pick(except, prng) + " " + one.spoken;
    all.except = in_quotes(one.canon);
  }
  return all;
}

}  // namespace sedge::train::heron
