// Plots as inline SVG whose colours come from the page's style sheet, so that they suit light and
// dark alike.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace troupe::simulate {

struct plot_line {
  std::string label;
  std::vector<std::pair<double, double>> points;  ///< ascending in x
};
struct line_plot {
  std::string title, x_label, y_label;
  bool x_is_logarithmic = false;  ///< x above 0
  std::vector<plot_line> lines;
};
std::string draw(const line_plot& plot);

struct plot_bar {
  std::string label;
  std::vector<double> parts;  ///< one for each name of the plot, from the left on
};
struct bar_plot {
  std::string title, x_label;
  std::vector<std::string> names;
  std::vector<plot_bar> bars;
};
std::string draw(const bar_plot& plot);

/// Text with the five characters of HTML replaced.
std::string escaped(std::string_view text);

}  // namespace troupe::simulate
