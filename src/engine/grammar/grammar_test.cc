#include "engine/grammar/grammar.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/prng.h"
#include "engine/grammar/gbnf.h"
#include "engine/grammar/matcher.h"
#include "engine/grammar/testing.h"
#include "model/unicode.h"

namespace sedge::engine {
namespace {

std::shared_ptr<const Grammar> gbnf(std::string_view text) {
  auto grammar = read_gbnf(text);
  EXPECT_TRUE(grammar) << text << ": " << (grammar ? "" : grammar.error().message);
  return grammar ? *grammar : read_gbnf("root ::= \"\"").value();
}

bool matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  Matcher matcher(grammar);
  return matcher.advance(text) && matcher.complete();
}

std::string refusal(std::string_view text) {
  const auto grammar = read_gbnf(text);
  EXPECT_FALSE(grammar) << text;
  return grammar ? "" : grammar.error().message;
}

TEST(Gbnf, says_literals_classes_groups_and_repetitions) {
  const auto grammar = gbnf(R"(
    # a patrol
    root  ::= "go " place ("," place)* end?
    place ::= [a-c]{2,3} |     # a name
              "home" | [^a-z \x2c!]
    end   ::= "!"+ | (
      "." "\t"
    ))");
  for (const char* right : {"go ab", "go abc,home,cc", "go 7", "go ab!", "go ab!!!", "go \xC3\xA9,home", "go A.\t"}) {
    EXPECT_TRUE(matches(grammar, right)) << right;
  }
  for (const char* wrong :
       {"", "go", "go ", "go a", "go abcd", "go ab,", "go x", "go ab.", "go \xC3", "go ,", "gohome"}) {
    EXPECT_FALSE(matches(grammar, wrong)) << wrong;
  }
}

TEST(Gbnf, a_rule_may_call_itself_in_the_middle_and_at_the_end) {
  const auto nested = gbnf("root ::= \"(\" root \")\" | \"x\"");
  EXPECT_TRUE(matches(nested, "((x))"));
  EXPECT_FALSE(matches(nested, "((x)"));
  const auto list = gbnf("root ::= item | item \",\" root\nitem ::= [0-9]");
  std::string text = "1";
  for (int i = 0; i < 2000; ++i) text += ",2";  // far beyond the stack's depth: a call at the end takes none
  EXPECT_TRUE(matches(list, text));
}

TEST(Gbnf, what_is_wrong_is_named_with_its_place) {
  const std::pair<const char*, const char*> wrong[] = {
      {"", "no rule 'root'"},
      {"a ::= \"x\"", "no rule 'root'"},
      {"root ::= a", "rule 'a' is used and not defined"},
      {"root ::= \"x\"\nroot ::= \"y\"", "line 2 column 9: rule 'root' is defined twice"},
      {"root := \"x\"", "line 1 column 6: '::=' is expected"},
      {"root ::= \"x", "does not end"},
      {"root ::= [a", "does not end"},
      {"root ::= [z-a]", "backwards"},
      {"root ::= (\"x\"", "')' is missing"},
      {"root ::= \"x\")", "does not go on"},
      {"root ::= \"\\q\"", "escape"},
      {"root ::= \"\\uD800\"", "no character"},
      {"root ::= \"\xFF\"", "not UTF-8"},
      {"root ::= <think>", "tokens"},
      {"root ::= \"x\"{3,2}", "wrong way round"},
      {"root ::= \"x\"{99999999999}", "at most"},
      {"root ::= root \"x\" | \"y\"", "rule 'root' comes back to itself"},
      {"root ::= \"a\"? root", "comes back to itself"},
      {"root ::= a \"x\"\na ::= b | \"\"\nb ::= [ ]? a", "comes back to itself"},
      {"root ::= \"x\" root", "nothing finite satisfies rule 'root'"},
      {"root ::= [^\\x00-\\U0010FFFF]", "nothing finite"},
      {"root ::= \"0123456789\"{65536}", "steps at rule 'root'"},
  };
  for (const auto& [text, why] : wrong)
    EXPECT_NE(refusal(text).find(why), std::string::npos) << text << ": " << refusal(text);
  std::string deep = "root ::= ";
  EXPECT_NE(refusal(deep + std::string(5000, '(')).find("too deep"), std::string::npos);
  EXPECT_NE(refusal(std::string(kGrammarBytesMax + 1, ' ')).find("bytes"), std::string::npos);
}

TEST(Gbnf, any_text_is_a_grammar_or_an_error) {
  EXPECT_TRUE(rc::check([](const std::string& noise) {
    const std::string base = "root ::= \"a\" ([b-d]{1,4} | x)*\nx ::= \"\\u00e9\" root?";
    std::string text = base;
    const auto at = *rc::gen::inRange<std::size_t>(0, base.size());
    text.replace(at, std::min(noise.size(), base.size() - at), noise);
    if (const auto grammar = read_gbnf(text)) Matcher(*grammar).accepts("abca");
  }));
}

TEST(Gbnf, alternatives_that_are_alike_are_one) {
  const std::string bars(kGrammarBytesMax - 100, '|');
  const auto empty = gbnf("root ::= \"x\"" + bars);
  EXPECT_LE(empty->edges(empty->root()).size(), 2u);
  EXPECT_TRUE(matches(empty, "x"));
  EXPECT_TRUE(matches(empty, ""));
  std::string same = "root ::= \"x\" [a-c]";
  for (int i = 0; i < 20000; ++i) same += "|[b]";
  const auto letters = gbnf(same);
  EXPECT_LE(letters->edges(letters->root()).size(), 2u);
  EXPECT_TRUE(matches(letters, "xa"));
  EXPECT_TRUE(matches(letters, "b"));
}

TEST(Gbnf, what_nothing_satisfies_makes_no_work_however_often_it_is_written) {
  std::string never = "root ::= \"x\" | ([]";
  for (int i = 0; i < 40000; ++i) never += "|[]";
  EXPECT_TRUE(matches(gbnf(never + "){65536}"), "x"));
}

TEST(Gbnf, of_a_long_name_its_end_is_told) {
  const std::string why = refusal("root ::= " + std::string(100000, 'a') + "-end");
  EXPECT_LT(why.size(), 2 * kRuleNameBytesMax) << why;
  EXPECT_NE(why.find("a-end' is used and not defined"), std::string::npos) << why;
}

TEST(CodeSet, is_spelled_by_the_utf8_of_its_members_and_no_other_bytes) {
  EXPECT_TRUE(rc::check([] {
    CodeSet set;
    for (int i = *rc::gen::inRange(1, 4); i > 0; --i) {
      const auto a = *rc::gen::inRange<std::uint32_t>(0, kCodePointMax + 1),
                 b = *rc::gen::inRange<std::uint32_t>(0, 3000);
      set.add(a, std::min<char32_t>(a + b * b / 4, kCodePointMax));
    }
    const auto spelled = utf8_sequences(set);
    const auto takes = [&](std::string_view bytes) {
      return std::ranges::count_if(spelled, [&](const ByteSequence& sequence) {
        if (sequence.length != bytes.size()) return false;
        for (std::size_t i = 0; i < bytes.size(); ++i) {
          const auto byte = static_cast<std::uint8_t>(bytes[i]);
          if (byte < sequence.bytes[i].low || byte > sequence.bytes[i].high) return false;
        }
        return true;
      });
    };
    for (const CodeSet::Range& range : set.ranges()) {
      for (const char32_t code : std::initializer_list<char32_t>{range.first, range.last, range.first - 1,
                                                                 range.last + 1, (range.first + range.last) / 2}) {
        if (code > kCodePointMax || (code >= 0xD800 && code <= 0xDFFF)) continue;
        std::string bytes;
        model::append_utf8(bytes, code);
        RC_ASSERT(takes(bytes) == (set.contains(code) ? 1 : 0));
      }
    }
    RC_ASSERT(takes("\xED\xA0\x80") == 0);  // a surrogate
    RC_ASSERT(set.complement().complement().within(CodeSet::any()).ranges() == set.within(CodeSet::any()).ranges());
  }));
}

TEST(Matcher, never_leads_where_no_whole_text_can_come_of_it) {
  Prng prng(3);
  const auto grammar = gbnf(R"g(
    root ::= "a" dead | "a" [bc]+ | "a(" root ")" root?
    dead ::= "x" [^\x00-\U0010FFFF] | "y")g");
  for (int i = 0; i < 300; ++i) {
    const auto text = random_text(grammar, prng);
    ASSERT_TRUE(text);
    ASSERT_EQ(text->find('x'), std::string::npos);
  }
}

TEST(Matcher, answers_the_same_whatever_it_has_met_before) {
  const auto grammar = gbnf("root ::= ( [a-z]{1,300} | \"(\" root \")\" ) \";\" root?");
  Prng prng(4);
  for (int round = 0; round < 20; ++round) {
    const auto text = random_text(grammar, prng);
    Matcher once(grammar), emptied(grammar);
    for (const char& each : *text) {
      ASSERT_TRUE(once.advance({&each, 1}));
      if (prng.below(5) == 0) emptied.restart();
      ASSERT_TRUE(emptied.advance({&each, 1}));
      ASSERT_EQ(once.complete(), emptied.complete());
      for (const char* next : {"a", "(", ")", ";", ";(", "zz);"}) ASSERT_EQ(once.accepts(next), emptied.accepts(next));
    }
  }
}

TEST(Matcher, an_ambiguous_grammar_costs_no_more_than_its_bound) {
  // Each letter may belong to any of the loops within loops; and nested calls pile up stacks.
  const auto grammar = gbnf("root ::= a a a a a a\na ::= (\"x\"* \"x\"*)* | \"(\" a a \")\"");
  Matcher matcher(grammar);
  EXPECT_TRUE(matcher.advance(std::string(500, 'x')));
  std::string deep;
  while (matcher.advance("(") && deep.size() < 10000) deep += '(';
  EXPECT_LE(deep.size(), kStackDepthMax);
  EXPECT_TRUE(matcher.advance(std::string(deep.size(), ')')));
  EXPECT_TRUE(matcher.complete());
}

TEST(Matcher, a_byte_that_leads_too_many_ways_at_once_is_given_up_and_told) {
  std::string many = "root ::= \"y\"", stacks = "x ::= \"a\" (\"b\" | \"c\" | \"d\") (\"e\" | \"f\")\nroot ::= \"y\"";
  for (std::size_t i = 0; i <= kWaysMax; ++i) many += fmt::format("|\"x{}\"", i);
  for (std::size_t i = 0; i <= kWaysMax; ++i) stacks += fmt::format("|\"x\" x \"{}\"", i);
  for (const std::string& text : {many, stacks}) {
    Matcher matcher(gbnf(text));
    for (int round = 0; round < 2; ++round, matcher.restart()) {
      EXPECT_FALSE(matcher.accepts("x"));
      EXPECT_TRUE(matcher.gave_up());
      EXPECT_TRUE(matcher.accepts("y"));
    }
  }
  Matcher few(gbnf("root ::= \"x\"{0,400} \"x\"{0,400} \"x\"{0,400}"));
  EXPECT_TRUE(few.advance(std::string(1200, 'x')));
  EXPECT_FALSE(few.gave_up());
}

TEST(Matcher, a_byte_that_too_many_edges_would_be_looked_at_for_is_given_up) {
  // 300 stacks stand before one choice of 300 words.
  std::string text = "word ::= [z]";
  for (int i = 0; i < 300; ++i) text += fmt::format("|\"{}{}\"", static_cast<char>('a' + i % 20), i);
  text += "\nroot ::= \"y\"";
  for (int i = 0; i < 300; ++i) text += fmt::format("|\"x\" word \"{}\"", i);
  Matcher matcher(gbnf(text));
  EXPECT_FALSE(matcher.accepts("x"));
  EXPECT_TRUE(matcher.gave_up());
  EXPECT_TRUE(matcher.advance("y"));
}

TEST(Matcher, a_refused_text_changes_nothing) {
  Matcher matcher(gbnf("root ::= \"abc\" | \"abd\""));
  EXPECT_FALSE(matcher.advance("abx"));
  EXPECT_TRUE(matcher.advance("ab"));
  EXPECT_FALSE(matcher.complete());
  EXPECT_TRUE(matcher.accepts("c"));
  EXPECT_TRUE(matcher.advance("d"));
  EXPECT_TRUE(matcher.finished());
  EXPECT_FALSE(matcher.accepts("d"));
  EXPECT_TRUE(matcher.accepts(""));
}

}  // namespace
}  // namespace sedge::engine
