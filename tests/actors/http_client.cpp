#include "tests/actors/http_client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <stdexcept>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace troupe::test {
namespace {

// Far beyond what any reply takes, also under sanitizers on a busy machine.
constexpr int wait_ms_max = 30'000;

void require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(std::string("http_client: ") + what);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

http_client::http_client(std::uint16_t port, int receive_buffer_bytes) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(socket_ >= 0, "no socket");
  if (receive_buffer_bytes > 0) {
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  require(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0,
          "cannot connect");
}

http_client::~http_client() {
  close();
}

http_client::http_client(http_client&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)), received_(std::move(other.received_)) {}

void http_client::send(std::string_view bytes) {
  require(try_send(bytes), "cannot send");
}

bool http_client::try_send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool http_client::receive() {
  pollfd waiting{socket_, POLLIN, 0};
  require(poll(&waiting, 1, wait_ms_max) == 1, "nothing received before the deadline");
  std::array<char, 65'536> chunk;
  const ssize_t count = recv(socket_, chunk.data(), chunk.size(), 0);
  if (count <= 0) return false;
  received_.append(chunk.data(), static_cast<std::size_t>(count));
  return true;
}

std::string http_client::read_until(std::string_view text) {
  std::size_t at = 0;
  while ((at = received_.find(text)) == std::string::npos) {
    require(receive(), "the connection ended early");
  }
  std::string out = received_.substr(0, at + text.size());
  received_.erase(0, out.size());
  return out;
}

void http_client::wait_for(std::string_view text) {
  while (received_.find(text) == std::string::npos) {
    require(receive(), "the connection ended early");
  }
}

http_answer http_client::read_answer(bool head_only) {
  http_answer answer;
  std::string head = read_until("\r\n\r\n");
  require(head.starts_with("HTTP/1.1 ") && head.size() > 12, "not a status line");
  answer.status = static_cast<unsigned>(std::stoul(head.substr(9, 3)));
  for (std::size_t at = head.find("\r\n") + 2; at + 2 < head.size();) {
    const std::size_t end = head.find("\r\n", at);
    const std::string line = head.substr(at, end - at);
    const std::size_t colon = line.find(": ");
    require(colon != std::string::npos, "not a header field");
    answer.fields[lower(line.substr(0, colon))] = line.substr(colon + 2);
    at = end + 2;
  }
  if (head_only || answer.status == 100) return answer;
  if (answer.fields.contains("transfer-encoding")) {
    for (;;) {
      const std::size_t length = std::stoul(read_until("\r\n"), nullptr, 16);
      while (received_.size() < length + 2) require(receive(), "the connection ended in a chunk");
      answer.body.append(received_, 0, length);
      require(received_.compare(length, 2, "\r\n") == 0, "a chunk does not end where it says");
      received_.erase(0, length + 2);
      if (length == 0) return answer;
      ++answer.chunk_count;
    }
  }
  if (!answer.fields.contains("content-length")) {
    answer.body = read_to_end();
    return answer;
  }
  const std::size_t length = std::stoul(answer.fields.at("content-length"));
  while (received_.size() < length) require(receive(), "the connection ended in a body");
  answer.body = received_.substr(0, length);
  received_.erase(0, length);
  return answer;
}

bool http_client::is_at_end() {
  return received_.empty() && !receive();
}

std::string http_client::read_to_end() {
  while (receive()) {
  }
  return std::exchange(received_, {});
}

void http_client::close_sending() {
  shutdown(socket_, SHUT_WR);
}

void http_client::close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

std::string get(std::string_view path, std::string_view fields) {
  return std::string("GET ").append(path).append(" HTTP/1.1\r\nHost: test\r\n").append(fields) +
         "\r\n";
}

std::string post(std::string_view path, std::string_view body, std::string_view fields) {
  return std::string("POST ")
      .append(path)
      .append(" HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: ")
      .append(std::to_string(body.size()))
      .append("\r\n")
      .append(fields)
      .append("\r\n")
      .append(body);
}

}  // namespace troupe::test
