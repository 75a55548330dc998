// `troupe serve`: the server. One line on stdout says where it listens once it is ready; logs go to
// stderr.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "actors/gateway/http_port.hpp"
#include "actors/gateway/zmq_port.hpp"
#include "actors/wiring/engine.hpp"
#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/progress_bar.hpp"
#include "config/limits.hpp"
#include "config/load.hpp"

namespace troupe::cli {

namespace {

int fail(const error& failure) {
  fmt::print(stderr, "troupe: {}\n", failure.message);
  return exit_code_of(failure);
}

/// "127.0.0.1:8000" or "[::1]:8000"; config/load has checked the form.
http_port_options http_options_of(const server_config& config) {
  const std::size_t colon = config.http.rfind(':');
  http_port_options options;
  options.host = config.http.substr(0, colon);
  if (options.host.starts_with('[')) options.host = options.host.substr(1, options.host.size() - 2);
  options.port = static_cast<std::uint16_t>(std::stoul(config.http.substr(colon + 1)));
  options.version = TROUPE_VERSION;
  return options;
}

zmq_port_options zmq_options_of(const server_config& config) {
  return {config.zmq, std::chrono::milliseconds{config.heartbeat_ms},
          std::chrono::milliseconds{config.client_timeout_ms}};
}

struct listening {
  std::string text;  ///< "http://127.0.0.1:8000 and tcp://127.0.0.1:5555"
};

result<listening> open_ports(engine& engine, const server_config& config) {
  listening where;
  if (!config.http.empty()) {
    const http_port_options options = http_options_of(config);
    std::uint16_t port = 0;
    TROUPE_TRY_VOID([&]() -> result<void> {
      auto added = engine.add_port(
          [&](const port_services& services) -> result<std::unique_ptr<client_port>> {
            TROUPE_TRY(auto started, http_port::start(options, services));
            port = started->local_port();
            return std::unique_ptr<client_port>(std::move(started));
          });
      return added ? result<void>{} : std::move(added).failure();
    }());
    const bool v6 = options.host.find(':') != std::string::npos;
    where.text = fmt::format("http://{}:{}", v6 ? "[" + options.host + "]" : options.host, port);
  }
  if (!config.zmq.empty()) {
    std::string endpoint;
    TROUPE_TRY_VOID([&]() -> result<void> {
      auto added = engine.add_port(
          [&](const port_services& services) -> result<std::unique_ptr<client_port>> {
            TROUPE_TRY(auto started, zmq_port::start(zmq_options_of(config), services));
            endpoint = started->endpoint();
            return std::unique_ptr<client_port>(std::move(started));
          });
      return added ? result<void>{} : std::move(added).failure();
    }());
    where.text += (where.text.empty() ? "" : " and ") + endpoint;
  }
  return where;
}

/// Waits for SIGINT or SIGTERM; looks every second whether the engine still lives. Returns the exit
/// code.
int wait_for_end(engine& engine, const sigset_t& signals, const server_config& config,
                 const std::atomic<bool>& failed) {
  for (;;) {
    const timespec second{1, 0};
    const int signal = sigtimedwait(&signals, nullptr, &second);
    if (failed.load()) return exit_engine;
    if (engine.step_running_for() > std::chrono::milliseconds{limits::step_deadline_ms_max}) {
      spdlog::critical(
          "a step has been running for more than {} s: the worker hangs, the process ends",
          limits::step_deadline_ms_max / 1000);
      std::_Exit(exit_engine);  // a hung thread cannot be joined
    }
    if (signal != SIGINT && signal != SIGTERM) continue;
    spdlog::info(
        "draining: requests that run may finish within {} ms; a second signal ends them now",
        config.drain_grace_ms);
    engine.drain(std::chrono::milliseconds{config.drain_grace_ms}, [&signals] {
      const timespec at_once{};
      return sigtimedwait(&signals, nullptr, &at_once) > 0;
    });
    return exit_ok;
  }
}

/// A stream is a file descriptor: takes as many as the system grants this process.
void raise_file_limit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= limits::open_files_wanted)
    return;
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, limits::open_files_wanted);
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0)
    spdlog::warn("at most {} files may be open: fewer connections than http_session_count_max",
                 files.rlim_cur);
}

int serve(const std::string& config_file, const std::vector<config_override>& overrides) {
  // Before any thread starts, so that all of them leave the signals to wait_for_end.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  raise_file_limit();

  const auto file =
      config_file.empty() ? std::nullopt : std::optional<std::filesystem::path>(config_file);
  auto config = load_config(file, overrides);
  if (!config) {
    fail(config.failure());
    return exit_usage;  // whatever is wrong with it, a missing file included
  }
  spdlog::set_level(spdlog::level::from_str(config->log_level));
  if (!config->idle_keys.empty())
    spdlog::warn("accepted, not acted on yet: {}", fmt::join(config->idle_keys, ", "));
  if (config->model.empty())
    return fail(
        {errc::invalid_argument, "no model: name a GGUF file with --model or the key `model`"});
  if (config->http.empty() && config->zmq.empty())
    return fail({errc::invalid_argument, "nowhere to listen: set http, zmq or both"});

  std::atomic<bool> failed{false};
  std::unique_ptr<engine> engine;
  {
    progress_bar bar("loading " + config->model);
    auto started =
        engine::start(*config, {.on_loading = [&bar](float done) { bar.show(done); },
                                .on_fatal = [&failed](std::string) { failed.store(true); },
                                .wrap_executor = {}});
    if (!started) return fail(started.failure());
    engine = std::move(*started);
  }
  auto where = open_ports(*engine, *config);
  if (!where) return fail(where.failure());
  engine->open();
  fmt::print("troupe: listening on {}\n", where->text);
  std::fflush(stdout);
  return wait_for_end(*engine, signals, *config, failed);
}

}  // namespace

void add_serve(CLI::App& parser, chosen_command& chosen) {
  struct options {
    std::string config_file;
    std::map<std::string, std::string> flags;  ///< key -> text
  };
  auto given = std::make_shared<options>();
  auto* command = parser.add_subcommand("serve", "Serve a model over HTTP and ZeroMQ");
  command->add_option("--config", given->config_file, "a YAML file; every key of it is a flag too");
  for (const config_key& key : config_schema())
    command->add_option(key.flag, given->flags[key.path], key.help())->group(key.group);
  command->callback([given, command, &chosen] {
    std::vector<config_override> overrides;
    for (const config_key& key : config_schema()) {
      if (command->count(key.flag) != 0) overrides.push_back({key.path, given->flags[key.path]});
    }
    chosen = [given, overrides] { return serve(given->config_file, overrides); };
  });
}

}  // namespace troupe::cli
