"""Curves as a picture: one panel each, values on a linear axis from zero, as SVG text."""

import dataclasses
import math

from chart import FONT_SIZE, MARGIN, OUR_COLOR, RANGE_COLOR, TEXT_COLOR, TITLE_HEIGHT, TITLE_SIZE, WIDTH, Label, shortened

AXIS_WIDTH = 90  # values, left of a panel
AXIS_HEIGHT = 30  # places, below it
PLOT_HEIGHT = 160
PLOT_WIDTH = WIDTH - 2 * MARGIN - AXIS_WIDTH
PANEL_GAP = 24
GRID_COLOR = "#dddddd"
DOT_RADIUS = 3
LABEL_GAP = 12  # at least this much between two labels of an axis


@dataclasses.dataclass(frozen=True)
class Panel:
    title: str
    x_unit: str
    y_unit: str
    points: list[tuple[float, float]]  # by ascending x, which is not negative
    is_log: bool = False  # of x, which is then positive


@dataclasses.dataclass(frozen=True)
class Drawing:
    labels: list[Label]
    dots: list[list[tuple[float, float]]]  # of each panel
    grid: list[tuple[float, float, float, float]]  # lines: x1, y1, x2, y2
    height: float


def round_steps(top: float) -> list[float]:
    """From 0 to at least top, in four to six steps of 1, 2, 2.5 or 5 times a power of ten."""
    if top <= 0:
        return [0.0, 1.0]
    decade = 10.0 ** (math.floor(math.log10(top)) - 1)
    step = next(size * decade for size in (1, 2, 2.5, 5, 10, 20, 25, 50) if size * decade * 6 >= top)
    return [i * step for i in range(math.ceil(top / step - 1e-9) + 1)]


def place_of(panel: Panel, x: float) -> float:
    """Of an x, between 0 and 1."""
    scale = (lambda value: math.log(value)) if panel.is_log else (lambda value: value)
    low, high = scale(panel.points[0][0]) if panel.is_log else 0.0, scale(panel.points[-1][0])
    return (scale(x) - low) / (high - low) if high > low else 0.5


def x_labels(panel: Panel, left: float, y: float) -> list[Label]:
    """The largest places that have room, read from the right."""
    labels: list[Label] = []
    edge = math.inf
    for x, _ in reversed(panel.points):
        end = min(left + place_of(panel, x) * PLOT_WIDTH + FONT_SIZE, left + PLOT_WIDTH)
        label = Label(end, y, f"{x:g} {panel.x_unit}" if not labels else f"{x:g}", anchor="end")
        if label.box()[2] + LABEL_GAP <= edge and label.box()[0] >= left - AXIS_WIDTH:
            labels.append(label)
            edge = label.box()[0]
    return labels


def draw(panels: list[Panel]) -> Drawing:
    labels, dots, grid, y = [], [], [], float(MARGIN)
    left = MARGIN + AXIS_WIDTH
    for panel in panels:
        labels.append(Label(MARGIN, y + TITLE_SIZE, shortened(panel.title, TITLE_SIZE, WIDTH - 2 * MARGIN), TITLE_SIZE, bold=True))
        y += TITLE_HEIGHT
        steps = round_steps(max(value for _, value in panel.points))
        bottom = y + PLOT_HEIGHT
        for value in steps:
            height = bottom - value / steps[-1] * PLOT_HEIGHT
            grid.append((left, height, left + PLOT_WIDTH, height))
            text = f"{value:g} {panel.y_unit}" if value == steps[-1] else f"{value:g}"
            labels.append(Label(left - 8, height + FONT_SIZE * 0.35, text, anchor="end"))
        dots.append([(left + place_of(panel, x) * PLOT_WIDTH, bottom - value / steps[-1] * PLOT_HEIGHT)
                     for x, value in panel.points])
        labels += x_labels(panel, left, bottom + AXIS_HEIGHT - 8)
        y = bottom + AXIS_HEIGHT + PANEL_GAP
    return Drawing(labels, dots, grid, y)


def svg(panels: list[Panel]) -> str:
    drawing = draw(panels)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{drawing.height:.0f}" '
             f'viewBox="0 0 {WIDTH} {drawing.height:.0f}" font-family="sans-serif" fill="{TEXT_COLOR}">\n'
             '<rect width="100%" height="100%" fill="white"/>\n']
    parts += [f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GRID_COLOR}"/>\n'
              for x1, y1, x2, y2 in drawing.grid]
    for points in drawing.dots:
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{corners}" fill="none" stroke="{OUR_COLOR}" stroke-width="2"/>\n')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT_RADIUS}" fill="{RANGE_COLOR}"/>\n' for x, y in points]
    return "".join(parts) + "".join(label.svg() for label in drawing.labels) + "</svg>\n"
