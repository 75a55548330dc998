// A load over OpenAI's HTTP, for any server of POST /v1/completions: as many kept-alive connections
// as requests are in flight, all on the calling thread.
#include <sys/resource.h>

#include <algorithm>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/serve/completion_stream.hpp"
#include "bench/serve/http_connection.hpp"
#include "config/limits.hpp"

namespace troupe::bench {
namespace {

namespace asio = boost::asio;
using steady = std::chrono::steady_clock;

constexpr std::chrono::milliseconds sweep_period{limits::bench_sweep_ms};

class http_load final : public load_transport {
 public:
  /// fields: the header fields of all requests, each with its end of line.
  http_load(asio::ip::tcp::endpoint server, std::string fields)
      : server_(std::move(server)), fields_(std::move(fields)) {}

  result<std::string> find_model() override;
  void drive(const load_job& job, load_run& run) override;

 private:
  struct exchange {
    std::shared_ptr<http_connection> connection;
    event_reader events;
    std::string refusal;  ///< the body of an answer that is not a stream
  };

  void start(std::size_t index);
  void on_body(std::size_t index, unsigned status, std::string_view bytes);
  void on_event(std::size_t index, std::string_view data);
  void on_end(std::size_t index, const result<unsigned>& status);
  void send_due();
  void wake_by(steady::time_point at);
  void check_waits();

  [[nodiscard]] std::string head_of(std::string_view method, std::string_view path) const {
    return fmt::format("{} {} HTTP/1.1\r\n{}", method, path, fields_);
  }

  asio::io_context io_{1};
  asio::steady_timer timer_{io_};
  steady::time_point wake_at_{};   ///< what the timer is set to
  steady::time_point sweep_at_{};  ///< when deadlines are checked next
  asio::ip::tcp::endpoint server_;
  std::string fields_;
  std::vector<std::shared_ptr<http_connection>> idle_;
  std::vector<exchange> exchanges_;  ///< by request
  load_clock clock_;
  const load_job* job_ = nullptr;
  load_run* run_ = nullptr;
};

result<std::string> http_load::find_model() {
  auto connection = std::make_shared<http_connection>(io_, server_);
  std::string body;
  std::optional<result<unsigned>> outcome;
  connection->ask(head_of("GET", "/v1/models") + "\r\n",
                  {[&body](unsigned, std::string_view bytes) {
                     body.append(bytes.substr(0, limits::bench_event_bytes_max - body.size()));
                   },
                   [&outcome](result<unsigned> status) { outcome = std::move(status); }});
  io_.restart();
  const auto give_up =
      steady::now() + std::chrono::milliseconds(limits::bench_server_silence_ms_max);
  while (!outcome && steady::now() < give_up) io_.run_one_until(give_up);
  if (!outcome) connection->abandon({errc::deadline_exceeded, "no answer"});
  if (!outcome->has_value()) return std::move(*outcome).failure();
  const auto tree = nlohmann::json::parse(body, nullptr, false);
  const auto at = nlohmann::json::json_pointer("/data/0/id");
  if (outcome->value() != 200 || !tree.is_object() || !tree.contains(at) || !tree[at].is_string())
    return error{
        errc::unavailable,
        fmt::format("GET /v1/models names no model (status {}); name one", outcome->value())};
  return tree[at].get<std::string>();
}

void http_load::drive(const load_job& job, load_run& run) {
  job_ = &job;
  run_ = &run;
  exchanges_.clear();
  exchanges_.resize(job.work.size());
  clock_ = {};
  io_.restart();
  wake_at_ = sweep_at_ = {};
  send_due();
  check_waits();
  while (!run.is_done()) io_.run_one();
  exchanges_.clear();
}

void http_load::send_due() {
  while (const auto index = run_->take_due(clock_.now_s())) start(*index);
  if (const auto due_s = run_->next_due_s()) {
    const auto wait = std::chrono::duration<double>(std::max(0.0, *due_s - clock_.now_s()));
    wake_by(steady::now() + std::chrono::ceil<std::chrono::microseconds>(wait));
  }
}

void http_load::wake_by(steady::time_point at) {
  if (wake_at_ > steady::now() && wake_at_ <= at) return;
  wake_at_ = at;
  timer_.expires_at(at);
  timer_.async_wait([this](const boost::system::error_code& cancelled) {
    if (cancelled || run_->is_done()) return;
    wake_at_ = {};
    check_waits();
    send_due();
  });
}

void http_load::check_waits() {
  const auto silence_max = std::chrono::duration<double>(job_->generation.silence_s_max);
  const auto now = steady::now();
  if (now < sweep_at_) return wake_by(sweep_at_);
  sweep_at_ = now + sweep_period;
  wake_by(sweep_at_);
  for (std::size_t index = 0; index < exchanges_.size(); ++index) {
    const auto connection = exchanges_[index].connection;
    if (connection != nullptr && now - connection->heard_at() > silence_max)
      connection->abandon(
          {errc::deadline_exceeded, fmt::format("nothing for {} s", silence_max.count())});
  }
}

void http_load::start(std::size_t index) {
  const std::string body = completion_body(job_->work[index], job_->generation);
  std::string request =
      head_of("POST", "/v1/completions") +
      fmt::format(
          "Content-Type: application/json\r\nAccept: text/event-stream\r\nX-Troupe-Lane: {}\r\n"
          "Content-Length: {}\r\n\r\n",
          to_string(job_->lanes[index]), body.size()) +
      body;
  auto& connection = exchanges_[index].connection;
  if (idle_.empty()) {
    connection = std::make_shared<http_connection>(io_, server_);
  } else {
    connection = std::move(idle_.back());
    idle_.pop_back();
  }
  connection->ask(
      std::move(request),
      {[this, index](unsigned status, std::string_view bytes) { on_body(index, status, bytes); },
       [this, index](const result<unsigned>& status) { on_end(index, status); }});
}

void http_load::on_body(std::size_t index, unsigned status, std::string_view bytes) {
  exchange& at = exchanges_[index];
  if (status != 200) {
    at.refusal.append(bytes.substr(0, limits::bench_refusal_bytes_max - at.refusal.size()));
    return;
  }
  const auto taken =
      at.events.take(bytes, [this, index](std::string_view data) { on_event(index, data); });
  if (!taken) at.connection->abandon(taken.failure());
}

void http_load::on_event(std::size_t index, std::string_view data) {
  const completion_event event = read_completion_event(data);
  if (event.has_choice) return run_->on_tokens(index, clock_.now_s(), 1);
  if (event.output_tokens)
    run_->on_usage(index, event.prompt_tokens.value_or(job_->work[index].prompt_tokens),
                   *event.output_tokens);
  if (event.failure) run_->on_failure(index, clock_.now_s(), *event.failure);
}

void http_load::on_end(std::size_t index, const result<unsigned>& status) {
  exchange& at = exchanges_[index];
  if (at.connection->is_open()) idle_.push_back(at.connection);
  at.connection = nullptr;
  const double now_s = clock_.now_s();
  if (!status)
    run_->on_failure(index, now_s, status.failure().message);
  else if (status.value() != 200)
    run_->on_failure(index, now_s,
                     fmt::format("status {}: {}", status.value(), error_message_of(at.refusal)));
  else
    run_->on_end(index, now_s);
  send_due();
}

/// Each connection takes a file descriptor, and many systems give a process 1,024 unless it asks
/// for more.
void ask_for_descriptors() {
  rlimit descriptors{};
  if (getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return;
  descriptors.rlim_cur = descriptors.rlim_max;
  setrlimit(RLIMIT_NOFILE, &descriptors);
}

}  // namespace

result<std::unique_ptr<load_transport>> open_http_load(const std::string& host,
                                                       const std::string& port,
                                                       const std::string& api_key) {
  asio::io_context io;
  boost::system::error_code failure;
  const auto found = asio::ip::tcp::resolver(io).resolve(host, port, failure);
  if (failure)
    return error{errc::unavailable, fmt::format("cannot find {}: {}", host, failure.message())};
  const bool is_v6 = host.find(':') != std::string::npos;
  std::string fields = fmt::format("Host: {}:{}\r\nUser-Agent: troupe-bench\r\n",
                                   is_v6 ? "[" + host + "]" : host, port);
  if (!api_key.empty()) fields += fmt::format("Authorization: Bearer {}\r\n", api_key);
  ask_for_descriptors();
  return std::unique_ptr<load_transport>(
      std::make_unique<http_load>(found.begin()->endpoint(), std::move(fields)));
}

}  // namespace troupe::bench
