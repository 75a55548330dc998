// A blocking HTTP client of few lines on a raw socket, so that a test decides about every byte.
// Each wait ends at a deadline and then throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace troupe::test {

struct http_answer {
  unsigned status = 0;
  std::map<std::string, std::string> fields;  ///< names in lower case
  std::string body;                           ///< chunks joined
  std::size_t chunk_count = 0;  ///< of the chunked transfer coding, the last one left out
};

class http_client {
 public:
  /// receive_buffer_bytes 0: the system's.
  explicit http_client(std::uint16_t port, int receive_buffer_bytes = 0);
  ~http_client();
  http_client(http_client&& other) noexcept;
  http_client(const http_client&) = delete;

  void send(std::string_view bytes);
  /// False once the server closed the connection, so that a test may send into it.
  bool try_send(std::string_view bytes);
  /// One reply. head_only: no body follows, whatever its length field says.
  http_answer read_answer(bool head_only = false);
  /// Reads until the text was seen, and returns all that came up to its end.
  std::string read_until(std::string_view text);
  /// Reads until the text is there, and leaves it to be read again.
  void wait_for(std::string_view text);
  /// True when the server closes without another byte.
  bool is_at_end();
  /// Everything up to the server's close or reset.
  std::string read_to_end();
  void close_sending();
  void close();

 private:
  bool receive();  ///< false at the end of the stream

  int socket_ = -1;
  std::string received_;
};

std::string get(std::string_view path, std::string_view fields = {});
std::string post(std::string_view path, std::string_view body, std::string_view fields = {});

}  // namespace troupe::test
