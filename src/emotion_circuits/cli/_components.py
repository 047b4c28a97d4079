"""What the commands about heads and units share: texts, pairs, outcomes, directions where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from emotion_circuits.cli._inputs import DEFAULT_POSITION, check_lengths, check_writable, load_vectors
from emotion_circuits.cli._options import MODEL_OPTIONS, BatchTokens, ModelOptions, Seed, StoreOptions, flag
from emotion_circuits.cli._output import note, say
from emotion_circuits.cli._paths import output_path
from emotion_circuits.errors import InputError

if TYPE_CHECKING:
    from emotion_circuits.components import Outcome, PairSet
    from emotion_circuits.directions import DirectionSet
    from emotion_circuits.models import LoadedModel
    from emotion_circuits.prompts import Bank, Dataset

OutcomeName = Literal["log-odds", "continuations", "projection"]
Emotions = Annotated[tuple[str, ...], flag("--emotion", help="Which emotions; all by default.", show_default=False)]
OutcomeFlag = Annotated[
    OutcomeName,
    flag(
        help="log-odds of the emotion's words after the prompt, log p of its continuations minus neutral ones, or the "
        "last token's projection on the emotion's direction at its chosen layer."
    ),
]
BridgeFlag = Annotated[str, flag(help="What follows every text, so that a next word can show the emotion.")]
Split = Annotated[Literal["development", "test", "all"], flag(help="Which scenarios.")]
Prompts = Annotated[
    tuple[Path, ...],
    flag(
        "--dataset",
        help="Your own texts: .jsonl, .csv, a folder, or class files; by default the bundled profile's.",
        show_default=False,
    ),
]
Output = Annotated[Path | None, flag(help="Table to write, .parquet or .json; by default in the results folder.")]
CONTINUATIONS = 4
GENERIC_TEXTS = 128
BRIDGE = ' She said, "'


@Parameter(name="*")
@dataclass(frozen=True)
class PairOptions:
    """Which pairs of prompts there are, and what is measured of them."""

    emotions: Emotions = ()
    outcome: OutcomeFlag = "log-odds"
    bridge: BridgeFlag = BRIDGE
    split: Split = "all"


PAIR_OPTIONS = PairOptions()


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """What all commands about components take."""

    vectors: Annotated[
        Path | None,
        flag("--vectors-file", help="Directions, for direct effects and --outcome projection; by default `vectors`'."),
    ] = None
    batch_tokens: BatchTokens = None
    seed: Seed = 0
    pairs: PairOptions = PAIR_OPTIONS
    model: ModelOptions = MODEL_OPTIONS


RUN_OPTIONS = RunOptions()


class Prepared(NamedTuple):
    """What a command has found and checked before it loads the model."""

    texts: Dataset
    emotions: tuple[str, ...]
    output: Path


def prepare(
    name: str, model: str, files: Sequence[Path], pairs: PairOptions, output: Path | None, store: StoreOptions
) -> Prepared:
    """Texts, emotions, and where the table `name` of a model goes.

    Raises:
        InputError: texts or emotions that are not there, a file that cannot be written.
    """
    from emotion_circuits.models import ModelName

    texts = read_texts(store, files)
    wanted = chosen_emotions(texts, pairs.emotions)
    if output is None:
        output = store.folder / "heads" / f"{name}_{ModelName.parse(model).slug}.parquet"
    output = output_path(output, ".parquet", ".json")
    check_writable(output)
    return Prepared(texts, wanted, output)


def load(model: str, options: ModelOptions) -> LoadedModel:
    """The model, proven."""
    from emotion_circuits.engine import load_verified

    return load_verified(model, **options.loading())


def read_texts(store: StoreOptions, files: Sequence[Path]) -> Dataset:
    """The bundled profile, or scenarios of the user's own files.

    A class file that is given alone (`gratitude_prompts.json`) is read with the neutral one beside it.
    """
    from emotion_circuits import prompts

    if not files:
        return store.bank.profile(store.profile)
    if len(files) == 1 and files[0].suffix.lower() == ".json" and files[0].is_file():
        neutral = files[0].with_name(files[0].name.replace(files[0].name.split("_prompts")[0], "neutral", 1))
        if neutral.is_file() and neutral != files[0]:
            return _joined([files[0], neutral], store)
    return prompts.read_dataset(files[0], store.profile) if len(files) == 1 else _joined(files, store)


def _joined(files: Sequence[Path], store: StoreOptions) -> Dataset:
    from dataclasses import replace

    from emotion_circuits import prompts

    read = [prompts.read_dataset(file, store.profile) for file in files]
    # Files without scenarios: the i-th text of one stands beside the i-th of the other.
    alone = any(text.scenario.startswith(f"{text.emotion}-") for data in read for text in data)
    texts = [replace(text, scenario=str(i)) if alone else text for data in read for i, text in enumerate(data, 1)]
    return prompts.Dataset("-".join(data.name for data in read), tuple(texts))


def chosen_emotions(texts: Dataset, emotions: Sequence[str]) -> tuple[str, ...]:
    """Those asked for, or all that have texts.

    Raises:
        InputError: none, one without texts, or no neutral texts.
    """
    present = tuple(c for c in texts.classes if c != "neutral")
    if "neutral" not in texts.classes or not present:
        raise InputError(
            "Pairs need texts of an emotion and neutral ones of the same scenarios.",
            found=f"{texts.name}: {', '.join(texts.classes)}",
        )
    for emotion in emotions:
        if emotion not in present:
            raise InputError(f"There are no texts of {emotion!r}.", accepted=", ".join(present))
    return tuple(dict.fromkeys(emotions)) or present


def outcome_for(
    lm: LoadedModel,
    bank: Bank,
    texts: Dataset,
    emotion: str,
    options: PairOptions,
    directions: DirectionSet | None = None,
) -> Outcome:
    """The outcome on all pairs of an emotion; says how many scenarios have one."""
    return outcome_on(lm, bank, pairs_for(lm, texts, emotion, options), options, directions)


def pairs_for(lm: LoadedModel, texts: Dataset, emotion: str, options: PairOptions) -> PairSet:
    """All pairs of an emotion; says how many scenarios have one."""
    from emotion_circuits.components import Bridge, matched_pairs

    check_lengths(lm, texts.texts)
    split = None if options.split == "all" else options.split
    pairs = matched_pairs(lm, texts, emotion, bridge=Bridge(options.bridge), split=split)
    say(f"{emotion}: {len(pairs)} pairs of equally many tokens from {pairs.n_scenarios} scenarios")
    return pairs


def outcome_on(
    lm: LoadedModel, bank: Bank, pairs: PairSet, options: PairOptions, directions: DirectionSet | None = None
) -> Outcome:
    """What was asked for, on these pairs.

    Raises:
        InputError: a projection without the emotion's direction and layer.
    """
    from emotion_circuits.components import ContinuationOutcome, ProjectionOutcome, WordSetOutcome

    if options.outcome == "projection":
        unit = unit_of(directions, pairs.emotion)
        if directions is None or unit is None:
            able = () if directions is None else sorted(set(directions.emotions) & set(directions.chosen_layer))
            raise InputError(f"There is no direction of {pairs.emotion} with a chosen layer to project on.",
                             accepted=", ".join(able) or None, next_step="make directions with `vectors`")  # fmt: skip
        return ProjectionOutcome(lm, pairs, unit, directions.chosen_layer[pairs.emotion])
    split = None if options.split == "all" else options.split
    if options.outcome == "log-odds":
        return WordSetOutcome(lm, pairs, bank.word_sets())
    known = bank.continuations(split)
    few = [c for e in (pairs.emotion, pairs.reference) for c in [x for x in known if x.emotion == e][:CONTINUATIONS]]
    return ContinuationOutcome(lm, pairs, few)


def directions_for(
    lm: LoadedModel, vectors: Path | None, store: StoreOptions, options: PairOptions
) -> DirectionSet | None:
    """The directions that the outcome needs: of a file, or of the results folder; None where it needs none.

    Raises:
        InputError: there are none, or they are another model's.
    """
    if options.outcome != "projection":
        return None
    found = load_vectors(vectors, str(lm.name), store, None)
    found.check_model(lm)
    return found


def unit_in(outcome: Outcome) -> str:
    """What an outcome's effects are in."""
    return "nats" if outcome.read is None else "the residual stream's own units"


def directions_if_any(lm: LoadedModel, vectors: Path | None, store: StoreOptions) -> DirectionSet | None:
    """The directions named, or those in the results folder; without any, direct effects stay empty."""
    name = str(lm.name)
    if vectors is None:
        path = store.folder / "emotion_vectors" / f"{lm.name.slug}_{DEFAULT_POSITION}.safetensors"
        if not path.is_file():
            note(f"no directions of {name} in the results folder: no direct effects (make them with `vectors`)")
            return None
    found = load_vectors(vectors, name, store, None)
    found.check_model(lm)
    return found


def unit_of(directions: DirectionSet | None, emotion: str) -> Any:
    """The emotion's specific direction at its chosen layer, or None."""
    if directions is None or emotion not in directions.emotions or emotion not in directions.chosen_layer:
        return None
    return directions[emotion].unit
