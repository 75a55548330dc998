// docs/config.md: one table for each group of keys.
#include "config/load.hpp"

namespace troupe {
namespace {

std::string row_of(const config_key& key) {
  std::string name = "`" + key.path + "`";
  if (!key.alias.empty()) name += " (also `" + key.alias + "`)";
  const std::string range = key.range_text();
  return "| " + name + " | " + key.type_name() + " | `" + key.value_text(server_config{}) + "` | " +
         (range.empty() ? "" : range) + " | " + key.meaning() + " |\n";
}

}  // namespace

std::string config_document() {
  std::string out =
      "# Configuration\n"
      "\n"
      "`troupe serve --config server.yaml` reads a YAML file. Every key is a command-line flag, "
      "too: "
      "dots and\n"
      "underscores become hyphens (`lanes.vip.ttft_ms` is `--lanes-vip-ttft-ms`), and a flag wins "
      "over "
      "the\n"
      "file. Keys without a dot may stand at the top of the file or under `engine:`; keys with "
      "dots are "
      "nested\n"
      "maps. An unknown key is an error. A key that is accepted and not acted on yet says so here, "
      "and\n"
      "`troupe serve` warns when it is set. Presets with comments are in `config/presets/`.\n"
      "\n"
      "This page is generated from the schema (`config/schema_table.cpp`); a test keeps them "
      "equal.\n";
  std::string group;
  for (const config_key& key : config_schema()) {
    if (key.group != group) {
      group = key.group;
      out += "\n## " + group +
             "\n\n| key | type | default | range | meaning |\n"
             "| --- | --- | --- | --- | --- |\n";
    }
    out += row_of(key);
  }
  return out;
}

}  // namespace troupe
