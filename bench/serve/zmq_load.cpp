// A load over the wire of docs/protocol.md: one DEALER socket carries all requests. A server that
// is gone says nothing, so silence is asked for signs of life by pings, and ends the run when none
// come.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>

#include <fmt/format.h>
#include <zmq.hpp>

#include "bench/serve/load_transport.hpp"
#include "clients/cpp/wire_socket.hpp"
#include "config/limits.hpp"
#include "runtime/messages/envelope.hpp"

namespace troupe::bench {
namespace {

submit submit_of(const work_item& item, const generation_settings& settings) {
  submit out;
  if (item.prompt_token_ids.empty())
    out.prompt = item.prompt;
  else
    out.prompt_token_ids = item.prompt_token_ids;
  out.max_tokens = item.output_tokens;
  out.ignore_eos = settings.ignore_eos;
  out.temperature = settings.temperature.value_or(out.temperature);
  return out;
}

class zmq_load final : public load_transport {
 public:
  explicit zmq_load(const std::string& endpoint) : endpoint_(endpoint) {
    std::random_device random;
    const auto word = [&random] { return fmt::format("{:08x}", random()); };
    client_ = word();
    socket_ = zmq::socket_t(context_, zmq::socket_type::dealer);
    socket_.set(zmq::sockopt::linger, 0);
    // The load bounds itself; a full pipe would stop the one thread.
    socket_.set(zmq::sockopt::sndhwm, 0);
    socket_.set(zmq::sockopt::rcvhwm, 0);
    socket_.set(zmq::sockopt::routing_id, word() + word());
    socket_.connect(endpoint);
  }

  result<std::string> find_model() override { return std::string{}; }

  void drive(const load_job& job, load_run& run) override {
    job_ = &job;
    run_ = &run;
    clock_ = {};
    id_prefix_ = fmt::format("{}-{}-", client_, ++drive_count_);
    heard_s_.assign(job.work.size(), 0.0);
    server_heard_s_ = pinged_s_ = swept_s_ = 0.0;
    try {
      while (!run.is_done()) turn();
    } catch (const zmq::error_t& failure) {
      run.fail_all(clock_.now_s(), fmt::format("ZeroMQ: {}", failure.what()));
    }
  }

 private:
  void turn() {
    while (const auto index = run_->take_due(clock_.now_s())) start(*index);
    wait();
    receive_all();
    check_waits();
  }

  void start(std::size_t index) {
    heard_s_[index] = clock_.now_s();
    send_message(socket_, message_kind::submit, id_of(index),
                 submit_of(job_->work[index], job_->generation), job_->lanes[index],
                 job_->generation.deadline_ms);
  }

  [[nodiscard]] std::string id_of(std::size_t index) const {
    return id_prefix_ + std::to_string(index);
  }
  /// Absent for ids of another drive.
  [[nodiscard]] std::optional<std::size_t> index_of(const std::string& id) const {
    if (!id.starts_with(id_prefix_)) return std::nullopt;
    std::size_t index = 0;
    const auto [end, failure] =
        std::from_chars(id.data() + id_prefix_.size(), id.data() + id.size(), index);
    if (failure != std::errc{} || end != id.data() + id.size() || index >= heard_s_.size())
      return std::nullopt;
    return index;
  }

  /// Until something comes, or the next request is due.
  void wait() {
    double wait_ms = limits::bench_sweep_ms;
    if (const auto due_s = run_->next_due_s())
      wait_ms = std::clamp(std::floor((*due_s - clock_.now_s()) * 1000.0), 0.0, wait_ms);
    zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
    zmq::poll(&item, 1, std::chrono::milliseconds(static_cast<int>(wait_ms)));
  }

  void receive_all() {
    zmq::message_t header_frame, payload_frame;
    while (socket_.recv(header_frame, zmq::recv_flags::dontwait)) {
      server_heard_s_ = clock_.now_s();
      if (!header_frame.more() || !socket_.recv(payload_frame)) continue;
      const auto header = decode_header(header_frame.to_string_view());
      if (!header) continue;
      const auto body = decode_body(header->kind, payload_frame.to_string_view());
      if (body) take(*header, *body);
    }
  }

  void take(const envelope_header& header, const message_body& body) {
    if (header.kind == message_kind::ping)
      return send_message(socket_, message_kind::pong, {}, pong{std::get<ping>(body).nonce},
                          lane::realtime);
    const double now_s = server_heard_s_;
    const auto* failure = std::get_if<error_reply>(&body);
    // The server could not read a message: which request it was is not known.
    if (failure != nullptr && header.request_id.empty())
      return run_->fail_all(now_s, message_of(*failure));
    const auto index = index_of(header.request_id);
    if (!index) return;
    heard_s_[*index] = now_s;
    if (failure != nullptr) return run_->on_failure(*index, now_s, message_of(*failure));
    if (const auto* part = std::get_if<delta>(&body); part != nullptr && !part->token_ids.empty())
      run_->on_tokens(*index, now_s, static_cast<std::uint32_t>(part->token_ids.size()));
    if (const auto* end = std::get_if<finished>(&body)) {
      run_->on_usage(*index, static_cast<std::uint32_t>(end->prompt_tokens),
                     static_cast<std::uint32_t>(end->completion_tokens));
      run_->on_end(*index, now_s);
    }
  }

  static std::string message_of(const error_reply& reply) {
    return fmt::format("{}: {}", reply.code, reply.message);
  }

  void check_waits() {
    const double now_s = clock_.now_s();
    if ((now_s - swept_s_) * 1000.0 < limits::bench_sweep_ms) return;
    swept_s_ = now_s;
    const double silent_ms = (now_s - server_heard_s_) * 1000.0;
    if (silent_ms > limits::bench_server_silence_ms_max)
      return run_->fail_all(
          now_s, fmt::format("no sign of life from {} for {:.0f} ms", endpoint_, silent_ms));
    if (silent_ms > limits::bench_ping_ms && (now_s - pinged_s_) * 1000.0 > limits::bench_ping_ms) {
      pinged_s_ = now_s;
      send_message(socket_, message_kind::ping, {}, ping{}, lane::realtime);
    }
    for (std::size_t index = 0; index < heard_s_.size(); ++index) {
      if (!run_->is_running(index) || now_s - heard_s_[index] <= job_->generation.silence_s_max)
        continue;
      send_message(socket_, message_kind::cancel, id_of(index), cancel{}, lane::realtime);
      run_->on_failure(index, now_s,
                       fmt::format("no token for {} s", job_->generation.silence_s_max));
    }
  }

  std::string endpoint_;
  std::string client_;     ///< unlike that of any other load on the server
  std::string id_prefix_;  ///< of this drive's request ids
  zmq::context_t context_{1};
  zmq::socket_t socket_;
  load_clock clock_;
  const load_job* job_ = nullptr;
  load_run* run_ = nullptr;
  std::uint64_t drive_count_ = 0;
  std::vector<double> heard_s_;  ///< by request: its latest message, or its sending
  double server_heard_s_ = 0.0, pinged_s_ = 0.0, swept_s_ = 0.0;
};

}  // namespace

result<std::unique_ptr<load_transport>> open_zmq_load(const std::string& endpoint) {
  try {
    return std::unique_ptr<load_transport>(std::make_unique<zmq_load>(endpoint));
  } catch (const zmq::error_t& failure) {
    return error{errc::invalid_argument,
                 fmt::format("cannot connect to {}: {}", endpoint, failure.what())};
  }
}

}  // namespace troupe::bench
