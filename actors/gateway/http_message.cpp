#include "actors/gateway/http_message.hpp"

#include <array>
#include <ctime>

#include <fmt/format.h>

#include "runtime/messages/openai.hpp"

namespace troupe {
namespace {

/// How long a client should wait: credits return within a step or two, a restart takes a few
/// seconds. None where asking again is no use, or the code alone does not say when.
constexpr std::optional<std::chrono::seconds> retry_after(errc code) noexcept {
  switch (code) {
    case errc::overloaded: return std::chrono::seconds{1};
    case errc::out_of_memory:
    case errc::unavailable: return std::chrono::seconds{5};
    default: return std::nullopt;
  }
}

constexpr std::string_view reason_of(unsigned status) noexcept {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";  // nginx's
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
  }
}

/// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, section 5.6.7). Names are ours: strftime's follow the
/// locale.
std::string date_now() {
  static constexpr std::array<std::string_view, 7> days{"Sun", "Mon", "Tue", "Wed",
                                                        "Thu", "Fri", "Sat"};
  static constexpr std::array<std::string_view, 12> months{
      "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                     days[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                     months[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                     utc.tm_min, utc.tm_sec);
}

std::string format_head(unsigned status, std::string_view content_type, const http_fields& fields,
                        bool keep_alive) {
  std::string out = fmt::format(
      "HTTP/1.1 {} {}\r\nServer: troupe\r\nDate: {}\r\nContent-Type: {}\r\nConnection: {}\r\n"
      "Access-Control-Allow-Origin: *\r\n",
      status, reason_of(status), date_now(), content_type, keep_alive ? "keep-alive" : "close");
  for (const auto& [name, value] : fields) {
    out.append(name).append(": ").append(value).append("\r\n");
  }
  return out;
}

}  // namespace

http_reply make_error_reply(const error& failure, unsigned status) {
  http_reply reply;
  reply.status = status != 0 ? status : http_status_of(failure.code);
  reply.body = openai_error(failure, reply.status);
  if (const auto wait = retry_after(failure.code)) add_retry_after(reply, *wait);
  if (reply.status == 401) reply.fields.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

void add_retry_after(http_reply& reply, std::chrono::milliseconds wait) {
  reply.fields.emplace_back(
      "Retry-After", fmt::format("{}", std::chrono::ceil<std::chrono::seconds>(wait).count()));
}

std::string format_reply(const http_reply& reply, bool head_only, bool keep_alive) {
  std::string out = format_head(reply.status, reply.content_type, reply.fields, keep_alive);
  out += fmt::format("Content-Length: {}\r\n\r\n", reply.body.size());
  if (!head_only) out += reply.body;
  return out;
}

std::string format_stream_head(const http_fields& fields, bool chunked, bool keep_alive) {
  std::string out = format_head(200, "text/event-stream; charset=utf-8", fields, keep_alive);
  // X-Accel-Buffering is read by nginx, which otherwise holds events back.
  out += "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";
  if (chunked) out += "Transfer-Encoding: chunked\r\n";
  out += "\r\n";
  return out;
}

void append_chunk(std::string& out, std::string_view data) {
  fmt::format_to(std::back_inserter(out), "{:x}\r\n", data.size());
  out.append(data).append("\r\n");
}

}  // namespace troupe
