// A simulation's figures for people and programs: a table for a terminal, JSON, and one HTML page
// that needs nothing else.
#pragma once

#include <string>

#include "runtime/simulate/simulation.hpp"

namespace troupe::simulate {

std::string report_table(const scenario& what, const simulation_report& report);
std::string report_json(const scenario& what, const simulation_report& report);
std::string report_html(const scenario& what, const simulation_report& report);

/// What published figures say about themselves.
struct implied_figures {
  std::optional<double> requests_in_flight;  ///< Little's law: throughput times latency
  std::optional<double> usd_per_hour;        ///< cost of a request times throughput
  std::optional<double> tokens_per_s;        ///< with this scenario's lengths
};
implied_figures imply(const published_figures& published, double tokens_per_request);

/// A published share or relation beside ours, in percent. A relation: how much less the way's
/// figure is than the other's.
std::optional<double> simulated_claim(const scenario& what, const simulation_report& report,
                                      const published_claim& claim);

}  // namespace troupe::simulate
