#include "chart.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <locale>
#include <sstream>

namespace chart {
namespace {

constexpr double kWidth = 720;
constexpr double kHeight = 320;  // of one chart
constexpr double kLeft = 70;
constexpr double kRight = 150;  // the names of the lines
constexpr double kTop = 40;
constexpr double kBottom = 50;

constexpr std::array kColours = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e"};

// 1, 2 or 5 times a power of ten: about five of them make `range`.
double step_for(double range) {
  const double rough = std::max(range, 1e-9) / 5;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power) return factor * power;
  }
  return 10 * power;
}

// Where a chart's values lie on the picture.
class Scale {
 public:
  Scale(const Chart& chart, double top) : top_(top) {
    double most_x = 1e-9;
    double most_y = 1e-9;
    for (const double x : chart.x) most_x = std::max(most_x, x);
    for (const Line& line : chart.lines) {
      for (const double y : line.y) most_y = std::max(most_y, y);
    }
    step_x = step_for(most_x);
    step_y = step_for(most_y);
    end_x = step_x * std::ceil(most_x / step_x);
    end_y = step_y * std::ceil(most_y / step_y);
  }

  double x(double value) const { return kLeft + value / end_x * (kWidth - kLeft - kRight); }
  double y(double value) const {
    return top_ + kHeight - kBottom - std::max(value, 0.0) / end_y * (kHeight - kTop - kBottom);
  }

  double step_x = 0;
  double step_y = 0;
  double end_x = 0;
  double end_y = 0;

 private:
  double top_;
};

void draw_text(std::ostream& out, double x, double y, const char* anchor, const std::string& text) {
  out << "<text x=\"" << x << "\" y=\"" << y << "\" text-anchor=\"" << anchor << "\">" << text
      << "</text>\n";
}

void draw_line(std::ostream& out, double x1, double y1, double x2, double y2, const char* colour) {
  out << "<line x1=\"" << x1 << "\" y1=\"" << y1 << "\" x2=\"" << x2 << "\" y2=\"" << y2
      << "\" stroke=\"" << colour << "\"/>\n";
}

std::string number(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

void draw_axes(std::ostream& out, const Chart& chart, const Scale& at, double top) {
  for (double y = 0; y <= at.end_y * 1.001; y += at.step_y) {
    draw_line(out, kLeft, at.y(y), at.x(at.end_x), at.y(y), "#ddd");
    draw_text(out, kLeft - 8, at.y(y) + 4, "end", number(y));
  }
  for (double x = 0; x <= at.end_x * 1.001; x += at.step_x) {
    draw_line(out, at.x(x), at.y(0), at.x(x), at.y(0) + 5, "#000");
    draw_text(out, at.x(x), at.y(0) + 20, "middle", number(x));
  }
  draw_line(out, kLeft, at.y(0), at.x(at.end_x), at.y(0), "#000");
  draw_line(out, kLeft, at.y(0), kLeft, at.y(at.end_y), "#000");
  draw_text(out, at.x(at.end_x / 2), at.y(0) + 40, "middle", chart.x_label);
  draw_text(out, kLeft, top + 32, "middle", chart.y_label);
  draw_text(out, at.x(at.end_x / 2), top + 20, "middle", chart.title);
}

void draw(std::ostream& out, const Chart& chart, double top) {
  const Scale at(chart, top);
  draw_axes(out, chart, at, top);
  for (std::size_t i = 0; i < chart.lines.size(); ++i) {
    const Line& line = chart.lines[i];
    const char* colour = kColours[i % kColours.size()];
    out << "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"" << colour << "\" points=\"";
    for (std::size_t k = 0; k < std::min(chart.x.size(), line.y.size()); ++k)
      out << at.x(chart.x[k]) << ',' << at.y(line.y[k]) << ' ';
    out << "\"/>\n";
    const double y = top + kTop + 10 + 20 * static_cast<double>(i);
    draw_line(out, kWidth - kRight + 12, y, kWidth - kRight + 32, y, colour);
    draw_text(out, kWidth - kRight + 38, y + 4, "start", line.name);
  }
}

}  // namespace

std::string to_svg(const std::vector<Chart>& charts) {
  const double height = kHeight * static_cast<double>(charts.size());
  std::ostringstream out;
  out.imbue(std::locale::classic());
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << kWidth << "\" height=\"" << height
      << "\" font-family=\"sans-serif\" font-size=\"12\">\n"
      << "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
  for (std::size_t i = 0; i < charts.size(); ++i)
    draw(out, charts[i], kHeight * static_cast<double>(i));
  out << "</svg>\n";
  return out.str();
}

}  // namespace chart
