"""The comparison as a picture: one panel a work, one bar a system, as SVG text."""

import dataclasses
from xml.sax.saxutils import escape

from figures import METRICS, OURS, advantage, in_order, spread_in

THROUGHPUT = METRICS[0]
WIDTH = 820
MARGIN = 20
LABEL_WIDTH = 170  # names of systems, left of the bars
VALUE_WIDTH = 210  # figures, right of the longest bar
BAR_HEIGHT = 22
BAR_STEP = 30
TITLE_HEIGHT = 34
PANEL_GAP = 16
FONT_SIZE = 13
TITLE_SIZE = 15
LETTER_WIDTH = 0.56  # of the font size: the mean of a sans-serif face, for the layout
OUR_COLOR, PEER_COLOR, RANGE_COLOR, TEXT_COLOR = "#1f6f8b", "#b8c4cc", "#333333", "#222222"


@dataclasses.dataclass(frozen=True)
class Label:
    x: float
    y: float  # baseline
    text: str
    size: int = FONT_SIZE
    anchor: str = "start"
    bold: bool = False

    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, by an estimate of the text's width."""
        width = len(self.text) * self.size * LETTER_WIDTH
        left = self.x - width if self.anchor == "end" else self.x
        return left, self.y - self.size * 0.8, left + width, self.y + self.size * 0.2

    def svg(self) -> str:
        weight = ' font-weight="bold"' if self.bold else ""
        return (f'<text x="{self.x:.1f}" y="{self.y:.1f}" font-size="{self.size}" text-anchor="{self.anchor}"{weight}>'
                f"{escape(self.text)}</text>\n")


@dataclasses.dataclass(frozen=True)
class Bar:
    y: float
    length: float
    low: float
    high: float  # ends of the range, as lengths
    is_ours: bool

    def svg(self) -> str:
        x = MARGIN + LABEL_WIDTH
        color = OUR_COLOR if self.is_ours else PEER_COLOR
        out = f'<rect x="{x}" y="{self.y:.1f}" width="{self.length:.1f}" height="{BAR_HEIGHT}" fill="{color}"/>\n'
        if self.high > self.low:
            middle = self.y + BAR_HEIGHT / 2
            out += (f'<line x1="{x + self.low:.1f}" y1="{middle:.1f}" x2="{x + self.high:.1f}" y2="{middle:.1f}" '
                    f'stroke="{RANGE_COLOR}"/>\n')
        return out


@dataclasses.dataclass(frozen=True)
class Drawing:
    labels: list[Label]
    bars: list[Bar]
    height: float


def shortened(text: str, size: int, width: float) -> str:
    letters = int(width / (size * LETTER_WIDTH))
    return text if len(text) <= letters else text[:max(0, letters - 1)] + "…"


def figure_text(spread, ours, is_ours: bool) -> str:
    ratio = None if is_ours else advantage(THROUGHPUT, ours, spread)
    return f"{spread.median:.1f} tok/s" + ("" if ratio is None else f" (Troupe {ratio:.2f}x)")


def draw(results: dict) -> Drawing:
    runs, labels, bars, y = results["runs"], [], [], float(MARGIN)
    bar_space = WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH
    for work in in_order(run["work"] for run in runs):
        title = f"{work}: {results['works'][work]}"
        labels.append(Label(MARGIN, y + TITLE_SIZE, shortened(title, TITLE_SIZE, WIDTH - 2 * MARGIN), TITLE_SIZE, bold=True))
        y += TITLE_HEIGHT
        systems = in_order(run["system"] for run in runs if run["work"] == work)
        spreads = {system: spread_in(runs, system, work, THROUGHPUT) for system in systems}
        longest = max((spread.high for spread in spreads.values() if spread is not None), default=0.0) or 1.0
        for system, spread in spreads.items():
            if spread is None:
                continue
            scale = bar_space / longest
            bars.append(Bar(y, spread.median * scale, spread.low * scale, spread.high * scale, system == OURS))
            baseline = y + BAR_HEIGHT / 2 + FONT_SIZE * 0.35
            name = shortened(results["titles"][system], FONT_SIZE, LABEL_WIDTH - 8)
            labels.append(Label(MARGIN + LABEL_WIDTH - 8, baseline, name, anchor="end"))
            labels.append(Label(MARGIN + LABEL_WIDTH + spread.high * scale + 8, baseline,
                                figure_text(spread, spreads.get(OURS), system == OURS)))
            y += BAR_STEP
        y += PANEL_GAP
    return Drawing(labels, bars, y)


def svg(results: dict) -> str:
    drawing = draw(results)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{drawing.height:.0f}" '
            f'viewBox="0 0 {WIDTH} {drawing.height:.0f}" font-family="sans-serif" fill="{TEXT_COLOR}">\n'
            '<rect width="100%" height="100%" fill="white"/>\n' +
            "".join(bar.svg() for bar in drawing.bars) + "".join(label.svg() for label in drawing.labels) + "</svg>\n")
