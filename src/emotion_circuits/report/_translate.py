"""A finished page or drawing in another language: every piece of its text is looked up in a catalogue.

The catalogue is data, `assets/ja.json`: English to Japanese, where {} stands for any words, which are looked up too,
and {2} for the second of them. What is not in it stays as it is, so that a new section can be read before it is
translated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from html import escape, unescape
from importlib.resources import files
from typing import Literal, get_args

Language = Literal["en", "ja"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
# Code, and what a model read or wrote.
_KEPT = re.compile(r'<(?:(script(?! type)|style|code|pre)\b.*?</\1>|span[^>]* translate="no">.*?</span>)', re.DOTALL)
_TEXT = re.compile(r">([^<>]*[A-Za-z][^<>]*)<")
_SAID = re.compile(r'\b(aria-label|title|placeholder|alt)="([^"]*[A-Za-z][^"]*)"')
_HOVERS = re.compile(r'(<script type="application/json">)(.*?)(</script>)', re.DOTALL)


class Catalogue:
    """English to another language.

    Attributes:
        missing: texts that were looked up and are not there.
    """

    def __init__(self, entries: dict[str, str]):
        self.missing: set[str] = set()
        self._exact = {source: target for source, target in entries.items() if "{}" not in source}
        patterns = sorted((source for source in entries if "{}" in source), key=_letters, reverse=True)
        # Most patterns are ruled out by their longest piece alone.
        self._patterns = [(max(p.split("{}"), key=len), _compiled(p), entries[p]) for p in patterns]
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """The text in the other language, or as it is."""
        core = text.strip()
        if not re.search("[A-Za-z]{2}", core):
            return text
        if core not in self._known:
            self._known[core] = self._look_up(core)
        return text.replace(core, self._known[core])

    def _look_up(self, text: str) -> str:
        if text in self._exact:
            return self._exact[text]
        for piece, pattern, target in self._patterns:
            if piece in text and (found := pattern.fullmatch(text)):
                return _filled(target, [self(part) for part in found.groups()])
        self.missing.add(text)
        return text


def _filled(target: str, parts: list[str]) -> str:
    left = iter(parts)
    return re.sub(r"\{(\d?)\}", lambda at: parts[int(at[1]) - 1] if at[1] else next(left), target)


def _letters(source: str) -> int:
    return len(source.replace("{}", ""))


def _compiled(source: str) -> re.Pattern[str]:
    return re.compile("(.+?)".join(map(re.escape, source.split("{}"))), re.DOTALL)


@cache
def catalogue(language: Language) -> Catalogue:
    """The package's catalogue of a language; there is none to look up for English."""
    file = files("emotion_circuits.report") / "assets" / f"{language}.json"
    return Catalogue({} if language == "en" else json.loads(file.read_text(encoding="utf-8")))


def translated(html: str, language: Language) -> str:
    """HTML or SVG in a language: texts, labels and what points tell."""
    if language == "en":
        return html
    look_up = catalogue(language)
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"<!--{len(kept) - 1}-->"

    html = _HOVERS.sub(lambda found: _keep_hovers(found, look_up, kept), html)
    html = _KEPT.sub(keep, html)
    html = _TEXT.sub(lambda found: f">{escape(look_up(unescape(found[1])), quote=False)}<", html)
    html = _SAID.sub(lambda found: f'{found[1]}="{escape(look_up(unescape(found[2])))}"', html)
    html = html.replace('<html lang="en">', f'<html lang="{language}">')
    return re.sub(r"<!--(\d+)-->", lambda found: kept[int(found[1])], html)


def _keep_hovers(found: re.Match[str], look_up: Callable[[str], str], kept: list[str]) -> str:
    """What points tell, line by line, put aside."""
    points = json.loads(found[2])
    for point in points:
        point[2] = "\n".join(map(look_up, point[2].split("\n")))
    kept.append(found[1] + script_json(points) + found[3])
    return f"<!--{len(kept) - 1}-->"


def script_json(value: object) -> str:
    """JSON inside a script element, which nothing in a name can end."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
