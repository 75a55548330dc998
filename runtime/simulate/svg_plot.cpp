#include "runtime/simulate/svg_plot.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace troupe::simulate {
namespace {

// Sizes in SVG units; the page scales the whole.
constexpr double width = 640, height = 300;
constexpr double left = 70, right = 16, top = 30, bottom = 62;
constexpr double bar_height = 26, bar_gap = 12;
constexpr std::size_t color_count = 8;  ///< c0 .. c7 of the style sheet

std::string text_at(double x, double y, std::string_view anchor, std::string_view text) {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>)", x, y, anchor,
                     escaped(text));
}

std::string number_text(double value) {
  return value >= 1e4 && value < 1e6 ? fmt::format("{:.0f}", value) : fmt::format("{:.4g}", value);
}

struct axis {
  double least = 0.0, most = 1.0;
  double from = 0.0, to = 1.0;  ///< where they are drawn
  bool is_logarithmic = false;

  [[nodiscard]] double place(double value) const {
    const auto scaled = [this](double x) { return is_logarithmic ? std::log10(x) : x; };
    const double span = scaled(most) - scaled(least);
    return from + (to - from) * (span == 0.0 ? 0.5 : (scaled(value) - scaled(least)) / span);
  }

  /// Round numbers inside: powers of ten, or 1, 2 or 5 times one.
  [[nodiscard]] std::vector<double> ticks() const {
    std::vector<double> made;
    if (is_logarithmic) {
      for (double tick = std::pow(10.0, std::floor(std::log10(least))); tick <= most; tick *= 10.0)
        for (const double times : {1.0, 2.0, 5.0})
          if (tick * times >= least && tick * times <= most) made.push_back(tick * times);
      return made;
    }
    constexpr double wanted = 5.0;
    const double rough = (most - least) / wanted;
    if (!(rough > 0.0)) return {least};
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    double step = 10.0 * power;
    for (const double times : {5.0, 2.0, 1.0})
      if (times * power >= rough * (1 - 1e-9)) step = times * power;
    for (double i = std::ceil(least / step); i * step <= most * (1 + 1e-9); ++i)
      made.push_back(i * step);
    return made;
  }
};

std::string open_svg(std::string_view title, double tall) {
  return fmt::format(R"(<svg viewBox="0 0 {} {}" role="img"><title>{}</title>)", width, tall,
                     escaped(title)) +
         fmt::format(R"(<text class="t" x="{}" y="18">{}</text>)", left, escaped(title));
}

/// Names with their colours, in one row.
std::string legend(const std::vector<std::string>& names, double y) {
  std::string made;
  double x = left;
  for (std::size_t i = 0; i < names.size(); ++i) {
    made += fmt::format(R"(<rect class="c{}" x="{:.1f}" y="{:.1f}" width="10" height="10"/>)",
                        i % color_count, x, y - 9);
    made += text_at(x + 14, y, "start", names[i]);
    constexpr double letter_width = 6.5;
    x += 30 + letter_width * static_cast<double>(names[i].size());
  }
  return made;
}

std::string grid(const axis& x, const axis& y) {
  std::string made;
  for (const double tick : x.ticks()) {
    made += fmt::format(R"(<path class="g" d="M{0:.1f} {1}V{2}"/>)", x.place(tick), top,
                        height - bottom);
    made += text_at(x.place(tick), height - bottom + 15, "middle", number_text(tick));
  }
  for (const double tick : y.ticks()) {
    made += fmt::format(R"(<path class="g" d="M{0} {1:.1f}H{2}"/>)", left, y.place(tick),
                        width - right);
    made += text_at(left - 6, y.place(tick) + 4, "end", number_text(tick));
  }
  return made;
}

std::pair<axis, axis> axes_of(const line_plot& plot) {
  axis x{.least = std::numeric_limits<double>::max(), .most = 0.0};
  axis y{.least = 0.0, .most = 0.0};
  for (const plot_line& line : plot.lines) {
    for (const auto& [px, py] : line.points) {
      if (plot.x_is_logarithmic && px <= 0.0) continue;
      x.least = std::min(x.least, px);
      x.most = std::max(x.most, px);
      y.most = std::max(y.most, py);
    }
  }
  if (x.least > x.most) x.least = x.most = 1.0;
  if (y.most == 0.0) y.most = 1.0;
  x.from = left;
  x.to = width - right;
  x.is_logarithmic = plot.x_is_logarithmic;
  y.from = height - bottom;
  y.to = top;
  return {x, y};
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string made;
  for (const char each : text) {
    switch (each) {
      case '&': made += "&amp;"; break;
      case '<': made += "&lt;"; break;
      case '>': made += "&gt;"; break;
      case '"': made += "&quot;"; break;
      case '\'': made += "&#39;"; break;
      default: made += each;
    }
  }
  return made;
}

std::string draw(const line_plot& plot) {
  const auto [x, y] = axes_of(plot);
  std::string made = open_svg(plot.title, height) + grid(x, y);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < plot.lines.size(); ++i) {
    std::string path;
    for (const auto& [px, py] : plot.lines[i].points) {
      if (plot.x_is_logarithmic && px <= 0.0) continue;
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? 'M' : 'L', x.place(px), y.place(py));
    }
    made += fmt::format(R"(<path class="l s{}" d="{}"/>)", i % color_count, path);
    names.push_back(plot.lines[i].label);
  }
  made += text_at((left + width - right) / 2, height - bottom + 32, "middle", plot.x_label);
  made += fmt::format(
      R"svg(<text transform="translate(14 {:.1f}) rotate(-90)" text-anchor="middle">{}</text>)svg",
      (top + height - bottom) / 2, escaped(plot.y_label));
  return made + legend(names, height - 8) + "</svg>";
}

std::string draw(const bar_plot& plot) {
  const auto count = static_cast<double>(plot.bars.size());
  const double floor_y = top + count * (bar_height + bar_gap);
  const double tall = floor_y + bottom;
  constexpr double bars_left = 130;
  double most = 0.0;
  for (const plot_bar& bar : plot.bars) {
    double sum = 0.0;
    for (const double part : bar.parts) sum += part;
    most = std::max(most, sum);
  }
  const axis x{
      .least = 0.0, .most = most == 0.0 ? 1.0 : most, .from = bars_left, .to = width - right};
  std::string made = open_svg(plot.title, tall);
  for (const double tick : x.ticks()) {
    made += fmt::format(R"(<path class="g" d="M{:.1f} {}V{:.1f}"/>)", x.place(tick), top, floor_y);
    made += text_at(x.place(tick), floor_y + 15, "middle", number_text(tick));
  }
  double y = top + bar_gap / 2;
  for (const plot_bar& bar : plot.bars) {
    made += text_at(bars_left - 8, y + bar_height * 0.65, "end", bar.label);
    double sum = 0.0;
    for (std::size_t i = 0; i < bar.parts.size(); ++i) {
      const double begin = x.place(sum), end = x.place(sum + bar.parts[i]);
      sum += bar.parts[i];
      made += fmt::format(
          R"(<rect class="c{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}"><title>{}: {}</title></rect>)",
          i % color_count, begin, y, std::max(0.0, end - begin), bar_height, escaped(plot.names[i]),
          number_text(bar.parts[i]));
    }
    y += bar_height + bar_gap;
  }
  made += text_at((bars_left + width - right) / 2, floor_y + 32, "middle", plot.x_label);
  return made + legend(plot.names, tall - 8) + "</svg>";
}

}  // namespace troupe::simulate
