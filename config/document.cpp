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

std::string row_of(const tenant_key& key) {
  tenant_config defaults;
  const config_field field = key.field(defaults);
  return "| `" + key.path + "` | " + type_name_of(field) + " | `" + value_text_of(field) + "` | " +
         key.range_text() + " | " + key.meaning() + " |\n";
}

constexpr const char* table_head =
    "| key | type | default | range | meaning |\n"
    "| --- | --- | --- | --- | --- |\n";

std::string tenants_section() {
  std::string out =
      "\n## Tenants\n"
      "\n"
      "`tenants` is a list of maps, in the file only. Without it every HTTP key is a tenant of its "
      "own and all\n"
      "ZeroMQ clients are one, each with all lanes and no limit. With it, whoever is none of the "
      "tenants listed has the\n"
      "lanes `realtime` and `async`.\n"
      "\n"
      "```yaml\n"
      "tenants:\n"
      "  - name: trading\n"
      "    api_keys: [k-5f2c]\n"
      "    zmq_identities: [\"trading-*\"]\n"
      "    lanes: [vip, realtime]\n"
      "    tokens_per_second: 2000\n"
      "    burst_tokens: 8000\n"
      "    over_rate: demote\n"
      "  - name: reports\n"
      "    api_keys: [k-91ab]\n"
      "    lanes: [async]\n"
      "```\n"
      "\n";
  out += table_head;
  for (const tenant_key& key : tenant_schema()) out += row_of(key);
  return out +
         "\n"
         "A request is charged its prompt and `max_tokens` of each sequence when it is admitted, "
         "and what it did not use comes\n"
         "back when it ends; so `max_tokens` should be given. It is admitted while the tenant's "
         "allowance is above zero,\n"
         "which its charge may take below: no request is too long for a burst, and over time no "
         "more than the rate is used.\n";
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
      out += "\n## " + group + "\n\n" + table_head;
    }
    out += row_of(key);
  }
  return out + tenants_section();
}

}  // namespace troupe
