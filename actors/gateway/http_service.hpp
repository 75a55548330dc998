// What the HTTP port serves: routes requests, parses bodies on the tokenizer threads, submits
// prompts to the gateway and brings the gateway's messages back to the connections. Runs on the
// port's I/O thread; knows nothing of sockets.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/gateway/http_application.hpp"
#include "actors/gateway/http_generation.hpp"
#include "actors/gateway/http_routes.hpp"
#include "actors/gateway/port.hpp"

namespace troupe {

/// Runs a task on the I/O thread. Callable from any thread, also after the port is gone (then it
/// does nothing).
using io_post = std::function<void(std::function<void()>)>;

class http_service final : public http_application {
 public:
  http_service(std::string version, const port_services& services, io_post post);

  std::optional<http_reply> refuse_early(const http_head& head) override;
  [[nodiscard]] bool is_important(const http_head& head) const override;
  void serve(const std::shared_ptr<http_responder>& client, http_request request) override;
  void connection_lost(std::uint64_t session_id, errc why) override;

  /// Messages of the gateway that became ready together: each connection gets one write.
  void deliver(const std::vector<outbound>& burst);

 private:
  /// A generation whose requests are with the gateway.
  struct exchange {
    std::weak_ptr<http_responder> client;
    std::shared_ptr<http_generation> generation;
    client_tenant tenant;
    bool stream_began = false;
    bool has_news = false;  ///< within deliver(): to be settled at its end
  };
  /// Who sent a request, and when it was read.
  struct arrived_from {
    client_tenant tenant;
    monotonic_time arrival{};
  };
  using exchange_map = std::unordered_map<std::string, exchange>;  ///< by client_ref::identity

  [[nodiscard]] http_reply health() const;
  [[nodiscard]] client_tenant tenant_of(const http_head& head) const;
  [[nodiscard]] std::optional<error> refuse_lane(const http_head& head) const;
  void serve_tokenize(const std::shared_ptr<http_responder>& client, http_request request);
  void serve_detokenize(const std::shared_ptr<http_responder>& client, http_request request);
  void serve_generation(const std::shared_ptr<http_responder>& client, http_request request,
                        openai_endpoint endpoint);
  void submit_all(const std::shared_ptr<http_responder>& client, openai_request request,
                  std::vector<http_generation::prompt_facts> facts, const arrived_from& from);
  void settle(const std::string& identity);
  void fail(exchange_map::iterator found, const error& failure);
  void finish(exchange_map::iterator found);
  void reply_error(const std::shared_ptr<http_responder>& client, lane service,
                   const error& failure);
  [[nodiscard]] http_reply refusal_to(const client_tenant& tenant, const error& failure) const;

  /// Runs work() on a tokenizer thread and then done(client, its result) here, unless the client
  /// left.
  template <class Work, class Done>
  void run_job(lane service, const std::shared_ptr<http_responder>& client, Work work, Done done);

  [[nodiscard]] client_ref ref_of(const std::string& identity) const {
    return {services_.port_index, identity};
  }

  const std::string version_;
  const port_services services_;
  const io_post post_;
  const std::int64_t start_seconds_;  ///< "created" of the model
  exchange_map exchanges_;
};

}  // namespace troupe
