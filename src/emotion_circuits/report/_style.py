"""Colours, numbers and how matplotlib is set, in one place: colour-blind safe, for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from emotion_circuits.prompts import bank, bundled_emotions


class Colour(NamedTuple):
    """One role in two themes. Light ones are all different, so that they can be found in a drawing and replaced."""

    light: str
    dark: str


# Yes, no, accent: bluish green, vermilion and blue of Okabe and Ito (2008), lightened for dark pages.
COLOURS = {
    "paper": Colour("#ffffff", "#14171b"),
    "ink": Colour("#1f2328", "#e8eaed"),
    "muted": Colour("#57606a", "#a5adb7"),
    "grid": Colour("#e4e7eb", "#333a42"),
    "null": Colour("#8a939e", "#98a1ac"),
    "null-strong": Colour("#6f7883", "#b4bcc6"),
    "yes": Colour("#008a65", "#3ccfa2"),
    "no": Colour("#d15700", "#ff9350"),
    "accent": Colour("#0072b2", "#62b6f2"),
    "all": Colour("#71518f", "#bda0e3"),
    "above": Colour("#2a78b8", "#4f9fdc"),
    "below": Colour("#d97b16", "#e29138"),
    "ramp-0": Colour("#9aa4af", "#66707a"),
    "ramp-1": Colour("#848e9a", "#7c8691"),
    "ramp-2": Colour("#6e7885", "#949eaa"),
    "ramp-3": Colour("#586370", "#aeb7c1"),
    "ramp-4": Colour("#414d5a", "#c9d1d9"),
}


def shade(role: str) -> float:
    """Opacity of a band; the null's is stronger, because intervals lie over it."""
    return 0.3 if role.startswith("null") else 0.2


_LOOKS = [own for own in bank(bundled_emotions()).classes if own.colour is not None]
COLOURS |= {own.name: Colour(*own.colour) for own in _LOOKS if own.colour is not None}
MARKERS = {own.name: own.marker for own in _LOOKS if own.marker is not None}
_FONTS = ["DejaVu Sans", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif"]


def emotion_colour(emotion: str) -> str:
    """The role of an emotion; others are drawn in the text's colour."""
    return emotion if emotion in COLOURS else "ink"


def emotion_marker(emotion: str) -> str:
    """matplotlib's sign for an emotion's points."""
    return MARKERS.get(emotion, "o")


def light(colour: str) -> str:
    """A role's colour in files, which are read on white."""
    return COLOURS[colour].light


def ramp(place: int, n: int) -> str:
    """The role of the `place`-th of `n` ordered things."""
    return f"ramp-{round(place / max(n - 1, 1) * 4)}"


def number(value: float | None) -> str:
    """Three significant digits, at most three decimals, with a true minus sign."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1e5:
        return f"{value:.2e}".replace("-", "−")
    decimals = 3 if abs(value) < 0.9995 else max(0, 2 - math.floor(math.log10(abs(value)) + 1e-9))
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def short(value: float) -> str:
    """Two decimals, for labels in figures."""
    text = f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def p_value(value: float | None) -> str:
    """A probability, never as 0."""
    if value is None or not math.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"


def interval(low: float, high: float) -> str:
    """`[low, high]`, or nothing where it is undefined."""
    return f"[{number(low)}, {number(high)}]" if math.isfinite(low) and math.isfinite(high) else ""


def layer_name(layer: int | float | None) -> str:
    """`embed` for what enters block 0."""
    return "–" if layer is None else "embed" if layer < 0 else str(int(layer))


def equals(p: float) -> str:
    """A probability behind `p`, with its sign."""
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


@contextmanager
def matplotlib_settings() -> Iterator[None]:
    """Drawings that are the same bytes on every run: fixed ids, no dates, one font."""
    import matplotlib as mpl

    settings: dict[str, Any] = {
        "svg.hashsalt": "emotion-circuits",
        "svg.fonttype": "none",  # text stays text: small, searchable, set in the reader's font
        "font.family": "sans-serif",
        "font.sans-serif": _FONTS[:1],
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": light("muted"),
        "axes.linewidth": 0.8,
        "axes.labelcolor": light("ink"),
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": light("grid"),
        "grid.linewidth": 0.7,
        "text.color": light("ink"),
        "text.parse_math": False,  # names may hold dollar signs
        "xtick.color": light("muted"),
        "ytick.color": light("muted"),
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "figure.facecolor": light("paper"),
        "savefig.facecolor": light("paper"),
        "axes.unicode_minus": True,
    }
    # The caller's settings must change nothing here, nor ours anything there.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)  # type: ignore[arg-type]
        yield
