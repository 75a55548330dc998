#include "bench/serve/load_transport.hpp"

#include <fmt/format.h>

namespace troupe::bench {

result<std::unique_ptr<load_transport>> open_transport(const std::string& url,
                                                       const std::string& api_key) {
  const bool is_http = url.starts_with("http://");
  const error bad{errc::invalid_argument,
                  fmt::format("\"{}\" is neither http://HOST:PORT nor tcp://HOST:PORT", url)};
  if (!is_http && !url.starts_with("tcp://")) return bad;
  std::string_view place = std::string_view(url).substr(is_http ? 7 : 6);
  if (is_http && place.ends_with('/')) place.remove_suffix(1);
  const std::size_t colon = place.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == place.size() ||
      place.find_first_not_of("0123456789", colon + 1) != std::string_view::npos)
    return bad;
  if (!is_http) return open_zmq_load(url);
  std::string_view host = place.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return open_http_load(std::string(host), std::string(place.substr(colon + 1)), api_key);
}

}  // namespace troupe::bench
