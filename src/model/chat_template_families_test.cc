// What published templates ask for beyond the language: the date, and the constructs of three families, in templates
// that are short and our own. Every expected text was printed by jinja2 3.1.6 and Python's strftime.
#include "model/chat_template.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "model/chat_template_time.h"

namespace sedge::model {
namespace {

constexpr std::int64_t kMarch = 1'772'701'622;  // Thursday, 5 March 2026, 09:07:02

const std::vector<ChatMessage> kTalk = {{"system", " Be brief. "},
                                        {"user", "Where are you?"},
                                        {"assistant", "In the north field."},
                                        {"user", "Come back!"}};

std::string render(std::string_view jinja, const std::vector<ChatMessage>& messages = kTalk, json::Array tools = {}) {
  const ChatOptions options = {
      .bos_token = "<s>", .eos_token = "</s>", .tools = std::move(tools), .asked_local_s = kMarch};
  const auto text = render_chat(jinja, messages, options);
  return text ? *text : "error: " + text.error().message;
}

TEST(ChatTemplateTime, every_specifier_is_pythons) {
  struct Case {
    const char* format;
    const char* text;
    std::int64_t local_s = kMarch;
  };
  constexpr std::int64_t kNewYearsEve = 1'735'603'200;  // 31 December 2024, 00:00:00
  const Case cases[] = {
      {"%d %b %B %Y %m", "05 Mar March 2026 03"},
      {"%H:%M:%S %y %a %A", "09:07:02 26 Thu Thursday"},
      {"%j %p %I %% %e", "064 AM 09 %  5"},
      {"%-d %-m %-H %-I %-M %-S %-j %-y", "5 3 9 9 7 2 64 26"},
      {"%d %b %Y %j %I %p %-H %A", "31 Dec 2024 366 12 AM 0 Tuesday", kNewYearsEve},
      {"%I:%M %p", "12:00 PM", kNewYearsEve + 43'200},
      {"%A %d %B %Y %H:%M:%S", "Wednesday 31 December 1969 23:59:59", -1},
      {"%d %b %Y", "29 Feb 2000", 951'782'400},
      {"h\xc3\xa9", "h\xc3\xa9"},
      {"", ""},
  };
  for (const Case& each : cases) {
    EXPECT_EQ(jinja::format_time(each.format, each.local_s).value(), each.text) << each.format;
  }
}

TEST(ChatTemplateTime, what_it_does_not_know_is_named_and_years_have_bounds) {
  const auto message = [](std::string_view format) { return jinja::format_time(format, kMarch).error().message; };
  EXPECT_EQ(message("%d %Q"), "strftime's '%Q' is not supported");
  EXPECT_EQ(message("%Z"), "strftime's '%Z' is not supported");
  EXPECT_EQ(message("%-B"), "strftime's '%-B' is not supported");
  EXPECT_EQ(message("100 %"), "a strftime format that ends in '%'");
  EXPECT_EQ(message("%-"), "a strftime format that ends in '%-'");
  EXPECT_EQ(jinja::format_time("%Y", -62'135'596'800).value(), "1");
  EXPECT_EQ(jinja::format_time("%Y", 253'402'300'799).value(), "9999");
  for (const std::int64_t far : {std::int64_t{-62'135'596'801}, std::int64_t{253'402'300'800}, INT64_MIN, INT64_MAX}) {
    EXPECT_EQ(jinja::format_time("", far).error().code, Code::kInvalidArgument) << far;
  }
}

TEST(ChatTemplate, the_date_is_that_of_who_asks) {
  EXPECT_EQ(render("{{ strftime_now('%d %B %Y') }}"), "05 March 2026");
  EXPECT_EQ(render("{% if strftime_now is defined %}{% set day = strftime_now(\"%d %b %Y\") %}{% endif %}{{ day }}"),
            "05 Mar 2026");
  EXPECT_EQ(render("{{ datetime }}"), "2026-03-05 09:07:02");
  EXPECT_EQ(render("{{ strftime_now('%G') }}"), "error: chat template, offset 15: strftime's '%G' is not supported");
  EXPECT_EQ(render("{{ strftime_now() }}"),
            "error: chat template, offset 15: strftime needs a string, this is undefined");
  EXPECT_EQ(render("{{ [strftime_now] }}"), "error: chat template, offset 3: a method inside a container");
  EXPECT_EQ(render("{{ strftime_now }}"), "error: chat template, offset 0: a value of type method cannot be spelled");
}

TEST(ChatTemplate, without_a_date_a_template_that_can_do_without_does) {
  const char* const jinja = "{{ strftime_now('%Y') if strftime_now is defined else 'no year' }}";
  EXPECT_EQ(render_chat(jinja, kTalk).value(), "no year");
  EXPECT_EQ(render(jinja), "2026");
}

constexpr const char* kSmolShape =
    R"jinja({%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}
{%- set mode = "/think" if enable_thinking else "/no_think" -%}
{{- "<|im_start|>system\n" -}}
{%- if messages[0].role == "system" -%}
  {%- set told = messages[0].content -%}
  {%- if "/no_think" in told -%}{%- set mode = "/no_think" -%}{%- endif -%}
  {%- set custom = told.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- endif -%}
{%- set today = strftime_now("%d %B %Y") -%}
{{- "Today: " ~ today ~ "\n" -}}
{{- "Mode: " + mode + "\n\n" -}}
{%- if custom -%}{{- custom + "\n" -}}{%- endif -%}
{%- if xml_tools -%}
  {%- set ns = namespace(list="") -%}
  {%- for tool in xml_tools[:] -%}{%- set ns.list = ns.list ~ (tool | string) ~ "\n" -%}{%- endfor -%}
  {{- ns.list -}}
{%- endif -%}
{{- "<|im_end|>\n" -}}
{%- for message in messages -%}
  {%- set content = message.content if message.content is string else "" -%}
  {%- if message.role == "user" -%}{{ "<|im_start|>user\n" + content + "<|im_end|>\n" }}
  {%- elif message.role == "assistant" -%}
    {% generation %}{{ "<|im_start|>assistant\n" + content.lstrip("\n") + "<|im_end|>\n" }}{% endgeneration %}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{ "<|im_start|>assistant\n" if mode == "/think" else "<|im_start|>assistant\n<think>\n\n</think>\n" }}
{%- endif -%}
)jinja";

constexpr const char* kQwenShape = R"jinja({%- set ns = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
  {%- set index = (messages|length - 1) - loop.index0 %}
  {%- if ns.searching and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
    {%- set ns.searching = false %}
    {%- set ns.last = index %}
  {%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- set content = message.content if message.content is string else '' %}
  {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
    {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
  {%- elif message.role == "assistant" %}
    {%- set thought = '' %}
    {%- if message.reasoning_content is string %}
      {%- set thought = message.reasoning_content %}
    {%- elif '</think>' in content %}
      {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
      {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {%- if loop.index0 > ns.last and (loop.last or (not loop.last and thought)) %}
      {{- '<|im_start|>' + message.role + '\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content }}
    {%- else %}
      {{- '<|im_start|>' + message.role + '\n' + content }}
    {%- endif %}
    {%- for call in message.tool_calls or [] %}
      {%- if (loop.first and content) or (not loop.first) %}{{- '\n' }}{%- endif %}
      {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
      {%- if call.function.arguments is string %}{{- call.function.arguments }}
      {%- else %}{{- call.function.arguments | tojson }}{%- endif %}
      {{- '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
  {%- elif message.role == "tool" %}
    {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
    {{- '\n<tool_response>\n' + content + '\n</tool_response>' }}
    {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\n' }}{%- endif %}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\n' }}
  {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %})jinja";

constexpr const char* kGemmaShape = R"jinja({{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set prefix = "" -%}
    {%- set rest = messages -%}
{%- endif -%}
{%- for message in rest -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Turns must alternate") }}
    {%- endif -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}
        {%- endfor -%}
    {%- else -%}{{ raise_exception("Invalid content type") }}{%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}
)jinja";

json::Array tools_of(const char* text) { return json::parse(text, "tools")->get_array(); }

TEST(ChatTemplate, what_smollm3_uses_renders_as_in_jinja) {
  EXPECT_EQ(render(kSmolShape),
            "<|im_start|>system\nToday: 05 March 2026\nMode: /think\n\n Be brief.\n<|im_end|>\n<|im_start|>user\n"
            "Where are you?<|im_end|>\n<|im_start|>assistant\nIn the north field.<|im_end|>\n<|im_start|>user\n"
            "Come back!<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render(kSmolShape, {{"system", "Be brief. /no_think"}, kTalk[1]}),
            "<|im_start|>system\nToday: 05 March 2026\nMode: /no_think\n\nBe brief.\n<|im_end|>\n<|im_start|>user\n"
            "Where are you?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n");
  EXPECT_EQ(
      render(kSmolShape, {kTalk[0], kTalk[1]},
             tools_of(R"([{"type": "function", "function": {"name": "wait", "description": "Stand still.",
                       "parameters": {"type": "object", "properties": {"s": {"type": "integer"}}}}}])")),
      "<|im_start|>system\nToday: 05 March 2026\nMode: /think\n\n Be brief.\n{'type': 'function', 'function': "
      "{'name': 'wait', 'description': 'Stand still.', 'parameters': {'type': 'object', 'properties': {'s': {'type': "
      "'integer'}}}}}\n<|im_end|>\n<|im_start|>user\nWhere are you?<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, what_qwen3_uses_renders_as_in_jinja) {
  EXPECT_EQ(render(kQwenShape),
            "<|im_start|>user\nWhere are you?<|im_end|>\n<|im_start|>assistant\nIn the north field.<|im_end|>\n"
            "<|im_start|>user\nCome back!<|im_end|>\n<|im_start|>assistant\n");
  const json::Object call = json::parse(R"({"tool_calls": [{"id": "a1b2c3d40", "type": "function", "function":
      {"name": "go_to", "arguments": {"place": "dock", "speed": 0.5, "tags": ["\u00e9", null]}}}]})",
                                        "call")
                                ->get_object();
  EXPECT_EQ(render(kQwenShape, {{"user", "Go home!"},
                                {"assistant", "<think>\nFar.\n</think>\n\nGoing.", call},
                                {"tool", "{}"},
                                {"tool", "done"}}),
            "<|im_start|>user\nGo home!<|im_end|>\n<|im_start|>assistant\n<think>\nFar.\n</think>\n\nGoing.\n"
            "<tool_call>\n{\"name\": \"go_to\", \"arguments\": {\"place\": \"dock\", \"speed\": 0.5, \"tags\": "
            "[\"\xc3\xa9\", null]}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n{}\n</tool_response>\n"
            "<tool_response>\ndone\n</tool_response><|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, what_gemma3_uses_renders_as_in_jinja) {
  EXPECT_EQ(render(kGemmaShape),
            "<s><start_of_turn>user\n Be brief. \n\nWhere are you?<end_of_turn>\n<start_of_turn>model\n"
            "In the north field.<end_of_turn>\n<start_of_turn>user\nCome back!<end_of_turn>\n<start_of_turn>model\n");
  EXPECT_NE(render(kGemmaShape, {kTalk[1], kTalk[1]}).find("Turns must alternate"), std::string::npos);
}

}  // namespace
}  // namespace sedge::model
