// A simulation's figures for people and programs: a table for a terminal, JSON, and one HTML page
// that needs nothing else.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/simulate/simulation.hpp"

namespace troupe::simulate {

std::string report_table(const scenario& what, const simulation_report& report);
std::string report_json(const scenario& what, const simulation_report& report);
std::string report_html(const scenario& what, const simulation_report& report);

/// A published figure beside ours. Shares are in percent; a relation of two ways is how much less
/// the one's figure is than the other's.
struct published_row {
  std::string way, figure;
  std::optional<double> simulated;
  double published = 0.0;
  std::string why;  ///< how the two relate

  [[nodiscard]] std::optional<double> ratio() const {
    return simulated && published != 0.0 ? std::optional(*simulated / published) : std::nullopt;
  }
};
std::vector<published_row> published_rows(const scenario& what, const simulation_report& report);

/// What a throughput, a latency and a price say together.
struct implied_figures {
  std::string way;
  bool is_published = false;                 ///< else of our own figures
  std::optional<double> requests_in_flight;  ///< Little's law: throughput times latency
  std::optional<double> usd_per_hour;        ///< cost of a request times throughput
  std::optional<double> tokens_per_s;        ///< with this scenario's lengths
  /// Without the prompt tokens that the prefix cache gave, with padding and what was computed
  /// again: by the claims of the same publication, or as simulated.
  std::optional<double> computed_tokens_per_s;
  std::optional<double> peak_percent;  ///< the computed tokens, of the hardware's peak
};
/// For each way that has published figures: theirs, then ours.
std::vector<implied_figures> implied_rows(const scenario& what, const simulation_report& report);

}  // namespace troupe::simulate
