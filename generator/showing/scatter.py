"""A scatter of two numbers as inline SVG, in colours for light and dark pages."""

from collections.abc import Sequence

from .markup import escaped

SIZE, LEFT, BELOW, ABOVE = 240, 70, 34, 6  # pixels: the square, and what is beside it
ROOM = 0.06  # of the range, on each side
EQUAL, OFF = "#4c8bf5", "#e5484d"

Point = tuple[float, float, bool]
"""Expected, served, and whether they differ."""


def svg(points: Sequence[Point]) -> str:
    """The points, with the line on which expected and served are equal.

    Args:
        points: two or more, all finite.
    """
    low, high = _range(points)
    across, down = SIZE + LEFT + 10, SIZE + ABOVE + BELOW
    ordered = sorted(points, key=lambda point: point[2])  # what differs lies on top
    circles = "".join(_circle(point, low, high) for point in ordered)
    last, foot = LEFT + SIZE, ABOVE + SIZE
    texts = [
        _text(LEFT, foot + 14, "start", _tick(low)),
        _text(last, foot + 14, "end", _tick(high)),
        _text(LEFT + SIZE / 2, foot + 28, "middle", "expected"),
        _text(LEFT - 5, foot, "end", _tick(low)),
        _text(LEFT - 5, ABOVE + 9, "end", _tick(high)),
        _text(LEFT - 5, ABOVE + SIZE / 2, "end", "served"),
    ]
    return (
        f'<svg width="{across}" height="{down}" viewBox="0 0 {across} {down}"'
        ' font-size="11" fill="currentColor" role="img">'
        f'<rect x="{LEFT}" y="{ABOVE}" width="{SIZE}" height="{SIZE}" fill="none"'
        ' stroke="#8888"></rect>'
        f'<line x1="{LEFT}" y1="{foot}" x2="{last}" y2="{ABOVE}" stroke="#8888"></line>'
        f"{circles}{''.join(texts)}</svg>"
    )


def _range(points: Sequence[Point]) -> tuple[float, float]:
    numbers = [number for expected, served, _ in points for number in (expected, served)]
    low, high = min(numbers), max(numbers)
    if low == high:
        return low - max(abs(low), 1.0) / 2, high + max(abs(high), 1.0) / 2
    return low - ROOM * (high / 2 - low / 2) * 2, high + ROOM * (high / 2 - low / 2) * 2


def _circle(point: Point, low: float, high: float) -> str:
    expected, served, differs = point
    x, y = LEFT + SIZE * _share(expected, low, high), ABOVE + SIZE * (1 - _share(served, low, high))
    colour = OFF if differs else EQUAL
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}" fill-opacity=".75"></circle>'


def _share(number: float, low: float, high: float) -> float:
    """Where in the range a number is. Halves, because the range may be larger than any number."""
    return min(max((number / 2 - low / 2) / (high / 2 - low / 2), 0.0), 1.0)


def _tick(number: float) -> str:
    return f"{number:.3g}"


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escaped(text)}</text>'
