"""What happens when a control is used: values of the page in, values of the page out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from emotion_circuits.app._html import message
from emotion_circuits.app._recipe import Part, Recipe, from_query
from emotion_circuits.app._session import Explorer, Session, explained
from emotion_circuits.app._tables import own_html
from emotion_circuits.errors import InputError

NONE = "none"
PROMPT = "She opened the letter and said:"


def told(work: Callable[..., Iterator[Any]], n: int) -> Callable[..., Iterator[Any]]:
    """A listener with a message before its `n` outputs: a failure is told there, and the page lives on."""

    @wraps(work)  # Gradio reads the hints
    def listener(*args: Any) -> Iterator[Any]:
        try:
            for found in work(*args):
                yield ("", *(found if isinstance(found, tuple) else (found,)))
        except Exception as error:
            yield (message(explained(error)), *(gr.update() for _ in range(n)))

    return listener


def picked(event: gr.EventData) -> str:
    """What was clicked, as its `data-pick` says."""
    return str(event.pick)


def recipe_of(
    model: str, emotion: str, layer: float, dose: float, seed: float, temperature: float, tokens: float, action: Any,
    second: str, second_dose: float, gate: str, prompt: str,
) -> Recipe:  # fmt: skip
    """The controls as a recipe.

    Raises:
        InputError: an emptied number, a gate that is none.
    """
    if not emotion:
        raise InputError("No emotion was chosen.", next_step="wait until the model is there, then choose one")
    if None in (layer, dose, seed, temperature, tokens, second_dose):
        raise InputError("A number is missing.", next_step="fill in layer, dose, seed, temperature and length")
    try:
        below = float(gate) if gate and gate.strip() else None
    except ValueError as error:
        raise InputError(
            "The gate is no number.", found=gate[:40], accepted="a score such as 0.5, or nothing"
        ) from error
    parts = [Part(emotion, action, abs(dose) if action == "ablate" else dose)]
    parts += [Part(second, "add", second_dose)] if second and second != NONE else []
    return Recipe(model, prompt or "", tuple(parts), int(layer), int(seed), float(temperature), int(tokens), below)


class Listeners:
    """Listeners of the page, each a generator of its outputs.

    Args:
        explorer: who answers.
        model: to start with.
    """

    def __init__(self, explorer: Explorer, model: str):
        self.explorer, self.start = explorer, model
        self._folder = tempfile.TemporaryDirectory(prefix="emotion-circuits-")

    def _chosen(self, session: Session, model: str, emotion: str | None, layer: int | None = None) -> tuple[Any, ...]:
        """Emotions, second emotions, layers and the line about a model."""
        bench = self.explorer.benches.get(model)
        emotions = self.explorer.emotions(session, bench)
        own = emotion if emotion in emotions else emotions[0]
        at = self.explorer.layer(session, bench, own) if layer is None else layer
        self.explorer.directions(session, bench, own).layer_of(own, at)  # refuses one that is not there
        return (
            gr.update(choices=emotions, value=own), gr.update(choices=[NONE, *bench.directions.emotions]),
            gr.update(maximum=bench.lm.n_layers - 1, value=at), self.explorer.about(bench),
        )  # fmt: skip

    def opened(self, session: Session, request: gr.Request) -> Iterator[Any]:
        """The page at its start, or as a link says."""
        recipe = from_query(dict(request.query_params), Recipe(self.start, PROMPT, ()))
        part = recipe.parts[0] if recipe.parts else None
        second = recipe.parts[1] if len(recipe.parts) > 1 else None
        emotion, other, layer, status = self._chosen(session, recipe.model, part and part.emotion, recipe.layer)
        yield (
            recipe.model, part.dose if part else 0.4, recipe.seed, recipe.temperature, recipe.max_tokens,
            part.action if part else "add", second.dose if second else 0.2,
            "" if recipe.gate is None else f"{recipe.gate:g}", recipe.prompt, emotion,
            {**other, "value": second.emotion if second else NONE}, layer, status,
        )  # fmt: skip

    def changed(self, session: Session, model: str, emotion: str) -> Iterator[Any]:
        yield self._chosen(session, model, emotion)

    def layered(self, session: Session, model: str, emotion: str) -> Iterator[Any]:
        yield self._chosen(session, model, emotion)[2]

    def written(self, session: Session, *controls: Any) -> Iterator[Any]:
        for found in self.explorer.write(session, recipe_of(*controls)):
            # Gradio repeats the last value when a listener ends: one that was overtaken must leave no text behind.
            # Alternatives to an earlier text are none to this one.
            yield (gr.update(), gr.update()) if found is None else (found, "")

    def alternatives(self, session: Session, event: gr.EventData) -> Iterator[Any]:
        yield self.explorer.alternatives(session, picked(event))

    def forked(self, session: Session, event: gr.EventData) -> Iterator[Any]:
        yield self.explorer.fork(session, picked(event))

    def read(
        self, session: Session, model: str, second: str, text: str, emotion: str, layer: float, best: bool
    ) -> Iterator[Any]:
        other = "" if second == NONE else second or ""
        for found in self.explorer.read(session, model, other, text or "", emotion, None if best else int(layer)):
            yield found, "", "", ""

    def headed(self, session: Session) -> Iterator[Any]:
        yield self.explorer.heads(session), ""

    def attended(self, session: Session, event: gr.EventData) -> Iterator[Any]:
        yield self.explorer.head(session, picked(event))

    def profiled(self, session: Session, event: gr.EventData) -> Iterator[Any]:
        yield self.explorer.profile(session, picked(event))

    def mapped(self, session: Session, model: str, emotion: str) -> Iterator[Any]:
        yield from self.explorer.map(session, model, emotion, compute=False)

    def computed(self, session: Session, model: str, emotion: str) -> Iterator[Any]:
        yield from self.explorer.map(session, model, emotion, compute=True)

    def celled(self, event: gr.EventData) -> Iterator[Any]:
        layer, _, dose = picked(event).partition(":")
        yield int(layer), float(dose)

    def claims(self, wanted: str) -> str:
        """Told in its own place: a page without a study is no failure."""
        try:
            return self.explorer.claims(wanted or "")
        except InputError as error:
            return message(explained(error), "told")

    def evident(self, event: gr.EventData) -> Iterator[Any]:
        yield self.explorer.evidence(picked(event))

    def owned(self, session: Session, model: str, name: str, pasted: str) -> Iterator[Any]:
        found = self.explorer.own(session, model, name or "", pasted or "")
        bench = self.explorer.benches.get(model)
        yield own_html(found), gr.update(choices=self.explorer.emotions(session, bench))

    def shared(self, session: Session, *controls: Any) -> Iterator[Any]:
        yield (*self.explorer.share(session, recipe_of(*controls)), *self._files(session))

    def _files(self, session: Session) -> list[Any]:
        """The last texts as HTML and as JSON, if there are any."""
        if session.draft is None and session.reading is None:
            return [gr.update(), gr.update()]
        folder = Path(tempfile.mkdtemp(dir=self._folder.name))
        for kind in ("html", "json"):
            (folder / f"emotion-circuits.{kind}").write_text(self.explorer.file(session, kind), encoding="utf-8")
        return [gr.update(value=str(path), interactive=True) for path in sorted(folder.iterdir())]

    def earlier(self, session: Session, data: bytes | None) -> Iterator[Any]:
        yield self.explorer.beside(session, data or b"")
