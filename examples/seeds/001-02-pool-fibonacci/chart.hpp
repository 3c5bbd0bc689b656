// Line charts as an SVG picture.
#pragma once

#include <string>
#include <vector>

namespace chart {

struct Line {
  std::string name;
  std::vector<double> y;  // for each x
};

struct Chart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<double> x;  // rising
  std::vector<Line> lines;
};

// One below the other. Axes begin at zero; what is negative is cut off.
std::string to_svg(const std::vector<Chart>& charts);

}  // namespace chart
