#include "sim/picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace sedge::sim {
namespace {

constexpr double kWidth = 860, kHeight = 260, kLeft = 70, kBottom = 40, kTop = 20, kRight = 20;

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// A frame with a linear scale each way, and what is drawn into it.
class Chart {
 public:
  Chart(double x_most, std::string_view x_name, double y_most, std::string_view y_name)
      : x_most_(std::max(x_most, 1e-9)), y_most_(std::max(y_most, 1e-9)) {
    svg_ = fmt::format("<svg viewBox=\"0 0 {} {}\">", kWidth, kHeight);
    for (int i = 0; i <= 4; ++i) {
      const double part = i / 4.0;
      svg_ += fmt::format(
          "<line x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" class=\"grid\"/>"
          "<text x=\"{3:.1f}\" y=\"{4:.1f}\" class=\"end\">{5:.3g}</text>"
          "<text x=\"{6:.1f}\" y=\"{7:.1f}\" class=\"middle\">{8:.3g}</text>",
          kLeft, kWidth - kRight, y(part * y_most_), kLeft - 8, y(part * y_most_) + 4, part * y_most_,
          x(part * x_most_), kHeight - kBottom + 16, part * x_most_);
    }
    svg_ += fmt::format("<text x=\"{}\" y=\"{}\" class=\"middle\">{}</text><text x=\"{}\" y=\"{}\">{}</text>",
                        kWidth / 2, kHeight - 6, x_name, kLeft, kTop - 6, y_name);
  }
  template <class Points>
  void line(const Points& points, std::string_view style) {
    svg_ += fmt::format("<polyline class=\"{}\" points=\"", style);
    for (const auto& [at, value] : points) svg_ += fmt::format("{:.1f},{:.1f} ", x(at), y(value));
    svg_ += "\"/>";
  }
  void bar(double from, double to, double value) {
    svg_ += fmt::format("<rect class=\"bar\" x=\"{:.1f}\" width=\"{:.1f}\" y=\"{:.1f}\" height=\"{:.1f}\"/>", x(from),
                        std::max(0.5, x(to) - x(from) - 0.5), y(value), y(0) - y(value));
  }
  void mark(double at, std::string_view what) {
    svg_ += fmt::format(
        "<line class=\"mark\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"><title>{3}</title></line>", x(at),
        kTop, kHeight - kBottom, escaped(what));
  }
  std::string take() { return std::move(svg_) + "</svg>"; }

 private:
  double x(double value) const { return kLeft + (kWidth - kLeft - kRight) * value / x_most_; }
  double y(double value) const { return kHeight - kBottom - (kHeight - kBottom - kTop) * value / y_most_; }

  double x_most_, y_most_;
  std::string svg_;
};

using Points = std::vector<std::pair<double, double>>;

Points over_time(const Report& report, double Sample::* what) {
  Points points;
  for (const Sample& sample : report.samples) points.emplace_back(sample.seconds, sample.*what);
  return points;
}

std::string agreement(const Report& report, double length) {
  Chart chart(length, "seconds", 1, "part of the running nodes that agree: members (blue), entries (orange)");
  for (const auto& [at, what] : report.chapters) chart.mark(at, what);
  chart.line(over_time(report, &Sample::same_view), "first");
  chart.line(over_time(report, &Sample::same_state), "second");
  return chart.take();
}

std::string traffic(const Report& report, double length) {
  const Points points = over_time(report, &Sample::bytes_per_node_per_s);
  double most = 0;
  for (const auto& [at, value] : points) most = std::max(most, value);
  Chart chart(length, "seconds", most, "bytes a node a second");
  for (const auto& [at, what] : report.chapters) chart.mark(at, what);
  chart.line(points, "first");
  return chart.take();
}

// Up to the 99.5th percentile: the rest would press all others together; it is counted in the last bar.
std::string latencies(const Report& report) {
  constexpr std::size_t kBars = 60;
  const std::vector<double>& all = report.latencies_ms;
  if (all.empty()) return "<p>no reliable message arrived</p>";
  const double most = std::max(1e-3, all[(all.size() - 1) * 995 / 1000]);
  std::array<double, kBars> bars{};
  for (const double ms : all) {
    bars[std::min(kBars - 1, static_cast<std::size_t>(ms / most * kBars))] += 1;
  }
  Chart chart(most, "milliseconds from publication to a subscriber", *std::ranges::max_element(bars), "deliveries");
  for (std::size_t i = 0; i < kBars; ++i) {
    chart.bar(most * static_cast<double>(i) / kBars, most * static_cast<double>(i + 1) / kBars, bars[i]);
  }
  return chart.take();
}

std::string by_node(const Report& report) {
  const auto count = static_cast<double>(report.node_bytes_per_s.size());
  Chart chart(count, "node", *std::ranges::max_element(report.node_bytes_per_s), "bytes sent a second");
  for (std::size_t i = 0; i < report.node_bytes_per_s.size(); ++i) {
    chart.bar(static_cast<double>(i), static_cast<double>(i + 1), report.node_bytes_per_s[i]);
  }
  return chart.take();
}

// Nodes on a circle, links as chords.
std::string overlay(const Report& report) {
  const std::size_t count = report.node_up.size();
  const double radius = 300, middle = 330;
  const auto place = [&](std::size_t i) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(count);
    return std::pair(middle + radius * std::sin(angle), middle - radius * std::cos(angle));
  };
  std::string svg = "<svg viewBox=\"0 0 660 660\" class=\"square\">";
  for (const auto& [a, b] : report.links) {
    svg += fmt::format("<line class=\"link\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>", place(a).first,
                       place(a).second, place(b).first, place(b).second);
  }
  for (std::size_t i = 0; i < count; ++i) {
    svg += fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"><title>node-{}</title></circle>",
                       report.node_up[i] ? "up" : "down", place(i).first, place(i).second, count > 200 ? 2 : 5, i);
  }
  return svg + "</svg>";
}

std::string table(const Scenario& scenario, const Report& report) {
  std::string rows = fmt::format("<tr><td>seed</td><td>{}</td></tr><tr><td>trace_hash</td><td>{:016x}</td></tr>",
                                 scenario.seed, report.trace);
  for (const auto& [name, value] : report.metrics) {
    rows += fmt::format("<tr><td>{}</td><td>{}</td></tr>", name, value ? fmt::format("{:.6g}", *value) : "-");
  }
  return "<table>" + rows + "</table>";
}

constexpr std::string_view kStyle = R"(
body { font: 15px sans-serif; max-width: 900px; margin: 2em auto; padding: 0 1em; background: #fff; color: #222 }
svg { width: 100%; height: auto; font-size: 12px } .square { max-width: 660px }
.grid { stroke: #ddd } .mark { stroke: #c33; stroke-dasharray: 3 3; stroke-width: 1.5 } .end { text-anchor: end }
.middle { text-anchor: middle } polyline { fill: none; stroke-width: 2 } .first { stroke: #1f77b4 }
.second { stroke: #ff7f0e } .bar { fill: #1f77b4 } .link { stroke: #1f77b4; stroke-opacity: .25 }
.up { fill: #2a2 } .down { fill: #c33 } td { padding: 1px 16px 1px 0 } .broken { color: #c33 }
)";

}  // namespace

std::string picture(const Scenario& scenario, const Report& report) {
  const double length = report.samples.empty() ? 1 : report.samples.back().seconds;
  std::string broken;
  for (const std::string& each : report.broken) broken += fmt::format("<li class=\"broken\">{}</li>", escaped(each));
  return fmt::format(
      "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title><style>{1}</style></head><body>"
      "<h1>{0}, {2} nodes</h1><ul>{3}</ul><h2>Agreement</h2>{4}<h2>Traffic</h2>{5}<h2>Delivery</h2>{6}"
      "<h2>What each node sent</h2>{7}<h2>Links at the end</h2>{8}<h2>Figures</h2>{9}</body></html>\n",
      escaped(scenario.name), kStyle, scenario.nodes, broken, agreement(report, length), traffic(report, length),
      latencies(report), by_node(report), overlay(report), table(scenario, report));
}

}  // namespace sedge::sim
