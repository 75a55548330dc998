// The keys of one entry of `tenants`. A row names no default: that is the initializer in
// config.hpp.
#include <utility>

#include "config/schema.hpp"

namespace troupe {
namespace {

template <auto Member>
config_field in_tenant(tenant_config& tenant) {
  return &(tenant.*Member);
}

tenant_key row(std::string path, config_field (*field)(tenant_config&), std::string doc) {
  tenant_key key;
  key.path = std::move(path);
  key.doc = std::move(doc);
  key.field = field;
  return key;
}

tenant_key number_row(std::string path, config_field (*field)(tenant_config&), double min,
                      double max, std::string unit, std::string doc) {
  tenant_key key = row(std::move(path), field, std::move(doc));
  key.min = min;
  key.max = max;
  key.unit = std::move(unit);
  return key;
}

tenant_key choice_row(std::string path, config_field (*field)(tenant_config&),
                      std::vector<std::string> choices, std::string doc) {
  tenant_key key = row(std::move(path), field, std::move(doc));
  key.choices = std::move(choices);
  return key;
}

std::vector<tenant_key> make_schema() {
  using tenant = tenant_config;
  std::vector<tenant_key> rows{
      row("name", in_tenant<&tenant::name>,
          "What the tenant is called: 1 to 64 letters, digits, `-`, `_` and `.`; must be given."),
      row("api_keys", in_tenant<&tenant::api_keys>,
          "The HTTP keys that are this tenant's; it needs one, or one of zmq_identities."),
      row("zmq_identities", in_tenant<&tenant::zmq_identities>,
          "The routing ids of ZeroMQ clients that are this tenant's; a closing `*` makes one a "
          "prefix (it stands nowhere else), and the longest that fits decides. Nothing proves an "
          "identity."),
      choice_row("lanes", in_tenant<&tenant::lanes>, {"vip", "realtime", "async"},
                 "The lanes that it may ask for; another is refused as `permission_denied`."),
      number_row("tokens_per_second", in_tenant<&tenant::tokens_per_second>, 0, 1e9, "tokens/s",
                 "Its rate of prompt and output tokens together; 0: no limit."),
      number_row("burst_tokens", in_tenant<&tenant::burst_tokens>, 0, 1u << 30, "tokens",
                 "What may be used at once after a pause; 0: ten seconds of tokens_per_second."),
      choice_row("over_rate", in_tenant<&tenant::over_rate>, {"refuse", "demote"},
                 "Above the rate: refuse at once (`rate_limited`), or run in the async lane, "
                 "uncharged: for tenants with another lane."),
      number_row("share", in_tenant<&tenant::share>, 0.001, 1000, "",
                 "Its weight among the tenants whose requests wait in a lane: they are admitted in "
                 "proportion to it, in prompt and output tokens."),
  };
  return rows;
}

}  // namespace

const std::vector<tenant_key>& tenant_schema() {
  static const std::vector<tenant_key> schema = make_schema();
  return schema;
}

}  // namespace troupe
