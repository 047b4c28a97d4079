"""Verdicts in plain words: what each claim says, and what came out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from emotion_circuits.statistics import Claim, SimulatedRate, Verdict, simulated_rates

VERDICTS: tuple[Verdict, ...] = ("supported", "not supported", "underpowered", "not tested")


class Badge(NamedTuple):
    """How a verdict looks: a symbol besides its colour, and what it means."""

    symbol: str
    css: str
    meaning: str


BADGES: dict[Verdict, Badge] = {
    "supported": Badge(
        "✓",
        "yes",
        "significant against every null and floor after Holm's correction, the gain's whole interval above 0, and "
        "text not damaged",
    ),
    "not supported": Badge("✗", "no", "not supported, and a gain that would matter is excluded"),
    "underpowered": Badge(
        "?",
        "weak",
        "neither: a gain that would matter is not excluded; the reason says how much more text would decide it",
    ),
    "not tested": Badge("–", "none", "the statistic is undefined here"),
}


TERMS = {
    "value": "the number itself, from test scenarios or contexts that chose nothing; brackets hold its 95 % interval",
    "chance": "what the same computation gives when the link it measures is broken, for example by permuting labels",
    "floor": "what something simpler reaches: counting words, the embedding layer, an untrained model; a claim must "
    "beat all of them, and all nulls",
    "gain": "the value minus the strongest of chance and floors, on the same scenarios, with its 95 % interval",
    "ceiling": "the largest value that could have been reached, where there is one",
    "dose": "how much of a direction is added, in spreads: the layer's median distance from its mean on generic text",
    "layer": "a block's output, counted from 0; embed is what enters block 0",
    "p, adjusted": "the largest of the p-values against every null and floor, after Holm's correction over all claims "
    "of the question",
    "n": "scenarios or contexts behind the number, each counted once",
}


QUESTIONS = {
    "RQ1": "Does an emotion have a stable direction of its own?",
    "RQ2": "Do models share these directions?",
    "RQ3": "Does changing the direction change what the model would say?",
    "RQ4": "Which parts carry the emotion?",
    "RQ5": "Can one model's emotions be mapped into another?",
}
_CLAIMS = {
    "rq1.separability": (
        "separability",
        "On texts that never name the emotion, the direction made from explicit texts ranks the emotion's texts above "
        "all others; floors are what a bag of words, the embedding layer and an untrained model reach.",
    ),
    "rq1.stability": (
        "stability",
        "Directions made from two independent halves of the scenarios point the same way, more than with labels "
        "permuted within scenarios.",
    ),
    "rq1.external": (
        "separability on external texts",
        "On labelled texts from elsewhere, by which nothing was chosen, the direction ranks the emotion's texts above "
        "those of all other classes; floors are what a bag of words, the embedding layer and an untrained model reach.",
    ),
    "rq2.shared": (
        "shared subspace",
        "Mapped from one model into another, the three-dimensional subspace of the emotions overlaps with the other's "
        "own more than under every broken link, more than with untrained twins, and more than the embedding layers do.",
    ),
    "rq2.language": (
        "another language",
        "A direction made from explicit English texts ranks the emotion's texts above all others on texts of another "
        "language that never name it; floors are what the embedding layer, an untrained model and shared characters "
        "reach.",
    ),
    "rq2.language_back": (
        "from another language",
        "The same the other way: a direction made from texts of the other language, on English texts that never name "
        "the emotion.",
    ),
    "rq4.circuit": (
        "circuit",
        "Heads and units ranked on one half of the prompts keep more of the emotion's effect alone, on the other half, "
        "than random circuits with as many heads and units in every layer do; the value is the area under the curve "
        "over the circuit's size (CPR).",
    ),
    "rq5.alignment": (
        "alignment",
        "A map fitted on neutral text carries an emotion's direction onto the other model's own, closer than maps "
        "between untrained twins, between the embeddings, or through shuffled texts do.",
    ),
    "rq5.transfer": (
        "transfer",
        "The direction that was mapped from another model detects the emotion in texts that never name it, better than "
        "directions that came through maps of shuffled texts, from an untrained twin or between the embeddings.",
    ),
    "rq3.steering": (
        "steering",
        "Adding the direction raises the log-odds of the emotion's own words on contexts never seen, by more than "
        "control directions of the same size do, without raising perplexity by more than half.",
    ),
}


def claim_short(identifier: str) -> str:
    """A claim's name in a sentence."""
    known = _CLAIMS.get(identifier)
    return known[0] if known else identifier.partition(".")[2].replace("_", " ") or identifier


_COMMANDS = {
    "rq1": "quality", "rq2.shared": "align", "rq2": "language", "rq3": "steering", "rq4": "circuit", "rq5": "align",
}  # fmt: skip


def claim_command(identifier: str) -> str:
    """The command that measures such a claim alone; empty where none is known here."""
    return _COMMANDS.get(identifier) or _COMMANDS.get(identifier.partition(".")[0], "")


def claim_meaning(identifier: str) -> str:
    """What a claim says, in one sentence; empty for one that is not known here."""
    known = _CLAIMS.get(identifier)
    return known[1] if known else ""


def floor_name(name: str) -> str:
    """A floor's name in words."""
    return name.replace("_", " ")


def power_sentence(claims: Sequence[Claim]) -> str:
    """How often such a claim is supported in simulated studies, where nothing is and where a gain of interest is; empty
    where that was not simulated."""
    wanted = {(c.id, c.effect_of_interest) for c in claims if c.effect_of_interest is not None}
    rates = {r.multiple: r for r in simulated_rates() if (r.id, effect_of(r)) in wanted}
    if not {0.0, 1.0} <= rates.keys():
        return ""
    false, found = rates[0.0], rates[1.0]
    return (
        f"In simulated studies of the default size a gain of {found.effect:g} was supported in {found.rate:.0%}, "
        f"no gain in {false.rate:.1%} ({found.n_studies:,} studies each)."
    )


def effect_of(rate: SimulatedRate) -> float:
    """The effect of interest that a simulation's multiples are of."""
    return next(r.effect for r in simulated_rates() if r.id == rate.id and r.multiple == 1)


def question_title(name: str) -> str:
    """A question with its number; its name alone where it is not known here."""
    return f"{name}: {QUESTIONS[name]}" if name in QUESTIONS else name


def listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def counted(claims: Sequence[Claim]) -> str:
    """`supported in 2 of 6 cases`, and what became of the others."""
    counts = Counter(c.verdict for c in claims)
    n = len(claims)
    yes = counts["supported"]
    share = "none of" if not yes else "all" if yes == n else f"{yes} of"
    others = ", ".join(f"{v} in {counts[v]}" for v in VERDICTS[1:] if counts[v])
    return f"supported in {share} {n} case{'s' if n != 1 else ''}" + (f" ({others})" if others else "")


def verdict_sentence(claims: Sequence[Claim]) -> str:
    """The verdict of one question, in one sentence."""
    parts = [f"{claim_short(i)} is {counted([c for c in claims if c.id == i])}" for i in ids_of(claims)]
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."


def ids_of(claims: Sequence[Claim]) -> list[str]:
    """Kinds of claims, in the order they come."""
    return list(dict.fromkeys(c.id for c in claims))


def model_count(n: int) -> str:
    """`one language model`, `3 language models`."""
    return "one language model" if n == 1 else f"{n} language models"
