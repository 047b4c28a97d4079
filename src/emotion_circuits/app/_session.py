"""What one browser does: its last texts and its own emotions. No state is shared but the models."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from emotion_circuits._files import read_json
from emotion_circuits.app._bench import Benches, Workbench
from emotion_circuits.app._evidence import evidence_of, find_claims
from emotion_circuits.app._heads import attention, head_map
from emotion_circuits.app._html import attention_html, draft_html, paragraph, progress_html, reading_html
from emotion_circuits.app._maps import LayerDoseMap, computed_map, stored_map
from emotion_circuits.app._own import OwnEmotion, fit_own
from emotion_circuits.app._reading import Reading, profile_image, read_text
from emotion_circuits.app._recipe import Recipe, as_command, as_python, layer_of, to_query
from emotion_circuits.app._share import as_html, as_json, numbers_of
from emotion_circuits.app._tables import (
    alternatives_html,
    beside_html,
    claims_html,
    evidence_html,
    heads_html,
    map_html,
)
from emotion_circuits.app._writing import ARMS, Draft, alternatives, fork, write
from emotion_circuits.directions import DirectionSet
from emotion_circuits.errors import EmotionCircuitsError, InputError

SHOWN_EVERY = 0.12
"""Seconds between two states of a text that is being written."""


@dataclass
class Session:
    """One browser's."""

    run: int = 0
    """Of the text that is being written: an earlier one ends itself."""
    draft: Draft | None = None
    reading: Reading | None = None
    picked: tuple[str, int] = ("clean", 0)
    own: dict[tuple[str, str], OwnEmotion] = field(default_factory=dict)
    """(model, emotion) → a pasted one."""


def explained(error: BaseException) -> str:
    """Any failure in a few lines for the page."""
    if isinstance(error, EmotionCircuitsError):
        return str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error):
        return "Out of memory.\n next: a shorter text, fewer tokens or a smaller model"
    reason = str(error).strip().splitlines()
    return f"Unexpected error, {type(error).__name__}: {reason[0][:300] if reason else 'no message'}"


class Explorer:
    """What the page can ask for, in plain values and HTML.

    Args:
        benches: the models.
    """

    def __init__(self, benches: Benches):
        self.benches = benches

    @property
    def folder(self) -> Path | None:
        return self.benches.folder

    def directions(self, session: Session, bench: Workbench, emotion: str) -> DirectionSet:
        """Those that hold the emotion."""
        own = session.own.get((str(bench.lm.name), emotion))
        return bench.directions if own is None else own.directions

    def emotions(self, session: Session, bench: Workbench) -> list[str]:
        known = sorted(bench.directions.emotions, key=(*bench.bank.emotions, *bench.directions.emotions).index)
        return [*known, *(e for model, e in session.own if model == str(bench.lm.name))]

    def layer(self, session: Session, bench: Workbench, emotion: str) -> int:
        """Where steering starts: what the study chose for it, an own emotion's layer, or the middle."""
        own = session.own.get((str(bench.lm.name), emotion))
        path = self.folder and self.folder / "patching" / f"{bench.lm.name.slug}_choice.json"
        if own is not None:
            return own.layer
        return int(read_json(path)["layer"]) if path and path.is_file() else bench.lm.n_layers // 2

    def about(self, bench: Workbench) -> str:
        """A line about a model."""
        lm = bench.lm
        parts = (
            f"{lm.name}: {lm.n_layers} layers of width {lm.d_model}, {lm.device.type}; directions from {bench.where}."
        )
        return paragraph(f"{parts} Doses and scores are in spreads of generic text.")

    def write(self, session: Session, recipe: Recipe) -> Iterator[str | None]:
        """The three texts, again and again until they are done; None in the end where a later run of the session took
        over."""
        session.run += 1
        mine = session.run
        bench = self.benches.get(recipe.model)
        directions = self.directions(session, bench, recipe.parts[0].emotion if recipe.parts else "")
        shown = 0.0
        for draft in write(bench, directions, recipe):
            if session.run != mine:
                yield None
                return
            session.draft = draft
            if draft.done or time.monotonic() - shown > SHOWN_EVERY:
                shown = time.monotonic()
                yield draft_html(draft)

    def alternatives(self, session: Session, pick: str) -> str:
        """Next tokens at a token of the last draft; `pick` is `arm:place`."""
        draft = _there(session.draft)
        arm, _, place = pick.partition(":")
        if arm not in ARMS or not place.isdecimal():
            raise InputError("There is no such token.", found=pick[:40])
        text = draft.texts[ARMS.index(arm)]
        session.picked = (arm, min(int(place), max(len(text.ids) - 1, 0)))
        bench = self.benches.get(draft.recipe.model)
        directions = self.directions(session, bench, draft.recipe.parts[0].emotion)
        found = alternatives(bench, directions, draft.recipe, text.ids[: session.picked[1]])
        return alternatives_html(found, *session.picked)

    def fork(self, session: Session, pick: str) -> str:
        """The prompt that goes on with another token where one was picked."""
        draft = _there(session.draft)
        if not pick.isdecimal():
            raise InputError("There is no such token.", found=pick[:40])
        arm, place = session.picked
        bench = self.benches.get(draft.recipe.model)
        token = min(int(pick), bench.lm.vocab_size - 1)
        return fork(bench, draft.recipe, draft.texts[ARMS.index(arm)].ids[:place], token)

    def read(
        self, session: Session, model: str, other: str, text: str, emotion: str, layer: int | None
    ) -> Iterator[str]:
        """A text in a model and, if one is named, in another."""
        found = []
        for name in dict.fromkeys(filter(None, (model, other))):
            bench = self.benches.get(name)
            directions = self.directions(session, bench, emotion)
            at = layer if name == model else None  # layers of two models are not the same ones
            reading = read_text(bench, directions, text, emotion, at)
            session.reading = reading if name == model else session.reading
            found.append(reading_html(reading))
            yield "".join(found)

    def profile(self, session: Session, pick: str) -> str:
        """A token's scores by layer, in the first model."""
        reading, bench = self._read(session)
        if not pick.isdecimal() or int(pick) >= len(reading.pieces):
            raise InputError("There is no such token.", found=pick[:40])
        picture = profile_image(reading, int(pick), bench)
        word = reading.pieces[int(pick)].strip() or "this token"
        return f"{picture}{paragraph(f'“{word}” by layer; grey: where 95 % of generic tokens lie.')}"

    def _read(self, session: Session) -> tuple[Reading, Workbench]:
        if session.reading is None:
            raise InputError("No text was read yet.", next_step="colour a text first")
        return session.reading, self.benches.get(session.reading.model)

    def heads(self, session: Session) -> str:
        """What heads write in the text that was read."""
        reading, bench = self._read(session)
        if reading.layer < 0:
            raise InputError("No head comes before the embedding.", next_step="read at a later layer")
        return heads_html(reading, head_map(bench, self.directions(session, bench, reading.emotion), reading))

    def head(self, session: Session, pick: str) -> str:
        """Where a head looks in it; `pick` is `layer:head`."""
        reading, bench = self._read(session)
        layer, _, head = pick.partition(":")
        sizes = ((layer, bench.lm.n_layers), (head, bench.lm.n_heads))
        if not all(part.isdecimal() and int(part) < size for part, size in sizes):
            raise InputError("There is no such head.", found=pick[:40])
        return attention_html(reading, int(layer), int(head), attention(bench, reading.text, int(layer), int(head)))

    def map(self, session: Session, model: str, emotion: str, compute: bool) -> Iterator[str]:
        """A finished sweep, or a small grid with its progress."""
        bench = self.benches.get(model)
        stored = None if compute else stored_map(bench, self.folder, emotion)
        if stored is not None:
            yield map_html(stored)
            return
        for found in computed_map(bench, self.directions(session, bench, emotion), emotion):
            if isinstance(found, LayerDoseMap):
                yield map_html(found)
            else:
                yield progress_html(found)

    def claims(self, wanted: str) -> str:
        return claims_html(find_claims(self.folder, wanted))

    def evidence(self, pick: str) -> str:
        found = dict(find_claims(self.folder))
        if not pick.isdecimal() or int(pick) not in found or self.folder is None:
            raise InputError("There is no such claim.", found=pick[:40])
        return evidence_html(evidence_of(self.folder, found[int(pick)]))

    def own(self, session: Session, model: str, name: str, pasted: str) -> OwnEmotion:
        """A pasted emotion, from now on among the session's."""
        bench = self.benches.get(model)
        found = fit_own(bench, name, pasted)
        session.own[str(bench.lm.name), found.name] = found
        return found

    def share(self, session: Session, recipe: Recipe) -> tuple[str, str, str]:
        """A link's query, a command, and Python."""
        bench = self.benches.get(recipe.model)
        at = layer_of(self.directions(session, bench, recipe.parts[0].emotion if recipe.parts else ""), recipe)
        stored = Path(bench.where) if bench.where.endswith(".safetensors") else None
        if any((str(bench.lm.name), part.emotion) in session.own for part in recipe.parts):
            own = "# Your emotion is known in this browser only; as a file it is one for commands: docs/adding.md"
            return f"?{to_query(recipe)}", own, own
        return f"?{to_query(recipe)}", as_command(recipe, at, stored), as_python(recipe, at, stored)

    def file(self, session: Session, kind: str) -> str:
        """The last texts as JSON or HTML."""
        if session.draft is None and session.reading is None:
            raise InputError("There is nothing to export yet.", next_step="write or colour a text first")
        if kind == "json":
            return as_json(session.draft, session.reading)
        command = ""
        if session.draft is not None:
            command = self.share(session, session.draft.recipe)[1]
        return as_html(session.draft, session.reading, next(iter(session.own.values()), None), command)

    def beside(self, session: Session, data: bytes) -> str:
        """The numbers of an earlier export beside those of the last texts."""
        return beside_html(_there(session.draft), numbers_of(data))


def _there(draft: Draft | None) -> Draft:
    if draft is None or not any(text.ids for text in draft.texts):
        raise InputError("Nothing was written yet.", next_step="write a text first")
    return draft
