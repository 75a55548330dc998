// The interpreter's limits against hostile templates, and a seeded fuzz of damaged ones: whatever
// the source, loading and rendering end with a text or an error. Run it under sanitizers, too.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "config/limits.hpp"
#include "runtime/text/chat_template.hpp"

using troupe::chat_template;
using json = chat_template::json;

namespace {

chat_template::inputs conversation() {
  chat_template::inputs inputs;
  inputs.messages = json::parse(R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Grüße 🤖"},
    {"role": "assistant", "content": null, "tool_calls": [
      {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": {"x": 1.5}}}]},
    {"role": "tool", "content": "ok", "tool_call_id": "abcdefghi"},
    {"role": "user", "content": [{"type": "text", "text": "parts"}]}])");
  inputs.tools = json::parse(
      R"([{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}])");
  return inputs;
}

/// The error of a template that must not finish, or the text if it does.
std::string outcome(const std::string& source) {
  const auto parsed = chat_template::parse(source);
  if (!parsed) return "load: " + parsed.failure().message;
  const auto text = parsed->render(conversation());
  return text ? "text: " + text->substr(0, 200) : "render: " + text.failure().message;
}

std::string repeat(const std::string& part, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += part;
  return out;
}

}  // namespace

TEST_CASE("loops that take too long are stopped") {
  const std::string nested =
      "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}";
  CHECK_THAT(outcome(nested), Catch::Contains("more than"));
  CHECK_THAT(outcome("{{ range(1000000000) }}"), Catch::Contains("Range too big"));
  CHECK_THAT(outcome("{{ range(0, 9223372036854775807, 2) }}"), Catch::Contains("Range too big"));
  CHECK_THAT(outcome("{{ range(-9223372036854775807, 9223372036854775807) }}"),
             Catch::Contains("Range too big"));
  CHECK_THAT(outcome("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
             Catch::Contains("recursion"));
  CHECK_THAT(outcome("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
             Catch::Contains("recursion"));
}

TEST_CASE("values that grow too large are refused before they are made") {
  CHECK_THAT(outcome("{{ 'x' * 999999999999 }}"), Catch::Contains("string of more than"));
  CHECK_THAT(outcome("{{ 'x' * 9223372036854775807 }}"), Catch::Contains("string of more than"));
  CHECK_THAT(outcome("{{ [1] * 999999999 }}"), Catch::Contains("more than"));
  CHECK_THAT(outcome("{{ 'x'.center(99999999999) }}"), Catch::Contains("string of more than"));
  CHECK_THAT(outcome("{{ 'x'.zfill(99999999999) }}"), Catch::Contains("string of more than"));
  CHECK_THAT(outcome("{{ 'x'|indent(99999999999, true) }}"), Catch::Contains("more than"));
  CHECK_THAT(outcome("{{ [1]|tojson(indent=99999999999) }}"), Catch::Contains("more than"));
  CHECK_THAT(outcome("{{ '%999999999d' % 1 }}"), Catch::Contains("too big"));
  CHECK_THAT(outcome("{{ '{:999999999}'.format(1) }}"), Catch::Contains("render: "));
  CHECK_THAT(outcome("{{ ('a' * 100000).replace('a', 'b' * 100000) }}"),
             Catch::Contains("string of more than"));
  CHECK_THAT(outcome("{{ ('a,' * 100000).split(',') | join('b' * 100000) }}"),
             Catch::Contains("more than"));
  CHECK_THAT(outcome("{% set ns = namespace(x='ab') %}{% for i in range(99) %}"
                     "{% set ns.x = ns.x ~ ns.x %}{% endfor %}"),
             Catch::Contains("string of more than"));
  CHECK_THAT(outcome("{% set x = 'y' * 1000000 %}{% for i in range(9999) %}{{ x }}{% endfor %}"),
             Catch::Contains("more than"));
}

TEST_CASE("values that nest too deeply are refused") {
  const std::string grow = "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = ";
  CHECK_THAT(outcome(grow + "[ns.x] %}{% endfor %}"), Catch::Contains("too deeply"));
  CHECK_THAT(outcome(grow + "{'a': ns.x} %}{% endfor %}"), Catch::Contains("too deeply"));
  CHECK_THAT(outcome(grow + "[ns.x]|map('list') %}{% endfor %}"), Catch::Contains("render: "));
  CHECK_THAT(outcome(grow + "[ns.x]|select %}{% endfor %}"), Catch::Contains("too deeply"));
  CHECK_THAT(outcome(grow + "[ns.x].index %}{% endfor %}"), Catch::Contains("too deeply"));
  CHECK_THAT(outcome(grow + "{1: ns.x}.items() %}{% endfor %}"), Catch::Contains("too deeply"));
  CHECK_THAT(outcome(grow + "cycler(ns.x) %}{% endfor %}"), Catch::Contains("too deeply"));
  // Sharing doubles what a walk over the value takes, but not its memory.
  CHECK_THAT(outcome(grow + "[ns.x, ns.x] %}{% endfor %}"), Catch::Contains("grows too large"));
  CHECK_THAT(outcome("{% set a = namespace() %}{% set a.a = a %}{{ a }}"),
             Catch::Contains("recursion"));
}

TEST_CASE("chains through loops, macros and namespaces end without deep recursion") {
  CHECK_THAT(outcome("{% set ns = namespace(l=0) %}{% for i in range(20000) %}"
                     "{% for x in [ns.l] %}{% set ns.l = loop %}{% endfor %}{% endfor %}done"),
             Catch::Contains("done"));
  CHECK_THAT(outcome("{% set ns = namespace(m=0) %}{% for i in range(20000) %}{% set old = ns.m %}"
                     "{% macro m() %}{{ old }}{% endmacro %}{% set ns.m = m %}{% endfor %}done"),
             Catch::Contains("done"));
  CHECK_THAT(outcome("{% macro keep(ns) %}{% set ns.c = caller %}{% endmacro %}"
                     "{% set ns = namespace(c=0) %}{% for i in range(20000) %}{% with c = ns.c %}"
                     "{% call keep(ns) %}{{ c }}{% endcall %}{% endwith %}{% endfor %}done"),
             Catch::Contains("done"));
  CHECK_THAT(outcome("{% set ns = namespace(n=0) %}{% for i in range(20000) %}"
                     "{% set ns.n = namespace(old=ns.n) %}{% endfor %}done"),
             Catch::Contains("done"));
  CHECK_THAT(outcome("{% set ns = namespace(c=0) %}{% for i in range(20000) %}{% for x in [1] %}"
                     "{% set y = loop.changed(ns.c) %}{% set ns.c = loop.changed %}{% endfor %}"
                     "{% endfor %}done"),
             Catch::Contains("done"));
}

TEST_CASE("source that nests too deeply is refused at load") {
  for (const auto& source :
       {"{{ " + repeat("(", 5000) + "1" + repeat(")", 5000) + " }}",
        "{{ " + repeat("[", 5000) + repeat("]", 5000) + " }}",
        "{{ " + repeat("not ", 5000) + "1 }}", "{{ " + repeat("-", 5000) + "1 }}",
        "{{ a" + repeat(".a", 5000) + " }}", "{{ 1" + repeat("+1", 5000) + " }}",
        "{{ 1" + repeat(" if 1 else 1", 5000) + " }}", "{{ a" + repeat("|list", 5000) + " }}",
        "{{ a" + repeat("()", 5000) + " }}", repeat("{% if 1 %}", 5000),
        repeat("{% for a in b %}", 5000), repeat("{% macro m() %}", 5000),
        "{% set " + repeat("(", 5000) + "a" + repeat(")", 5000) + " = 1 %}"}) {
    INFO(source.substr(0, 60));
    const auto parsed = chat_template::parse(source);
    REQUIRE_FALSE(parsed);
    CHECK_THAT(parsed.failure().message, Catch::Contains("deep"));
  }
  CHECK_THAT(outcome("{{ 1" + repeat(" ~ 1", 5000) + " }}"), Catch::Contains("text: 111"));
  CHECK_THAT(outcome("{% if 0 %}" + repeat("{% elif 0 %}", 5000) + "{% else %}x{% endif %}"),
             Catch::Contains("text: x"));
}

TEST_CASE("nothing outside of the template can be reached or changed") {
  for (const std::string source :
       {"{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ messages[0].pop('role') }}",
        "{{ messages[0].update({}) }}", "{{ messages.clear() }}", "{{ {}.__init__.__globals__ }}",
        "{{ ''['__class__']['__base__'] }}", "{{ namespace(__x=1) }}",
        "{{ ''|attr('__class__')|attr('__mro__') }}", "{% set messages.x = 1 %}",
        "{{ '{0.__class__.__mro__}'.format(1) }}", "{{ raise_exception.__globals__.x }}"}) {
    INFO(source);
    CHECK_THAT(outcome(source), Catch::Contains("render: "));
  }
}

TEST_CASE("a damaged template gives a text or an error") {
  const char* given = std::getenv("TROUPE_FUZZ_SEED");
  const auto seed = static_cast<std::uint32_t>(given != nullptr ? std::stoul(given) : 20240801);
  std::cout << "damaged templates: seed " << seed << "\n";
  std::mt19937 random(seed);
  std::vector<std::string> sources;
  const auto folder = std::filesystem::path(TROUPE_SOURCE_DIR) / "tests/data/templates";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path());
    std::stringstream text;
    text << file.rdbuf();
    sources.push_back(text.str());
  }
  std::sort(sources.begin(), sources.end());
  REQUIRE_FALSE(sources.empty());
  const std::vector<std::string> pieces = {"{{",
                                           "}}",
                                           "{%",
                                           "%}",
                                           "-",
                                           "(",
                                           ")",
                                           "[",
                                           "]",
                                           "{",
                                           "}",
                                           "'",
                                           "\"",
                                           "|",
                                           ".",
                                           "~",
                                           "\\",
                                           "\n",
                                           " if ",
                                           " else ",
                                           " in ",
                                           " is ",
                                           " not ",
                                           "loop",
                                           "messages",
                                           "|tojson",
                                           "|list",
                                           "[::-1]",
                                           "|map('upper')",
                                           "9223372036854775807",
                                           "-1",
                                           "1e308",
                                           "*",
                                           "**",
                                           "%",
                                           "//",
                                           "none",
                                           "é",
                                           "🤖",
                                           "{% for x in messages %}",
                                           "{% endfor %}",
                                           "|sort",
                                           "|first",
                                           ".items()",
                                           "|int",
                                           "#}"};
  const auto below = [&](std::size_t bound) { return random() % bound; };
  const auto inputs = conversation();
  int texts = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string source = sources[below(sources.size())];
    const std::size_t start = below(source.size());
    source = source.substr(start, 50 + below(1500));
    for (std::size_t edits = below(6); edits > 0; --edits) {
      const std::size_t at = below(source.size() + 1);
      switch (below(4)) {
        case 0: source.insert(at, pieces[below(pieces.size())]); break;
        case 1: source.erase(at, below(12)); break;
        case 2: source.insert(at, source.substr(below(source.size() + 1), below(80))); break;
        default:
          if (at < source.size()) source[at] = static_cast<char>(below(128));
      }
    }
    const auto parsed = chat_template::parse(source);
    if (parsed && parsed->render(inputs)) ++texts;
  }
  INFO("seed " << seed);
  CHECK(texts > 100);
}
