#include "actors/gateway/http_service.hpp"

#include <sys/random.h>

#include <array>
#include <chrono>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "kernels/base/check.hpp"

namespace troupe {
namespace {

std::chrono::sys_seconds now_seconds() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

monotonic_time monotonic_now() {
  return std::chrono::steady_clock::now().time_since_epoch();
}

/// 128 random bits in hex: another client cannot guess a request's id.
std::string random_hex() {
  std::array<unsigned char, 16> bytes{};
  // Up to 256 bytes are never cut short or interrupted (getrandom(2)).
  TROUPE_CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  std::string out;
  for (const unsigned char byte : bytes) {
    fmt::format_to(std::back_inserter(out), "{:02x}", byte);
  }
  return out;
}

std::string identity_of(std::uint64_t session_id) {
  return fmt::format("http-{}", session_id);
}

http_reply reply_of(const result<std::string>& body) {
  if (!body) return make_error_reply(body.failure());
  return {.body = *body};
}

struct parsed_request {
  openai_request request;
  std::vector<http_generation::prompt_facts> facts;
};

result<parsed_request> parse_request(openai_endpoint endpoint, std::string_view body,
                                     const intake& prompts) {
  TROUPE_TRY(openai_request request, parse_openai_request(endpoint, body));
  std::vector<http_generation::prompt_facts> facts;
  for (const submit& prompt : request.prompts) {
    facts.push_back({.sequence_count = prompt.n});
    // The engine reports logprobs from the second token on, but an echo shows the first one too. A
    // prompt that cannot be tokenized is refused by the gateway, with the reason.
    if (!prompt.echo || !request.logprobs) continue;
    const auto tokens = prompts.tokenize(prompt, now_seconds());
    if (!tokens || tokens->empty()) continue;
    facts.back().first_token = prompts.tokens().decode(std::span(*tokens).first(1), false);
  }
  return parsed_request{std::move(request), std::move(facts)};
}

error disagreement(lane in_head, lane in_body) {
  return {errc::invalid_argument,
          fmt::format("X-Troupe-Lane says {}, and `lane` in the body {}: send one of them, or the "
                      "same in both",
                      to_string(in_head), to_string(in_body))};
}

/// The result of a job crosses threads in a std::function, which copies; a body must not be copied.
template <class T>
std::shared_ptr<T> share(T value) {
  return std::make_shared<T>(std::move(value));
}

}  // namespace

http_service::http_service(std::string version, const port_services& services, io_post post)
    : version_(std::move(version)),
      services_(services),
      post_(std::move(post)),
      start_seconds_(now_seconds().time_since_epoch().count()) {}

template <class Work, class Done>
void http_service::run_job(lane service, const std::shared_ptr<http_responder>& client, Work work,
                           Done done) {
  // The job outlives a port that is stopped: it may use what it captured and services, never
  // `this`.
  services_.jobs->post(service, [post = post_, weak = std::weak_ptr(client), work = std::move(work),
                                 done = std::move(done)] {
    auto outcome = share(work());
    post([weak, outcome, done] {
      if (const auto alive = weak.lock(); alive != nullptr && alive->is_open()) {
        done(alive, std::move(*outcome));
      }
    });
  });
}

std::optional<http_reply> http_service::refuse_early(const http_head& head) {
  const auto route = find_route(head.method, head.path);
  if (const auto* refusal = std::get_if<http_reply>(&route)) return *refusal;
  const bool is_open = is_for_probes(std::get<http_route>(route));
  const std::vector<std::string>& keys = services_.tenants->http_keys();
  if (!keys.empty() && !is_open && !find_key(keys, head.authorization)) {
    services_.measured->observe_refused(lane::realtime, to_string(errc::unauthorized));
    return make_error_reply(
        {errc::unauthorized, head.authorization.empty()
                                 ? "this server needs an API key: send Authorization: Bearer KEY"
                                 : "the API key is not one of this server's"});
  }
  if (head.lane && !parse_lane(*head.lane)) {
    return make_error_reply(
        {errc::invalid_argument, "X-Troupe-Lane is not one of vip, realtime, async"});
  }
  if (is_open) return std::nullopt;
  if (const auto refusal = refuse_lane(head)) return refusal_to(tenant_of(head), *refusal);
  return std::nullopt;
}

bool http_service::is_important(const http_head& head) const {
  const std::vector<std::string>& keys = services_.tenants->http_keys();
  const auto key = find_key(keys, head.authorization);
  const auto asked = parse_lane(head.lane.value_or(""));
  if ((!keys.empty() && !key) || asked.has_value() != head.lane.has_value()) return false;
  return services_.tenants->enters_vip(services_.tenants->of_key(key).account, asked,
                                       monotonic_now());
}

/// A lane in the head that its sender may not use, or that is above the tenant's rate: before the
/// body is read.
std::optional<error> http_service::refuse_lane(const http_head& head) const {
  if (!head.lane) return std::nullopt;
  const lane wanted = *parse_lane(*head.lane);
  const auto entered = services_.tenants->enter(tenant_of(head).account, wanted, monotonic_now());
  if (entered) return std::nullopt;
  services_.measured->observe_refused(wanted, to_string(entered.failure().code));
  return entered.failure();
}

void http_service::serve(const std::shared_ptr<http_responder>& client, http_request request) {
  const auto route = find_route(request.head.method, request.head.path);
  switch (std::get<http_route>(route)) {
    case http_route::completions:
      return serve_generation(client, std::move(request), openai_endpoint::completions);
    case http_route::chat_completions:
      return serve_generation(client, std::move(request), openai_endpoint::chat_completions);
    case http_route::tokenize: return serve_tokenize(client, std::move(request));
    case http_route::detokenize: return serve_detokenize(client, std::move(request));
    case http_route::health: return client->reply(health());
    case http_route::version:
      return client->reply({.body = fmt::format(R"({{"version":"{}"}})", version_)});
    case http_route::metrics:
      return client->reply({.body = services_.measured->exposition(),
                            .content_type = "text/plain; version=0.0.4; charset=utf-8"});
    case http_route::models: {
      const request_bounds& bounds = services_.prompts->bounds();
      return client->reply(
          {.body = openai_models(bounds.served_model_name, start_seconds_, bounds.max_model_len)});
    }
  }
}

http_reply http_service::health() const {
  const engine_state state = services_.status->get();
  return {.status = state == engine_state::ready ? 200u : 503u,
          .body = fmt::format(R"({{"status":"{}"}})", to_string(state))};
}

/// Keys are tenants: what one key's prompts left in the prefix cache, another cannot probe.
client_tenant http_service::tenant_of(const http_head& head) const {
  return services_.tenants->of_key(find_key(services_.tenants->http_keys(), head.authorization));
}

// Tokenizing.

void http_service::serve_tokenize(const std::shared_ptr<http_responder>& client,
                                  http_request request) {
  const lane service = parse_lane(request.head.lane.value_or("")).value_or(lane::realtime);
  run_job(
      service, client,
      [prompts = services_.prompts, request = share(std::move(request))]() -> result<std::string> {
        TROUPE_TRY(const tokenize_request parsed, parse_tokenize_request(request->body));
        TROUPE_TRY(const std::vector<token_id> tokens,
                   prompts->tokenize(parsed.prompt, now_seconds()));
        std::vector<std::int64_t> ids;
        std::vector<std::string> texts;
        for (const token_id token : tokens) {
          ids.push_back(static_cast<std::int64_t>(token));
          if (parsed.return_token_strs) texts.emplace_back(prompts->tokens().token_text(token));
        }
        return tokenize_reply(ids, prompts->bounds().max_model_len,
                              parsed.return_token_strs ? &texts : nullptr);
      },
      [](const auto& alive, const result<std::string>& body) { alive->reply(reply_of(body)); });
}

void http_service::serve_detokenize(const std::shared_ptr<http_responder>& client,
                                    http_request request) {
  const lane service = parse_lane(request.head.lane.value_or("")).value_or(lane::realtime);
  run_job(
      service, client,
      [prompts = services_.prompts, request = share(std::move(request))]() -> result<std::string> {
        TROUPE_TRY(const std::vector<std::int64_t> ids, parse_detokenize_request(request->body));
        TROUPE_TRY(const std::string text, prompts->detokenize(ids));
        return detokenize_reply(text);
      },
      [](const auto& alive, const result<std::string>& body) { alive->reply(reply_of(body)); });
}

// Generating.

void http_service::serve_generation(const std::shared_ptr<http_responder>& client,
                                    http_request request, openai_endpoint endpoint) {
  const auto head_lane = parse_lane(request.head.lane.value_or(""));
  const lane service = head_lane.value_or(lane::realtime);
  arrived_from from{tenant_of(request.head), monotonic_now()};
  run_job(
      service, client,
      [endpoint, prompts = services_.prompts, request = share(std::move(request))] {
        return parse_request(endpoint, request->body, *prompts);
      },
      [this, head_lane, service, from = std::move(from)](const auto& alive,
                                                         result<parsed_request> parsed) {
        if (!parsed) return reply_error(alive, service, parsed.failure());
        std::optional<lane>& body_lane = parsed->request.service;
        if (head_lane && body_lane && *head_lane != *body_lane)
          return reply_error(alive, service, disagreement(*head_lane, *body_lane));
        if (head_lane) body_lane = head_lane;
        submit_all(alive, std::move(parsed->request), std::move(parsed->facts), from);
      });
}

void http_service::submit_all(const std::shared_ptr<http_responder>& client, openai_request request,
                              std::vector<http_generation::prompt_facts> facts,
                              const arrived_from& from) {
  std::vector<submit> prompts = std::exchange(request.prompts, {});
  const bool is_chat = request.endpoint == openai_endpoint::chat_completions;
  openai_reply_context context{
      .endpoint = request.endpoint,
      .id = (is_chat ? "chatcmpl-" : "cmpl-") + random_hex(),
      .model = services_.prompts->bounds().served_model_name,
      .created = now_seconds().time_since_epoch().count(),
      .wants_logprobs = request.logprobs.has_value(),
      .echo = prompts.front().echo,
  };
  const lane service = request.service.value_or(lane::realtime);
  const std::uint64_t deadline_ms = request.deadline_ms.value_or(0);
  const auto generation =
      std::make_shared<http_generation>(std::move(request), std::move(context), std::move(facts));
  const std::string identity = identity_of(client->id());
  const auto [found, is_new] = exchanges_.try_emplace(
      identity, exchange{.client = client, .generation = generation, .tenant = from.tenant});
  TROUPE_CHECK(is_new);

  for (std::size_t i = 0; i < prompts.size(); ++i) {
    envelope_header header;
    header.kind = message_kind::submit;
    header.request_id = generation->request_id(i);
    header.service = service;
    header.deadline_ms = deadline_ms;
    const auto admitted = services_.gateway->submit({.client = ref_of(identity),
                                                     .header = std::move(header),
                                                     .body = std::move(prompts[i]),
                                                     .tenant = from.tenant.name,
                                                     .resumable = false,
                                                     .account = from.tenant.account,
                                                     .arrival = from.arrival});
    if (!admitted) {
      for (std::size_t k = 0; k < i; ++k) {
        services_.gateway->cancel(ref_of(identity), from.tenant.name, generation->request_id(k));
      }
      exchanges_.erase(found);
      return client->reply(refusal_to(from.tenant, admitted.failure()));
    }
  }
}

void http_service::deliver(const std::vector<outbound>& burst) {
  std::vector<std::string> touched;
  for (const outbound& message : burst) {
    const auto found = exchanges_.find(message.client.identity);
    if (found == exchanges_.end()) continue;
    found->second.generation->take(message);
    if (!std::exchange(found->second.has_news, true)) touched.push_back(found->first);
  }
  for (const std::string& identity : touched) settle(identity);
}

/// Passes on what its generation has collected in this burst.
void http_service::settle(const std::string& identity) {
  const auto found = exchanges_.find(identity);
  if (found == exchanges_.end()) return;
  found->second.has_news = false;
  http_generation& generation = *found->second.generation;
  if (const auto& failure = generation.failure()) return fail(found, *failure);
  if (generation.is_complete()) return finish(found);
  if (!generation.is_stream()) return;
  const std::string events = generation.take_events();
  const auto client = found->second.client.lock();
  if (events.empty() || client == nullptr) return;
  if (!std::exchange(found->second.stream_began, true)) {
    client->begin_stream({{"X-Request-Id", generation.id()}});
  }
  client->stream(events);  // may close the connection and with it end the exchange
}

void http_service::fail(exchange_map::iterator found, const error& failure) {
  const exchange ended = std::move(exchanges_.extract(found).mapped());
  const auto client = ended.client.lock();
  if (client == nullptr) return;
  const std::string identity = identity_of(client->id());
  for (std::string& request_id : ended.generation->unfinished()) {
    services_.gateway->cancel(ref_of(identity), ended.tenant.name, std::move(request_id));
  }
  if (!ended.stream_began) return client->reply(refusal_to(ended.tenant, failure));
  // The status is long gone: the error is the last event.
  client->stream(ended.generation->take_events() + "data: " + openai_error(failure) + "\n\n");
  client->end_stream(true);
}

void http_service::finish(exchange_map::iterator found) {
  const exchange ended = std::move(exchanges_.extract(found).mapped());
  const auto client = ended.client.lock();
  if (client == nullptr) return;
  const auto& generation = ended.generation;
  if (generation->is_stream()) {
    if (!ended.stream_began) client->begin_stream({{"X-Request-Id", generation->id()}});
    client->stream(generation->take_events());
    return client->end_stream(false);
  }
  // A reply with many logprobs takes long to write as JSON: not on the thread of everybody's
  // streams.
  run_job(
      generation->service(), client, [generation] { return generation->whole_reply(); },
      [generation](const auto& alive, std::string body) {
        alive->reply({.body = std::move(body), .fields = {{"X-Request-Id", generation->id()}}});
      });
}

void http_service::reply_error(const std::shared_ptr<http_responder>& client, lane service,
                               const error& failure) {
  services_.measured->observe_refused(service, to_string(failure.code));
  client->reply(make_error_reply(failure));
}

/// Who is above a rate is told when it is taken again.
http_reply http_service::refusal_to(const client_tenant& tenant, const error& failure) const {
  http_reply reply = make_error_reply(failure);
  if (failure.code == errc::rate_limited)
    add_retry_after(reply, services_.tenants->wait(tenant.account, monotonic_now()));
  return reply;
}

void http_service::connection_lost(std::uint64_t session_id, errc why) {
  const auto found = exchanges_.find(identity_of(session_id));
  if (found == exchanges_.end()) return;
  if (why == errc::slow_client) {
    services_.measured->observe_refused(found->second.generation->service(), to_string(why));
  }
  services_.gateway->client_gone(ref_of(found->first));
  exchanges_.erase(found);
}

}  // namespace troupe
