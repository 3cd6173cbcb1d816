"""Loss curves as the coordinates of small charts with a logarithmic axis; the page's template draws them as SVG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Curve = Sequence[tuple[int, Mapping[str, float]]]
"""(step, {term: value}) in the order of time."""

MOST_POINTS = 300  # more than a chart has pixels across
MOST_DECADES = 6  # a term that vanishes must not flatten all others
LEAST_DECADES = 0.5


@dataclass(frozen=True)
class Axes:
    """The drawing and, inside the margins that hold tick labels, the edges of its axes, in user units of the SVG."""

    width: int = 360
    height: int = 190
    left: int = 46
    right: int = 348
    top: int = 10
    bottom: int = 166


AXES = Axes()


@dataclass(frozen=True)
class Tick:
    """position: user units of the SVG, along its axis."""

    position: float
    label: str


@dataclass(frozen=True)
class Line:
    """One term. path: the SVG path data, empty if no value can be drawn; last: its latest value as text."""

    name: str
    path: str
    last: str


@dataclass(frozen=True)
class Chart:
    """One stage; steps on the horizontal axis."""

    name: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]


def thin(curve: Curve, most: int = MOST_POINTS) -> list[tuple[int, dict[str, float]]]:
    """At most ``most`` points of a curve, evenly spaced, the first and the last among them."""
    points = [(step, dict(terms)) for step, terms in curve]
    if len(points) <= most:
        return points
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]


def loss_charts(losses: Mapping[str, Curve]) -> list[Chart]:
    """A chart for each stage that has a point."""
    return [_chart(stage, thin(curve)) for stage, curve in losses.items() if curve]


def number_text(value: float) -> str:
    """As many decimals as others of its magnitude: '26.43', '0.0131', '12,400', '3.2e-05', 'nan'; integers in full."""
    if isinstance(value, int):
        return f"{value:,}"
    magnitude = abs(value)
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if magnitude < 1e-3 or magnitude >= 1e7:
        return f"{value:.1e}"
    return f"{value:,.0f}" if magnitude >= 1000 else f"{value:.2f}" if magnitude >= 10 else f"{value:.4f}"


def _chart(stage: str, curve: Curve) -> Chart:
    last_step = max(step for step, _ in curve) or 1
    names = list(dict.fromkeys(name for _, terms in curve for name in terms))
    bottom, top = _decades([value for _, terms in curve for value in terms.values() if _drawable(value)])

    def place(step: int, value: float) -> tuple[float, float]:
        height = (max(math.log10(value), bottom) - bottom) / (top - bottom)
        return _across(step / last_step), _up(height)

    return Chart(
        name=stage,
        x_ticks=[Tick(_across(step / last_step), f"{step:,.6g}") for step in _round_numbers(last_step)],
        y_ticks=list(_log_ticks(bottom, top)),
        lines=[_line(name, curve, place) for name in names],
    )


def _line(name: str, curve: Curve, place: Callable[[int, float], tuple[float, float]]) -> Line:
    """A path that is interrupted wherever a value is missing, zero, negative or not finite."""
    path, pen_down, last = [], False, math.nan
    for step, terms in curve:
        last = terms.get(name, last)
        if not (name in terms and _drawable(terms[name])):
            pen_down = False
            continue
        across, up = place(step, terms[name])
        # "h0" after a move makes a lone point a dot, thanks to round line caps.
        path.append(f"L{across:.1f} {up:.1f}" if pen_down else f"M{across:.1f} {up:.1f}h0")
        pen_down = True
    return Line(name, "".join(path), number_text(last))


def _drawable(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _across(share: float) -> float:
    return round(AXES.left + share * (AXES.right - AXES.left), 1)


def _up(share: float) -> float:
    return round(AXES.bottom - share * (AXES.bottom - AXES.top), 1)


def _decades(values: list[float]) -> tuple[float, float]:
    """The ends of the vertical axis, in powers of ten."""
    if not values:
        return -1, 0
    top = math.log10(max(values))
    bottom = max(math.log10(min(values)), top - MOST_DECADES)
    room = max(0.04 * (top - bottom), (LEAST_DECADES - (top - bottom)) / 2)
    return bottom - room, top + room


def _log_ticks(bottom: float, top: float) -> Iterator[Tick]:
    """Powers of ten, or, where the axis spans less than two, also their double and fivefold."""
    multiples = (1, 2, 5) if top - bottom < 2 else (1,)
    for exponent, multiple in itertools.product(range(math.floor(bottom), math.floor(top) + 1), multiples):
        power = exponent + math.log10(multiple)
        if bottom <= power <= top:
            yield Tick(_up((power - bottom) / (top - bottom)), f"{multiple * 10.0**exponent:.4g}")


def _round_numbers(last: float) -> list[float]:
    """0 and two to five further round numbers up to ``last``."""
    rough = last / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough)
    return [index * step for index in range(math.floor(last / step * (1 + 1e-9)) + 1)]
