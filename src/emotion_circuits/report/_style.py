"""Numbers in words, and the colours of roles and emotions on light and on dark pages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import NamedTuple

from emotion_circuits.prompts import Bank, bank, bundled_emotions


class Colour(NamedTuple):
    """One role in two themes."""

    light: str
    dark: str


# Yes, no, accent: bluish green, vermilion and blue of Okabe and Ito (2008), lightened for dark pages.
ROLES = {
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
# For emotions that bring no colour or sign of their own.
_SPARE = (
    Colour("#0b7a75", "#4fd1c5"), Colour("#9b2d6b", "#e88ac0"), Colour("#7a5c00", "#d9b84a"),
    Colour("#4b4fb5", "#a3a6f5"), Colour("#a33a3a", "#f08d8d"), Colour("#3d7a1e", "#93d36b"),
)  # fmt: skip
_SIGNS = "o^sDvPX*"


@dataclass(frozen=True)
class Looks:
    """The emotions of a results folder, as they are drawn and named.

    Attributes:
        emotions: in their order.
        colours: of every role, emotions' `e0`, `e1`, … among them; no two light ones are equal, so that a drawing's can
            be found and replaced.
        markers, labels: by emotion.
    """

    emotions: tuple[str, ...]
    colours: Mapping[str, Colour]
    markers: Mapping[str, str]
    labels: Mapping[str, str]

    def role(self, emotion: str) -> str:
        """The colour's role; emotions that are not known have the text's."""
        if emotion in self.emotions:
            return f"e{self.emotions.index(emotion)}"
        return "all" if emotion == "all" else "ink"

    def marker(self, emotion: str) -> str:
        """matplotlib's sign for an emotion's points."""
        return self.markers.get(emotion, "o")

    def label(self, emotion: str) -> str:
        """An emotion's name for readers."""
        return self.labels.get(emotion, emotion)

    def in_order(self, emotions: Iterable[str]) -> tuple[str, ...]:
        """Emotions of the bank in its order, then others by name."""
        found = set(emotions)
        return tuple(e for e in self.emotions if e in found) + tuple(sorted(found - set(self.emotions)))


def looks_of(kept: Bank | None = None, others: Iterable[str] = ()) -> Looks:
    """Looks of a bank's emotions, all bundled ones without one, and of others that only tables name."""
    classes = {own.name: own for own in (kept or _bundled()).classes[1:]}
    names = (*classes, *sorted(set(others) - set(classes)))
    colours, used = dict(ROLES), {colour.light for colour in ROLES.values()}
    markers = {}
    for i, name in enumerate(names):
        own = classes.get(name)
        colour = _SPARE[i % len(_SPARE)] if own is None or own.colour is None else Colour(*own.colour)
        shade = colour.light.lower()
        while shade in used:  # one step of 16 million is not seen
            shade = f"#{(int(shade[1:], 16) + 1) % 0x1000000:06x}"
        used.add(shade)
        colours[f"e{i}"] = Colour(shade, colour.dark.lower())
        given = own.marker if own is not None else None
        markers[name] = given if given is not None and given in _SIGNS else _SIGNS[i % len(_SIGNS)]
    return Looks(names, colours, markers, {name: own.label_in("en") for name, own in classes.items()})


@cache
def _bundled() -> Bank:
    return bank(bundled_emotions())


def opacity(role: str) -> float:
    """Of a band; the null's is stronger, because intervals lie over it."""
    return 0.3 if role.startswith("null") else 0.2


def ramp(place: int, n: int) -> str:
    """The role of the `place`-th of `n` ordered things."""
    return f"ramp-{round(place / max(n - 1, 1) * 4)}"


_MODEL_COLOURS = ("above", "below", "all", "ink", "null-strong")
_MODEL_DASHES = ("solid", "dash", "dot", "longdash", "dashdot")


def model_line(place: int) -> tuple[str, str]:
    """Colour and dash of the place-th model where several share a chart."""
    return _MODEL_COLOURS[place % len(_MODEL_COLOURS)], _MODEL_DASHES[place % len(_MODEL_DASHES)]


def short_name(model: str) -> str:
    """A model's name without its owner."""
    return model.rpartition("/")[2]


def theme_css(colours: Mapping[str, Colour]) -> str:
    """Colours as CSS variables for both themes."""
    light, dark = ("".join(f"--{role}:{colour[i]};" for role, colour in colours.items()) for i in (0, 1))
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def inlined(svg: str, looks: Looks, place: int, label: str, crop: float = 0.0) -> str:
    """A drawing as part of a page, in the page's colours, light or dark, without its top `crop` points.

    Args:
        svg: of `Canvas`, as a file.
        place: of the drawing on the page, so that no two share ids.
        label: for those who cannot see it.
    """
    roles = {colour.light: f"var(--{role})" for role, colour in looks.colours.items()}
    start, end = svg.index("<svg"), svg.index(">", svg.index("<svg")) + 1
    x, y, width, height = map(float, re.search(r'viewBox="([^"]*)"', svg[start:end])[1].split())  # type: ignore[index]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|\n\s*", "", svg[end:], flags=re.DOTALL)
    body = re.sub(r"<text[^>]*>[^<]*</text>", "", body, count=1) if crop else body  # the title
    body = re.sub(r"#[0-9a-f]{6}\b", lambda found: roles.get(found[0], found[0]), body)
    body = re.sub(r' (?:d|style)="[^"]*"', lambda found: re.sub(r"(?<=[MLCz;:]) | (?=[MLCz\"])", "", found[0]), body)
    body = re.sub(r'(\bid="|href="#|url\(#)', lambda found: f"{found[0]}d{place}-", body)
    box = f"{x:g} {y + crop:g} {width:g} {height - crop:g}"
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(label)}">{body}'


def _minus(text: str) -> str:
    """A true minus sign, and none before 0."""
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def number(value: float | None) -> str:
    """Three significant digits, at most three decimals, with a true minus sign."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1e5:
        return f"{value:.2e}".replace("-", "−")
    decimals = 3 if abs(value) < 0.9995 else max(0, 2 - math.floor(math.log10(abs(value)) + 1e-9))
    return _minus(f"{value:.{decimals}f}")


def short(value: float) -> str:
    """Two decimals, for labels in figures."""
    return _minus(f"{value:.2f}") if math.isfinite(value) else "–"


def plain(value: float) -> str:
    """A setting such as a dose, as it was given."""
    return f"{value:g}".replace("-", "−")


def signed(value: float) -> str:
    """`number` with its sign and without the 0 before the point."""
    return ("+" if value > 0 else "−") + number(abs(value)).removeprefix("0")


def p_value(value: float | None) -> str:
    """A probability, never as 0."""
    if value is None or not math.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"


def equals(p: float) -> str:
    """A probability behind `p`, with its sign."""
    return p_value(p) if p_value(p).startswith("<") else f"= {p_value(p)}"


def interval(low: float | None, high: float | None) -> str:
    """`[low, high]`, or nothing where it is undefined."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{number(low)}, {number(high)}]"


def layer_name(layer: float | None) -> str:
    """`embed` for what enters block 0."""
    return "–" if layer is None else "embed" if layer < 0 else str(int(layer))


def counts(numbers: Iterable[int]) -> str:
    """`12`, or `8 to 12` where they differ."""
    found = set(numbers)
    return f"{min(found)}" if len(found) == 1 else f"{min(found)} to {max(found)}"
