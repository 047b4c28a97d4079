"""Is a data set fit for comparing emotions? Defects, and how far nuisance alone tells the classes apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from emotion_circuits.errors import InputError
from emotion_circuits.prompts._bank import Bank, bank
from emotion_circuits.prompts._duplicates import Pair, exact_duplicates, near_duplicates
from emotion_circuits.prompts._language import is_english
from emotion_circuits.prompts._nuisance import (
    FOLDS,
    NUISANCE_CLASSIFIERS,
    WORD_CLASSIFIERS,
    Classifier,
    Separability,
    nuisance_matrix,
    separability,
    span_place,
    word_matrices,
)
from emotion_circuits.prompts._schema import NEUTRAL, Dataset, Text

if TYPE_CHECKING:
    from emotion_circuits.prompts._nuisance import Features

NUISANCE_MARGIN: Final = 0.06
"""How far above chance nuisance may tell the classes apart (.31 for four classes)."""

_THIRDS = ("early", "middle", "late")
_THIRD_TOLERANCE = 0.1
_EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """One kind of defect, however many texts show it."""

    kind: str
    """Short and stable, for scripts: `duplicate`, `near-duplicate`, `count`, `empty`, `length`, `language`,
    `span-missing`, `span-outside`, `span-thirds`, `neutral-emotion-word`, `split-leakage`, `nuisance`,
    `bag-of-words`, `too-few`."""
    count: int
    message: str


@dataclass(frozen=True)
class Measure:
    """A number beside its chance level. Fields that a measure lacks are None."""

    name: str
    value: float
    chance: float
    n: int
    ci95: tuple[float, float] | None = None
    null_mean: float | None = None
    null_upper: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class ValidationReport:
    """What `validate` found."""

    dataset: str
    hash: str
    n_texts: int
    n_scenarios: int
    problems: tuple[Finding, ...]
    """What makes results on this data set wrong or meaningless."""
    warnings: tuple[Finding, ...]
    """What a reader of results should know."""
    numbers: tuple[Measure, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def number(self, name: str) -> Measure:
        """The measure of that name; InputError if it was not taken."""
        for measure in self.numbers:
            if measure.name == name:
                return measure
        raise InputError("no such measure", found=name, accepted=", ".join(m.name for m in self.numbers))

    def table(self) -> tuple[tuple[str, ...], ...]:
        """The numbers for printing; the first row is the header."""
        header = ("measure", "value", "95 % interval", "chance", "permuted: mean", "95 % below", "p", "n")
        return (header, *(_table_row(measure) for measure in self.numbers))


def validate(
    dataset: Dataset,
    *,
    n_permutations: int = 200,
    seed: int = 0,
    words: tuple[int, int] = (8, 24),
    of: Bank | None = None,
    implicit_texts: Dataset | None = None,
) -> ValidationReport:
    """Looks for defects and measures what tells the classes apart.

    Args:
        dataset: what to judge.
        n_permutations: draws of the null of each classifier; 200 take some 15 seconds for 400 texts. With none, no
            classifier can be found to tell the classes apart.
        seed: of the permutations and bootstraps.
        words: the fewest and the most words a text may have.
        of: the classes' bank, for its lexicons; None for the bundled default.
        implicit_texts: what classifiers trained on `dataset` are tested on besides; by default the bank's.

    Numbers are balanced accuracies (chance is 1 / number of classes): `nuisance` (the better of two classifiers that
    see counts, punctuation, person words, sentence type and the span's place) and `bag of words` (descriptive: it is
    high where texts name the emotion) by 5-fold cross-validation grouped by scenario; either `…, on implicit texts`,
    trained on all of `dataset`; and the share of spans in each third of the words.

    Raises:
        InputError: an empty data set, or a negative number of permutations.
    """
    if not len(dataset):
        raise InputError("cannot validate a data set without texts", found=dataset.name)
    if n_permutations < 0:
        raise InputError("the number of permutations is negative", found=n_permutations)
    of = bank() if of is None else of
    problems = [*_text_problems(dataset, words), *_split_problems(dataset), *_duplicate_problems(dataset)]
    thirds = tuple(_span_thirds(dataset))
    warnings = [*_text_warnings(dataset, of), *_thirds_warnings(thirds)]
    (warnings if _are_blocks(dataset) else problems).extend(_counts(dataset))
    numbers: tuple[Measure, ...] = ()
    if len(dataset.scenarios) < FOLDS or len(dataset.classes) < 2:
        found = f"{len(dataset.scenarios)} scenarios, {len(dataset.classes)} classes"
        warnings.append(Finding("too-few", 1, f"too few to test what tells the classes apart: {found}"))
    else:
        other = of.implicit() if implicit_texts is None else implicit_texts
        numbers, found_problems, found_warnings = _separability(dataset, other, n_permutations, seed)
        problems += found_problems
        warnings += found_warnings
    return ValidationReport(
        dataset=dataset.name,
        hash=dataset.hash,
        n_texts=len(dataset),
        n_scenarios=len(dataset.scenarios),
        problems=tuple(problems),
        warnings=tuple(warnings),
        numbers=numbers + thirds,
    )


def _finding(kind: str, what: str, cases: Sequence[str]) -> Iterator[Finding]:
    if cases:
        shown = "; ".join(cases[:_EXAMPLES]) + ("; …" if len(cases) > _EXAMPLES else "")
        yield Finding(kind, len(cases), f"{what}: {shown}")


def _name(text: Text) -> str:
    return f"{text.scenario}/{text.emotion} {text.text[:60]!r}"


def _text_problems(dataset: Dataset, words: tuple[int, int]) -> Iterator[Finding]:
    fewest, most = words
    empty = [t for t in dataset if not t.text.strip()]
    filled = [t for t in dataset if t.text.strip()]
    yield from _finding("empty", "empty texts", [f"{t.scenario}/{t.emotion}" for t in empty])
    lengths = [(t, len(t.text.split())) for t in filled]
    wrong = [f"{_name(t)} ({n} words)" for t, n in lengths if not fewest <= n <= most]
    yield from _finding("length", f"texts of fewer than {fewest} or more than {most} words", wrong)
    foreign = [_name(t) for t in filled if not is_english(t.text)]
    yield from _finding("language", "texts that do not look English", foreign)
    outside = [t for t in dataset if t.span and not 0 <= t.span[0] < t.span[1] <= len(t.text)]
    yield from _finding("span-outside", "spans outside their text", [f"{_name(t)} {t.span}" for t in outside])
    if any(t.span for t in dataset):
        yield from _finding("span-missing", "texts without a span", [_name(t) for t in dataset if not t.span])


def _text_warnings(dataset: Dataset, of: Bank) -> Iterator[Finding]:
    if not any(t.span for t in dataset):
        yield Finding("span-missing", len(dataset), "no spans are marked: there is no position `emotion_token`")
    naming = [(t, of.emotion_words(t.text)) for t in dataset if t.emotion == NEUTRAL]
    cases = [f"{_name(t)} ({found[0].word})" for t, found in naming if found]
    yield from _finding("neutral-emotion-word", "neutral texts with a word that can name an emotion", cases)


def _are_blocks(dataset: Dataset) -> bool:
    """Whether each scenario has neutral text and that of emotions, if not of all: then contrasts are defined. A few
    scenarios that lack a class are a mistake."""
    try:
        dataset.require_twins("Validation")
    except InputError:
        return False
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for t in dataset:
        classes[t.scenario].add(t.emotion)
    return min(Counter(map(frozenset, classes.values())).values()) >= FOLDS


def _counts(dataset: Dataset) -> Iterator[Finding]:
    totals = Counter(t.emotion for t in dataset)
    if len(set(totals.values())) > 1:
        yield Finding("count", 1, "unequal classes: " + ", ".join(f"{c} {totals[c]}" for c in dataset.classes))
    if len(dataset.scenarios) < len(dataset):  # else every text is its own scenario, and there is nothing to match
        cells = Counter((t.scenario, t.emotion) for t in dataset)
        grid = ((s, c, cells[s, c]) for s in dataset.scenarios for c in dataset.classes)
        cases = [f"scenario {s} has {number} of {c}" for s, c, number in grid if number != 1]
        yield from _finding("count", "scenarios without exactly one text of each class", cases)


def _split_problems(dataset: Dataset) -> Iterator[Finding]:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for t in dataset:
        splits[t.scenario].add(t.split)
    yield from _finding("split-leakage", "scenarios in more than one split", [s for s in splits if len(splits[s]) > 1])


def _duplicate_problems(dataset: Dataset) -> Iterator[Finding]:
    def cases(pairs: Sequence[Pair]) -> list[str]:
        return [f"{_name(dataset.texts[a])} = {dataset.texts[b].scenario} ({s:.2f})" for a, b, s in pairs]

    exact, near = exact_duplicates(dataset), near_duplicates(dataset)
    yield from _finding("duplicate", "texts that occur more than once", cases(exact))
    yield from _finding("near-duplicate", "texts of different scenarios that are nearly the same", cases(near))
    crossing = [pair for pair in exact + near if dataset.texts[pair.first].split != dataset.texts[pair.second].split]
    yield from _finding("split-leakage", "texts repeated in another split", cases(crossing))


def _span_thirds(dataset: Dataset) -> Iterator[Measure]:
    places = [place for t in dataset if (place := span_place(t)) is not None]
    counts = Counter(place.third for place in places)
    for third in _THIRDS if places else ():
        yield Measure(f"spans {third}", counts[third] / len(places), 1 / 3, len(places))


def _thirds_warnings(thirds: Sequence[Measure]) -> Iterator[Finding]:
    uneven = [f"{m.name} {m.value:.2f}" for m in thirds if abs(m.value - m.chance) > _THIRD_TOLERANCE]
    yield from _finding("span-thirds", "spans do not stand early, in the middle and late in equal shares", uneven)


class _Recipe(NamedTuple):
    name: str
    classifiers: Sequence[Classifier]
    own: Features
    implicit: Features


class _Judgement(NamedTuple):
    numbers: tuple[Measure, ...]
    problems: list[Finding]
    warnings: list[Finding]


def _separability(dataset: Dataset, implicit_texts: Dataset, n_permutations: int, seed: int) -> _Judgement:
    known = len(implicit_texts.classes) > 1 and set(implicit_texts.classes) <= set(dataset.classes)
    transfers = known and dataset.hash != implicit_texts.hash
    implicit_texts = implicit_texts if transfers else dataset
    words, implicit_words = word_matrices(dataset, implicit_texts)
    recipes = (
        _Recipe("nuisance", NUISANCE_CLASSIFIERS, nuisance_matrix(dataset), nuisance_matrix(implicit_texts)),
        _Recipe("bag of words", WORD_CLASSIFIERS, words, implicit_words),
    )
    found: dict[str, Separability] = {}
    for name, classifiers, own, other in recipes:
        for label, test in ((name, None), (f"{name}, on implicit texts", (implicit_texts, other))):
            if test is None or transfers:
                found[label] = separability(
                    dataset, own, classifiers, test=test, n_permutations=n_permutations, seed=seed
                )
    problems: list[Finding] = []
    warnings: list[Finding] = []
    nuisance, by_words = found["nuisance"], found["bag of words"]
    if nuisance.p is not None and nuisance.p < 0.05:
        message = (
            f"{nuisance.classifier} tells the classes apart by counts, punctuation, person words, sentence type or the "
            f"span's place alone: accuracy {nuisance.accuracy:.2f}, chance {nuisance.chance:.2f}, p {nuisance.p:.3f}"
        )
        serious = nuisance.accuracy > nuisance.chance + NUISANCE_MARGIN
        (problems if serious else warnings).append(Finding("nuisance", 1, message))
    if by_words.p is not None and by_words.p < 0.05 and not any(t.span for t in dataset):
        message = (
            f"a bag of words tells the classes apart, so a direction has to beat it: accuracy {by_words.accuracy:.2f}, "
            f"chance {by_words.chance:.2f}"
        )
        warnings.append(Finding("bag-of-words", 1, message))
    return _Judgement(tuple(_measure(name, s) for name, s in found.items()), problems, warnings)


def _measure(name: str, s: Separability) -> Measure:
    return Measure(name, s.accuracy, s.chance, s.n, s.ci95, s.null_mean, s.null_upper, s.p)


def _table_row(m: Measure) -> tuple[str, ...]:
    def show(value: float | None, digits: int = 3) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    interval = "–" if m.ci95 is None else f"{m.ci95[0]:.3f} … {m.ci95[1]:.3f}"
    return (m.name, show(m.value), interval, show(m.chance), show(m.null_mean), show(m.null_upper), show(m.p), str(m.n))
