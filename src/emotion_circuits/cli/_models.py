"""`emotion-circuits models`: what can be loaded, fetching it, and proving the engine on it."""

from __future__ import annotations

from typing import Annotated

from emotion_circuits.cli._options import MODEL_OPTIONS, Json, ModelOptions, command, command_group, flag
from emotion_circuits.cli._output import Table, emit, say

app = command_group("models", "What can be loaded; fetch it; prove the engine on it.")

TEXTS_OF_ENERGY = 64
Name = Annotated[str, flag(help="Hub id, folder, .gguf file, smollm2-135m, gemma3-270m or reference/...")]


@command(app, example="models list", name="list")
def list_models(*, json: Json = False) -> None:
    """List the models to start with.

    Any other causal LM of a known family loads by its name too.
    """
    from emotion_circuits.models import catalogue, families

    models = catalogue()
    rows = [
        (m.name, m.family, m.layers, m.width, f"{m.parameters / 1e6:.1f} M", m.megabytes, m.licence, m.available, m.how)
        for m in models
    ]
    columns = ("name", "family", "layers", "width", "parameters", "MB", "licence", "here", "how to have it")
    notes = (
        f"Known families: {', '.join(family.name for family in families())}.",
        "A name may also be any hub id, a local folder in Hugging Face format or a .gguf file, with @REVISION (hub)",
        "and ?init=random&seed=0 for the untrained twin.",
    )
    emit(models, json, table=Table(columns, rows, notes=notes))


@command(app, example="models get smollm2-135m")
def get(
    name: Name,
    /,
    *,
    accept_terms: Annotated[bool, flag(help="Accept a model's terms of use, where it has any.")] = False,
    json: Json = False,
) -> None:
    """Bring a model to this machine, and renew a hub model's branch.

    Where terms of use have to be accepted, they are asked for; a copy is kept beside the model.
    """
    from emotion_circuits.models import get as fetch

    folder = fetch(name, say, accept_terms=accept_terms or _accepted(name))
    emit({"name": name, "folder": folder}, json)


def _accepted(name: str) -> bool:
    """Whether the person at the terminal accepts the model's terms; False where nobody is there, or there are none."""
    import sys

    from emotion_circuits.models import PACKAGED, is_available

    model = PACKAGED.get(name)
    if model is None or model.terms is None or is_available(name) or not sys.stdin.isatty():
        return False
    say(f"{name} comes under {model.terms.name}: {model.terms.url}")
    say("A copy comes with it. Do you accept them? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@command(app, example="models verify reference/gpt2")
def verify(name: Name, /, *, options: ModelOptions = MODEL_OPTIONS, json: Json = False) -> int:
    """Prove on a model that recording, editing and replaying are exact.

    Exit status 1 if a proof fails. Below stands how much of the states' squared length one vector and
    one dimension hold, which tells whether norms and cosines of raw states mean anything.
    """
    from emotion_circuits import prompts
    from emotion_circuits.directions import energy_words, generic_statistics
    from emotion_circuits.engine import verify as prove
    from emotion_circuits.engine import with_packing
    from emotion_circuits.models import load

    lm = with_packing(load(name, **options.loading()))
    proofs = prove(lm)
    generic = generic_statistics(lm, [t.text for t in prompts.generic_sample(TEXTS_OF_ENERGY)])
    checks = [{"name": c.name, "value": c.value, "limit": c.limit, "ok": c.ok} for c in proofs.checks]
    rows = [(c.name, c.value, c.limit, "ok" if c.ok else "FAILED") for c in proofs.checks]
    failed = sum(not c.ok for c in proofs.checks)
    summary = f"{failed} of {len(rows)} proofs failed." if failed else f"All {len(rows)} proofs hold."
    notes = (summary, *energy_words(generic))
    table = Table(("proof", "value", "limit", ""), rows, title=f"{proofs.model}, {options.dtype}", notes=notes)
    emit({"model": proofs.model, "ok": proofs.ok, "checks": checks, "energy": generic.energy}, json, table=table)
    return 0 if proofs.ok else 1
