"""The picture of the record: what picks by each rule lost in replayed pools, one panel for each world, as an SVG."""

from dataclasses import dataclass
from html import escape

from vlmatch.evidence.record import SIZE, SPEC_SHEET, Record, WorldRecord
from vlmatch.evidence.replay import Figure
from vlmatch.report.evidence import bare

WIDTH, ROW, TOP, BOTTOM = 440, 26, 62, 44  # of a panel, in pixels
GAP = 20  # between two panels
LEFT, RIGHT = 150, 66  # of the axis, from the panel's sides
LARGEST = 1.4  # the end of the axis; longer whiskers end in an arrow
TENTH, RANDOM = 0.1, 1.0
COLOUR, OURS, THEIRS = "#4c86c6", "#2a9d5c", "#8a94a3"  # of scores, of the rule, of what uses no score
STYLE = "<style>svg.record{color:#1f2328}@media(prefers-color-scheme:dark){svg.record{color:#e6edf3}}</style>"


@dataclass(frozen=True)
class Bar:
    """One line of a panel: a figure, or `words` that say why there is none; `colour` is by the kind of rule.

    A figure without a value is a range, from its low to its high.
    """

    label: str
    figure: Figure | None
    colour: str
    words: str = "not measured"


def record_picture(record: Record) -> str:
    """Both panels side by side, as a file of its own that follows the reader's light or dark setting."""
    panels = [_panel(record.world("patches")), _panel(record.world("pooled"))]
    height = _height(len(_bars(record.world("pooled"))))
    placed = "".join(
        f'<g transform="translate({place * (WIDTH + GAP)},0)">{each}</g>' for place, each in enumerate(panels)
    )
    return _svg(placed, 2 * WIDTH + GAP, height, STYLE)


def record_panel(world: WorldRecord) -> str:
    """One world's panel, to be put into a page; text and lines have the colour of the text around it."""
    return _svg(_panel(world), WIDTH, _height(len(_bars(world))), "")


def _bars(world: WorldRecord) -> list[Bar]:
    """The lines of a panel, from top to bottom."""
    size = "parameters" if world.outcome("parameters") else "width"
    once = next((each.fraction for each in world.once if (each.kind, each.size) == ("random", SIZE)), None)
    chosen = world.chosen_by()
    return [
        _bar(world, f"biggest ({size})", size, THEIRS),
        _bar(world, "spec sheet", SPEC_SHEET, THEIRS),
        _bar(world, "GW", "gw", COLOUR),
        _bar(world, "participation ratio", "participation_ratio", COLOUR),
        _bar(world, "MutualNN", "mutual_nn", COLOUR),
        _bar(world, "ridge R2", "ridge_r2", COLOUR),
        Bar("the rule, held out", chosen.fraction if chosen else None, OURS),
        Bar("train each once", Figure(None, 0.0, once.value) if once else None, THEIRS, "not known: one training each"),
    ]


def _bar(world: WorldRecord, label: str, rule: str, colour: str) -> Bar:
    outcome = world.outcome(rule)
    return Bar(label, outcome.fraction if outcome else None, colour)


def _panel(world: WorldRecord) -> str:
    bars = _bars(world)
    foot = TOP + ROW * len(bars)
    fed = "all patches" if world.setting == "patches" else "one pooled feature"
    parts = [
        _text(12, 20, world.title, "font-weight:600;font-size:15px"),
        _text(
            12,
            38,
            f"{world.n_families} families; {world.llm}, fed {fed}; pools of {SIZE}",
            "font-size:12px;opacity:.75",
        ),
    ]
    for value, name in ((0.0, "0"), (TENTH, ".1"), (RANDOM, "random")):
        dash = "" if value == 0 else ' stroke-dasharray="3 3"'
        parts.append(
            f'<line x1="{_x(value):.1f}" x2="{_x(value):.1f}" y1="{TOP - 8}" y2="{foot}" stroke="currentColor" '
            f'stroke-opacity=".45"{dash}/>'
        )
        parts.append(_text(_x(value), foot + 15, name, "font-size:11px;opacity:.75", "middle"))
    parts += [_line(bar, TOP + ROW * place + ROW / 2 - 4) for place, bar in enumerate(bars)]
    words = "mean regret of the pick / that of a random pick"
    parts.append(_text(_x(0), foot + 33, words, "font-size:11px;opacity:.75"))
    return "".join(parts)


def _line(bar: Bar, y: float) -> str:
    """One line of a panel: its name, whiskers, point and figure."""
    bold = "font-weight:600" if bar.colour == OURS else ""
    parts = [_text(LEFT - 12, y + 4, bar.label, bold, "end")]
    if bar.figure is None:
        return "".join([*parts, _text(_x(0) + 8, y + 4, bar.words, "font-style:italic;opacity:.75")])
    value, low, high = bar.figure
    if low is not None and high is not None:
        ends = f'x1="{_x(low):.1f}" x2="{_x(high):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
        parts.append(f'<line {ends} stroke="{bar.colour}" stroke-width="{2 if value is not None else 6}"/>')
        if high > LARGEST:
            parts.append(f'<path d="M{_x(LARGEST):.1f} {y - 4:.1f}l6 4l-6 4z" fill="{bar.colour}"/>')
    if value is not None:
        parts.append(f'<circle cx="{_x(value):.1f}" cy="{y:.1f}" r="5" fill="{bar.colour}"/>')
    figure = bare(value) if value is not None else f"{bare(low, 0)} to {bare(high)}"
    return "".join([*parts, _text(WIDTH - 8, y + 4, figure, bold, "end")])


def _x(value: float) -> float:
    """The place of a figure on the axis; those beyond its ends are at its ends."""
    inside = min(max(value, -0.2), LARGEST)
    return LEFT + (inside + 0.2) / (LARGEST + 0.2) * (WIDTH - LEFT - RIGHT)


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    style = f' style="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor"{style}>{escape(words)}</text>'


def _height(bars: int) -> int:
    return TOP + ROW * bars + BOTTOM


def _svg(inner: str, width: int, height: int, style: str) -> str:
    return (
        f'<svg class="record" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui,Helvetica,Arial,sans-serif" font-size="13" role="img">'
        f"<title>Mean regret of picks in replayed pools of {SIZE}, as a fraction of a random pick's</title>"
        f"{style}{inner}</svg>"
    )
