#include "model/chat_template.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "support/test_data.h"

namespace sedge::model {
namespace {

const std::vector<ChatMessage> kTalk = {{"system", " Be brief. "},
                                        {"user", "Where are you?"},
                                        {"assistant", "In the north field."},
                                        {"user", "Come back!"}};
const ChatOptions kOptions = {.bos_token = "<s>", .eos_token = "</s>", .add_generation_prompt = true};

std::string render(std::string_view jinja, const std::vector<ChatMessage>& messages = kTalk) {
  const auto text = render_chat(jinja, messages, kOptions);
  return text ? *text : "error: " + text.error().message;
}

TEST(ChatTemplate, chatml_and_phi_render_as_published) {
  EXPECT_EQ(
      render(
          "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
          "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
          {{"user", "hi"}}),
      "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(
      render("{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\\n' + "
             "message['content'] + '<|end|>' + '\\n' + '<|assistant|>' + '\\n'}}{% elif (message['role'] == "
             "'assistant') %}{{message['content'] + '<|end|>' + '\\n'}}{% endif %}{% endfor %}"),
      "<s><|user|>\nWhere are you?<|end|>\n<|assistant|>\nIn the north field.<|end|>\n<|user|>\nCome "
      "back!<|end|>\n<|assistant|>\n");
}

struct Case {
  const char* jinja;
  const char* text;
};

// Every expected text was printed by jinja2 3.1.6 with trim_blocks and lstrip_blocks on.
TEST(ChatTemplate, the_language_is_jinjas) {
  const Case cases[] = {
      {"a  {{- 1 }}  b", "a1  b"},
      {"a {{ 1 -}}   b", "a 1b"},
      {"x\n  {% if true %}\n  y\n  {% endif %}\nz\n", "x\n  y\nz"},
      {"x\n  {%+ if true %}y{% endif +%}\nz", "x\n  y\nz"},
      {"x\n  {%- if true -%}  \n y {% endif -%}\n z", "xy z"},
      {"a {# note #} b\n  {# line #}\nc", "a  b\nc"},
      {"a\n {#- note -#} \n b", "ab"},
      {"{{ \"a\" \"b\" 'c' }}{{ 'it\\'s' }}{{ \"\\u00e9\\x41\\t|\" }}", "abcit'séA\t|"},
      {"{{ {'a': {'b': 1}}['a']['b'] }}", "1"},
      {"{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 % 3 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 1.5 + 1 }}",
       "6 1 -4 2 3.5 2.0 2.5"},
      {"{{ 1 ~ 'a' ~ none ~ true ~ 2.0 }}", "1aNoneTrue2.0"},
      {"{{ not true or true and not false }} {{ 1 and 'x' }} {{ '' or 'y' }}", "True x y"},
      {"{{ 'a' if 1 == 1 else 'b' }}{{ 'c' if 1 > 2 }}|{{ 1 if 0 else 2 if 0 else 3 }}", "a|3"},
      {"{{ 'b' in 'abc' }} {{ 'z' not in ['a'] }} {{ 'role' in messages[0] }} {{ 1 in [1, 2] }}",
       "True True True True"},
      {"{{ 1 < 2 }} {{ 'a' < 'b' }} {{ 2 >= 2 }} {{ 1 != 1.0 }} {{ [1, [2]] == [1, [2]] }} {{ {'a': 1} == {'a': 1} }}",
       "True True True False True True"},
      {"{{ [1, 'a', none, true, 1.5, {'k': \"it's\"}] }} {{ (1, 2)[0] }}",
       "[1, 'a', None, True, 1.5, {'k': \"it's\"}] 1"},
      {"{{ messages[1:]|length }} {{ messages[-1].content }} {{ messages[9] is defined }} {{ 'hello'[1:3] }} {{ "
       "'hello'[::-1] }} {{ [1,2,3,4,5][::2] }} {{ [1,2,3][-2:] }} {{ [1,2,3][:-1] }} {{ 'abc'[1] }}",
       "3 Come back! False el olleh [1, 3, 5] [2, 3] [1, 2] b"},
      {"{{ messages[0].content | trim }}|{{ messages[0]['content'].strip() }}|{{ ' a '.lstrip() }}|{{ "
       "'xax'.rstrip('x') }}",
       "Be brief.|Be brief.|a |xa"},
      {"{{ 'a-b-c'.split('-') }} {{ ' a  b '.split() }} {{ 'a-b-c'.split('-', 1)[-1] }} {{ "
       "'a</think>b'.split('</think>')[-1] }}",
       "['a', 'b', 'c'] ['a', 'b'] b-c b"},
      {"{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith('c') }} {{ 'aXa'.lower().upper() }} {{ 'hello world'|title }} "
       "{{ 'hELLO'|capitalize }}",
       "True True AXA Hello World Hello"},
      {"{{ x | default('d') }} {{ '' | default('e', true) }} {{ none | default('f') }} {{ x is defined }} {{ x is not "
       "defined }} {{ x }}|",
       "d e None False True |"},
      {"{{ ['a', 'b'] | join(', ') }} {{ [1, 2] | join }} {{ ['a','b','a'] | unique | list }} {{ [3, 4] | first }} {{ "
       "[3, 4] | last }} {{ 'abc' | list }} {{ [1,2]|reverse|list }}",
       "a, b 12 ['a', 'b'] 3 4 ['a', 'b', 'c'] [2, 1]"},
      {"{{ {'a': [1, \"x\\n\\\"é</b>'\"], 'b': none, 'c': {}} | tojson }}",
       "{\"a\": [1, \"x\\n\\\"é</b>'\"], \"b\": null, \"c\": {}}"},
      {"{{ {'a': [1, 2], 'b': {'c': true}, 'd': []} | tojson(indent=2) }}",
       "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {\n    \"c\": true\n  },\n  \"d\": []\n}"},
      {"{{ '12' | int + 1 }} {{ 3.7 | int }} {{ 'x' | int }} {{ 5 | string + '!' }} {{ 'a.b'|replace('.', '-') }}",
       "13 3 0 5! a-b"},
      {"{{ 'a\\nb\\n\\nc' | indent(2) }}|{{ 'a\\nb' | indent(2, true) }}", "a\n  b\n\n  c|  a\n  b"},
      {"{% for k, v in {'a': 1, 'b': 2} | items %}{{ k }}={{ v }};{% endfor %}{% for k, v in {'c': 3}.items() %}{{ k "
       "}}{{ v }}{% endfor %}{% for k in {'q': 1} %}{{ k }}{% endfor %}",
       "a=1;b=2;c3q"},
      {"{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ '!' if loop.first }}{{ '.' if loop.last }}{{ "
       "loop.revindex0 }}{{ loop.previtem.role if loop.previtem is defined else '-' }}{% endfor %}",
       "1/4!3-2/42system3/41user4/4.0assistant"},
      {"{% for m in messages if m.role == 'user' %}{{ loop.index0 }}{{ m.content }}{% else %}none{% endfor %}{% for m "
       "in [] %}{% else %}empty{% endfor %}",
       "0Where are you?1Come back!empty"},
      {"{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}", "231"},
      {"{% set ns = namespace(n=0, s='') %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% set ns.t = i %}{% endfor "
       "%}{{ ns.n }}{{ ns.t }}",
       "63"},
      {"{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t %}x{{ a }}{% endset %}{{ t }}", "12x1"},
      {"{% macro f(a, b='d') %}[{{ a }}{{ b }}{{ bos_token }}]{% endmacro %}{{ f(1) }}{{ f(1, 2) }}{{ f(b=3, a=4) }}{{ "
       "f() }}",
       "[1d<s>][12<s>][43<s>][d<s>]"},
      {"{% macro fact(n) %}{% if n > 1 %}{{ n }}*{{ fact(n - 1) }}{% else %}1{% endif %}{% endmacro %}{{ fact(4) }}",
       "4*3*2*1"},
      {"{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% "
       "endfor %}",
       "0134"},
      {"{{ [3, 1, 2] | sort | join(' ') }} {{ ['b', 'C', 'a'] | sort(reverse=true) | join }}", "1 2 3 Cba"},
      {"{{ [{'n': 2}, {'n': 1}] | sort(attribute='n') | map(attribute='n') | join }}", "12"},
      {"{% for k, v in {'b': 1, 'A': 2} | dictsort %}{{ k }}{{ v }} {% endfor %}", "A2 b1 "},
      {"{{ '1.5' | float + 1 }} {{ -3 | abs }} {{ 'x' | float }}", "2.5 3 0.0"},
      {"{{ 'a\nb\r\nc\n'.splitlines() | join('|') }} {{ 'aXbX'.find('X') }} {{ 'a'.find('b') }} {{ 'abab'.count('ab') "
       "}}",
       "a|b|c 1 -1 2"},
      {"{% filter upper %}a{{ bos_token }}{% endfilter %}{% filter trim | upper %} x {% endfilter %}", "A<S>X"},
      {"{% if x %}1{% elif messages | length > 3 %}2{% elif true %}3{% else %}4{% endif %}", "2"},
      {"{{ messages | map(attribute='role') | join(',') }} {{ messages | selectattr('role', 'equalto', 'user') | list "
       "| length }} {{ messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='content') | list }} {{ "
       "['a','b'] | map('upper') | join }} {{ [1, 2, 3] | select('odd') | list }} {{ ['a', 'b'] | reject('equalto', "
       "'a') | list }}",
       "system,user,assistant,user 2 ['In the north field.'] AB [1, 3] ['b']"},
      {"{{ 'a' is string }} {{ 1 is number }} {{ none is none }} {{ [] is iterable }} {{ {} is mapping }} {{ 4 is "
       "divisibleby 2 }} {{ 4 is divisibleby(3) }} {{ true is boolean }} {{ 1.0 is float }} {{ 'a' is not none and 'b' "
       "is string }} {{ [1] is sequence }} {{ 1 is eq 1 }}",
       "True True True True True True False True True True True True"},
      {"{{ range(3) | list }} {{ range(1, 6, 2) | list }} {{ range(3, 0, -1) | list }} {{ dict(a=1) }} {{ -3 + 5 }} {{ "
       "2 - -2 }}",
       "[0, 1, 2] [1, 3, 5] [3, 2, 1] {'a': 1} 2 4"},
      {"{{ {'get': 1, 'a': 2}.get('a') }} {{ {'a': 2}.get('b') }} {{ {'a': 2}.get('b', 'c') }} {{ {'a': 1}.keys() | "
       "list }} {{ {'a': 1}.values() | list }}",
       "2 None c ['a'] [1]"},
      {"{{ tools is none }} {{ not tools }} {{ strftime_now is defined }} {{ messages is not string }} {{ (messages | "
       "length) is odd }}",
       "True True False True False"},
      {"{% for a in 'héy' %}{{ a }}.{% endfor %} {{ 'héy' | length }} {{ 'x' * 0 if false else 'ok' }}", "h.é.y. 3 ok"},
      {"{{ ([1] + [2, 3]) }} {{ 'a' + 'b' | upper }} {{ ('a' + 'b') | upper }} {{ 'a,b'.split(',') | last }}",
       "[1, 2, 3] aB AB b"},
      {"{% generation %}kept{% endgeneration %}", "kept"},
  };
  for (const Case& each : cases) EXPECT_EQ(render(each.jinja), each.text) << each.jinja;
}

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

struct Published {
  const char* file;
  bool system;  // the talk opens with a system message
  std::size_t bytes;
  std::uint64_t hash;  // FNV-1a of what jinja2 3.1.6 renders
};

// `talk` opens with a system message.
void check_published(const std::filesystem::path& folder, const Published& row, const std::vector<ChatMessage>& talk,
                     const ChatOptions& options) {
  std::ifstream file(folder / row.file, std::ios::binary);
  ASSERT_TRUE(file) << "without " << row.file;
  const std::string jinja{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto text = render_chat(jinja, std::span(talk).subspan(row.system ? 0 : 1), options);
  ASSERT_TRUE(text) << row.file << ": " << text.error().message;
  EXPECT_EQ(text->size(), row.bytes) << row.file << "\n" << *text;
  EXPECT_EQ(fnv1a(*text), row.hash) << row.file << "\n" << *text;
}

TEST(ChatTemplate, published_templates_render_as_the_reference_does) {
  const Published rows[] = {
      {"CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja", true, 2979, 0xc643cceda54967dfu},
      {"CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja", false, 2765, 0x6b4ecfc9881d77adu},
      {"Qwen-Qwen2.5-7B-Instruct.jinja", true, 195, 0xe038146b81a1bcc0u},
      {"Qwen-Qwen2.5-7B-Instruct.jinja", false, 252, 0xa781f39a29bf302fu},
      {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja", true, 150, 0x057a93ca39a2de90u},
      {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja", false, 139, 0x3692e334fea4065bu},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja", true, 150, 0x057a93ca39a2de90u},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja", false, 139, 0x3692e334fea4065bu},
      {"google-gemma-2-2b-it.jinja", false, 170, 0x8096628fd14250c5u},
      {"llama-cpp-deepseek-r1.jinja", true, 204, 0x13b7b65b650949e2u},
      {"llama-cpp-deepseek-r1.jinja", false, 193, 0xff2c266f0219a7bdu},
      {"meetkai-functionary-medium-v3.1.jinja", true, 413, 0xa14e1582a477e903u},
      {"meetkai-functionary-medium-v3.1.jinja", false, 348, 0xd56700f13d3b5f3au},
      {"meetkai-functionary-medium-v3.2.jinja", true, 768, 0xc1bf01c368c67934u},
      {"meetkai-functionary-medium-v3.2.jinja", false, 703, 0x13d01d7c85378e81u},
      {"meta-llama-Llama-3.1-8B-Instruct.jinja", true, 380, 0x73b21fec849de433u},
      {"meta-llama-Llama-3.1-8B-Instruct.jinja", false, 371, 0xebc622608f9ada88u},
      {"meta-llama-Llama-3.2-3B-Instruct.jinja", true, 380, 0x73b21fec849de433u},
      {"meta-llama-Llama-3.2-3B-Instruct.jinja", false, 371, 0xebc622608f9ada88u},
      {"meta-llama-Llama-3.3-70B-Instruct.jinja", true, 380, 0x73b21fec849de433u},
      {"meta-llama-Llama-3.3-70B-Instruct.jinja", false, 371, 0xebc622608f9ada88u},
      {"microsoft-Phi-3.5-mini-instruct.jinja", true, 143, 0xa5c6059aa9f26655u},
      {"microsoft-Phi-3.5-mini-instruct.jinja", false, 113, 0x9271447eee037f26u},
      {"mistralai-Mistral-Nemo-Instruct-2407.jinja", true, 89, 0x0e02cf387534b31bu},
      {"mistralai-Mistral-Nemo-Instruct-2407.jinja", false, 76, 0x37663e770342edecu},
  };
  SEDGE_NEED_DATA(path, "tokenizers/llama.cpp/templates");
  for (const Published& row : rows) check_published(path, row, kTalk, kOptions);
}

json::Array tools_on_offer() {
  return json::
      parse(R"([{"type": "function", "function": {"name": "go_to", "description": "Drive to a \"place\".", "parameters":
      {"type": "object", "properties": {"place": {"type": "string", "enum": ["dock", "field"], "description": "Where to."},
      "speed": {"type": "number"}, "tags": {"type": "array", "items": {"type": "string"}}}, "required": ["place"]}}},
      {"type": "function", "function": {"name": "wait", "description": "Stand still.", "parameters":
      {"type": "object", "properties": {"s": {"type": "integer"}}}}}])",
            "tools")
          ->get_array();
}

std::vector<ChatMessage> talk_with_calls() {
  const json::Object call =
      json::parse(R"({"tool_calls": [{"id": "a1b2c3d40", "type": "function", "function": {"name": "go_to",
      "arguments": {"place": "dock", "speed": 0.5, "tags": ["\u00e9", null]}}}]})",
                  "call")
          ->get_object();
  return {{"system", " Be brief. "},    {"user", "Go home!"},
          {"assistant", "", call},      {"tool", "{\"ok\": true}", {{"tool_call_id", "a1b2c3d40"}, {"name", "go_to"}}},
          {"assistant", "I am there."}, {"user", "Wait a bit."}};
}

// The constructs of published templates: tools as JSON and by their members, calls that were made, what they gave.
TEST(ChatTemplate, tools_and_their_calls_are_values_of_the_template) {
  const char* const jinja =
      "{% macro kind(p) %}{% if p.type is mapping %}?{% elif p.type == 'array' %}list[{{ kind(p['items']) }}]"
      "{% else %}{{ p.type }}{% endif %}{% endmacro %}"
      "{% if tools is not none and tools is iterable %}{% for tool in tools %}{% set tool = tool.function %}"
      "{{ tool.name }}({% for name, p in tool.parameters.properties.items() %}{{ name }}: {{ kind(p) }}"
      "{% if not loop.last %}, {% endif %}{% endfor %}) {% if tool.parameters.required is defined %}"
      "{{ tool.parameters.required | tojson }}{% endif %};{% endfor %}{% endif %}"
      "{% for m in messages %}{% if 'tool_calls' in m %}{% for c in m.tool_calls %}{% set c = c.function %}"
      "{{ c | tojson }}{{ (c | tojson)[:-1] }}{{ c.arguments is mapping }}{% endfor %}"
      "{% elif m.role == 'tool' %}{{ m.tool_call_id | length }}{{ m.name }}={{ m.content }}{% endif %}{% endfor %}";
  ChatOptions options = kOptions;
  options.tools = tools_on_offer();
  const std::string call =
      "{\"name\": \"go_to\", \"arguments\": {\"place\": \"dock\", \"speed\": 0.5, \"tags\": [\"\xC3\xA9\", null]}}";
  EXPECT_EQ(render_chat(jinja, talk_with_calls(), options).value(),
            "go_to(place: string, speed: number, tags: list[string]) [\"place\"];wait(s: integer) ;" + call +
                call.substr(0, call.size() - 1) + "True9go_to={\"ok\": true}");

  EXPECT_EQ(render_chat("{% for t in xml_tools[:] %}{{ (t | string)[:20] }};{% endfor %}", kTalk, options).value(),
            "{'type': 'function',;{'type': 'function',;");
  EXPECT_EQ(render("{{ xml_tools is defined }}"), "False");

  json::Value deep = nullptr;
  for (int i = 0; i < 40; ++i) deep = json::Array{deep};
  options.tools.push_back(deep);
  EXPECT_EQ(render_chat(jinja, kTalk, options).error().code, Code::kInvalidArgument);
}

TEST(ChatTemplate, published_templates_render_tools_and_calls_as_the_reference_does) {
  const Published rows[] = {
      {"CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja", true, 7189, 0xb6712db91441b83bu},
      {"CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja", false, 6975, 0xc2eb0a21a1a36239u},
      {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja", true, 1878, 0x3f4ecfc41cc4639au},
      {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja", false, 1837, 0xf30d572ff2e2019du},
      {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja", true, 1878, 0x3f4ecfc41cc4639au},
      {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja", false, 1837, 0xf30d572ff2e2019du},
      {"Qwen-Qwen2.5-7B-Instruct.jinja", true, 1263, 0x24266b8c6fb856b1u},
      {"Qwen-Qwen2.5-7B-Instruct.jinja", false, 1320, 0x784753a4039fd8b6u},
      {"meta-llama-Llama-3.1-8B-Instruct.jinja", true, 1973, 0xac9d1275e5bdc88eu},
      {"meta-llama-Llama-3.1-8B-Instruct.jinja", false, 1964, 0xe9574dd4e4aebba5u},
      {"meta-llama-Llama-3.2-3B-Instruct.jinja", true, 1973, 0xac9d1275e5bdc88eu},
      {"meta-llama-Llama-3.2-3B-Instruct.jinja", false, 1964, 0xe9574dd4e4aebba5u},
      {"meta-llama-Llama-3.3-70B-Instruct.jinja", true, 1973, 0xac9d1275e5bdc88eu},
      {"meta-llama-Llama-3.3-70B-Instruct.jinja", false, 1964, 0xe9574dd4e4aebba5u},
      {"mistralai-Mistral-Nemo-Instruct-2407.jinja", true, 803, 0x76ca5d87a123044au},
      {"mistralai-Mistral-Nemo-Instruct-2407.jinja", false, 790, 0x6f33843c905fe753u},
  };
  SEDGE_NEED_DATA(path, "tokenizers/llama.cpp/templates");
  ChatOptions options = kOptions;
  options.tools = tools_on_offer();
  const std::vector<ChatMessage> talk = talk_with_calls();
  for (const Published& row : rows) check_published(path, row, talk, options);
}

TEST(ChatTemplate, published_templates_that_name_the_date_render_as_the_reference_does) {
  const Published rows[] = {
      {"fireworks-ai-llama-3-firefunction-v2.jinja", true, 1404, 0xffe37319f226d5d6u},
      {"fireworks-ai-llama-3-firefunction-v2.jinja", false, 1448, 0xcb616cfbbfb795f3u},
      {"meta-llama-Llama-3.1-8B-Instruct.jinja", true, 380, 0x73b21fec849de433u},  // asks for none
      {"meta-llama-Llama-3.2-3B-Instruct.jinja", true, 380, 0xd794b5e1c1ad9249u},
      {"meta-llama-Llama-3.2-3B-Instruct.jinja", false, 371, 0xa07c71e8460f0c9eu},
  };
  SEDGE_NEED_DATA(path, "tokenizers/llama.cpp/templates");
  ChatOptions options = kOptions;
  options.asked_local_s = 1'772'701'622;  // 5 March 2026, 09:07:02
  for (const Published& row : rows) check_published(path, row, kTalk, options);
}

// It takes no tool and no parameter without a description.
TEST(ChatTemplate, command_r_plus_renders_tools_and_calls_as_the_reference_does) {
  SEDGE_NEED_DATA(path, "tokenizers/llama.cpp/templates");
  ChatOptions options = kOptions;
  options.tools = tools_on_offer();
  for (json::Value& tool : options.tools) {
    for (auto& parameter : tool.at("function").at("parameters").at("properties").get_object()) {
      parameter.value().get_object()["description"] = fmt::format("The {}.", std::string_view(parameter.key()));
    }
  }
  const char* const file = "CohereForAI-c4ai-command-r-plus-tool_use.jinja";
  check_published(path, {file, true, 2684, 0xd56584cbd65fc848u}, talk_with_calls(), options);
  check_published(path, {file, false, 3195, 0x56fb13d15e8bc7b5u}, talk_with_calls(), options);
  check_published(path, {file, true, 2331, 0xb686d5905d5db19eu}, kTalk, options);
  check_published(path, {file, false, 2842, 0xbbe6f6a22406b0c5u}, kTalk, options);
}

TEST(ChatTemplate, a_refusal_of_the_template_is_the_callers_error) {
  const auto refused = render_chat("{{ raise_exception('no system role') }}", kTalk, kOptions);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_EQ(refused.error().message, "chat template, offset 18: the template refuses these messages: no system role");
}

TEST(ChatTemplate, errors_name_the_construct_and_its_offset) {
  const Case cases[] = {
      {"ab{% include 'x' %}", "chat template, offset 5: the tag 'include' is not supported"},
      {"{{ 1 | wordcount }}", "chat template, offset 7: the filter 'wordcount' is not supported"},
      {"{{ 1 is callable }}", "chat template, offset 5: the test 'callable' is not supported"},
      {"{{ strftime_now('%d') }}", "chat template, offset 15: the function 'strftime_now' is not supported"},
      {"{{ 'a'.format(1) }}", "chat template, offset 13: the method 'format' is not supported"},
      {"{{ 2 ** 3 }}", "chat template, offset 5: the operator ** is not supported"},
      {"{{ 1 < 2 < 3 }}", "chat template, offset 9: a chain of comparisons is not supported"},
      {"{{ x.y }}", "chat template, offset 4: '.y' of something undefined"},
      {"{{ 1 / 0 }}", "chat template, offset 5: division by zero"},
      {"{{ 'a' + 1 }}", "chat template, offset 7: string + integer"},
      {"{% if true %}x", "chat template, offset 14: the template ends, 'endif' is missing"},
      {"x{% endfor %}", "chat template, offset 1: 'endfor' closes nothing"},
      {"{% for x in [1] %}{% endif %}", "chat template, offset 18: 'endif' where 'endfor' is expected"},
      {"{% break %}", "chat template, offset 3: 'break' outside a loop"},
      {"{% nonsense %}", "chat template, offset 3: 'nonsense' is no tag"},
      {"{{ 'x", "chat template, offset 3: string without end"},
      {"{{ x", "chat template, offset 0: tag without end"},
      {"{{ \x01 }}", "chat template, offset 3: the character 0x01 has no meaning in a tag"},
      {"{# x", "chat template, offset 0: comment without end"},
      {"{% set x.y = 1 %}", "chat template, offset 3: 'x' is no namespace"},
      {"{% set a = namespace() %}{% set a.b = a %}", "chat template, offset 28: a namespace inside a namespace"},
  };
  for (const Case& each : cases) EXPECT_EQ(render(each.jinja), std::string("error: ") + each.text) << each.jinja;
}

TEST(ChatTemplate, a_template_that_works_forever_is_stopped) {
  const char* const endless[] = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% set ns = namespace(s='xxxxxxxx') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for a in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for a in range(30) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
      "{% set ns = namespace(s=[1]) %}{% for a in range(30) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s == ns.s "
      "}}",
      "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
      "{{ range(1000000000000) }}",
      "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(19) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"
      "{{ ns.s.find(ns.s[:2000000] + 'b') }}",
      "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(19) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"
      "{{ ns.s.count(ns.s[:2000000] + 'b') }}{{ ns.s.replace(ns.s[:2000000] + 'b', '') }}",
      "{% set ns = namespace(s='\n\n\n\n\n\n\n\n') %}{% for i in range(18) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"
      "{{ ns.s.splitlines() | length }}",
      "{% set ns = namespace(s='a,a,a,a,') %}{% for i in range(18) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"
      "{{ ns.s.split(',') | length }}",
  };
  for (const char* jinja : endless) {
    const auto stopped = render_chat(jinja, kTalk, kOptions);
    ASSERT_FALSE(stopped) << jinja;
    EXPECT_EQ(stopped.error().code, Code::kResourceExhausted) << stopped.error().message;
  }
  for (const char* part :
       {"(", "[", "{'a':", "not ", "-", "a[", "1+", "'a'|upper|", "{% if x %}", "x if y else ", "x."}) {
    std::string deep = part[0] == '{' && part[1] == '%' ? "" : "{{ ";
    for (int i = 0; i < 20'000; ++i) deep += part;
    EXPECT_FALSE(check_chat_template(deep + "x }}")) << part;
  }
}

TEST(ChatTemplate, any_text_is_a_template_or_an_error) {
  const std::vector<std::string> words = {"{{", "}}",   "{%",     "%}",  "-%}", "{%-", "if", "for", "x",   "in",
                                          "is", "not",  "endfor", "end", "(",   ")",   "[",  "]",   ":",   ",",
                                          "1",  "'a'",  "|",      "+",   "-",   "~",   "=",  "==",  "set", "macro",
                                          ".",  "loop", "else",   "{",   "}",   "\n",  " ",  "{#",  "#}",  "messages"};
  EXPECT_TRUE(rc::check([&] {
    std::string jinja;
    for (const auto& word : *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(words))) {
      jinja += word + " ";
    }
    (void)render_chat(jinja, kTalk, kOptions);
  }));
}

}  // namespace
}  // namespace sedge::model
