"""The evaluate command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from emotion_circuits._row_tables import row_table
from emotion_circuits.cli._inputs import check_writable, text_rows
from emotion_circuits.cli._options import (
    MODEL_OPTIONS,
    Emotions,
    Json,
    ModelOptions,
    ProfileFlag,
    Seed,
    command,
    flag,
    text_file,
)
from emotion_circuits.cli._output import Table, emit
from emotion_circuits.cli._paths import output_path
from emotion_circuits.cli._progress import progress

if TYPE_CHECKING:
    import numpy as np

    from emotion_circuits.scoring import Evaluation, GeneratedText, ScoreRow


@command(example="evaluate --input texts.jsonl --scorers markers vader offline")
def evaluate(
    *,
    input: Annotated[
        Path,
        text_file(help="`prompt`, `text`, `arm` of each text, as `generate --output` writes them; .csv and - too."),
    ],
    scorers: Annotated[
        tuple[str, ...],
        flag(
            help="markers, marker-counts, vader, offline, go-emotions, hf:NAME_OR_FOLDER, a registered one's name.",
            show_default=False,
        ),
    ] = (),
    model: Annotated[
        str | None, flag(help="Clean model for perplexities; by default the lines' own field `perplexity`.")
    ] = None,
    judge_model: Annotated[str | None, flag(help="Another model for perplexities.")] = None,
    output: Annotated[Path | None, flag(help="Write .parquet, a row for each score of each arm.")] = None,
    emotions: Emotions = (),
    profile: ProfileFlag = "baseline",
    seed: Seed = 0,
    model_options: ModelOptions = MODEL_OPTIONS,
    json: Json = False,
) -> None:
    """Score texts that a model wrote, arm by arm, beside clean and random text.

    Arms are compared prompt by prompt: `clean` is what all others are compared with, `random` gives
    the chance level; emotion, dose and layer tell arms of one name apart. By default the scorers are
    markers (words), vader (positive or negative) and offline (a classifier of the classes); how
    good each is on labelled texts is printed too. --profile is the data set that the directions were
    made from: the offline scorer does not learn from it.
    """
    from emotion_circuits._files import write_table
    from emotion_circuits.prompts import bank
    from emotion_circuits.scoring import (
        OFFLINE_SCORERS,
        Setting,
        evaluate_texts,
        judge_scorer,
        make_scorer,
        parse_generated,
        stored_perplexities,
    )

    classes = bank(emotions or None)
    setting = Setting(classes, profile, model_options.device)
    chosen = [make_scorer(name, setting) for name in scorers or OFFLINE_SCORERS]
    texts = [parse_generated(row.value, row.where, classes.names) for row in text_rows(input, blank=True)]
    if output is not None:
        output = output_path(output, ".parquet")
        check_writable(output)
    for scorer in chosen:
        scorer.score([])  # a classifier that cannot be loaded should not be found out after the models have run
    perplexities = stored_perplexities(texts) if model is None else _perplexities(model, texts, model_options)
    judged = None if judge_model is None else _perplexities(judge_model, texts, model_options)
    n_steps = 1 + len({(t.arm, t.emotion, t.dose, t.layer) for t in texts})
    with progress("Scoring", n_steps) as done:
        found = evaluate_texts(
            texts, chosen, perplexities=perplexities, judge_perplexities=judged, seed=seed, on_cells=done
        )
    quality = [row for scorer in chosen for row in judge_scorer(scorer, classes.real_world(), seed=seed)]
    if output is not None:
        write_table(output, found.table())
    result = {"file": output, "scores": found.scores, "damage": found.damage, "scorers": quality, "notes": found.notes}
    if json:
        emit(result, json)
        return
    for table in _tables(found, quality, output):
        emit(result, json, table=table)


def _perplexities(
    model: str, texts: Sequence[GeneratedText], options: ModelOptions
) -> np.ndarray[Any, np.dtype[np.float64]]:
    from emotion_circuits.engine import load_verified
    from emotion_circuits.scoring import continuation_perplexities

    lm = load_verified(model, **options.loading())
    with progress("Perplexity", len({(t.prompt, t.text) for t in texts})) as done:
        return continuation_perplexities(lm, [t.prompt for t in texts], [t.text for t in texts], on_texts=done)


def _tables(found: Evaluation, quality: Sequence[Any], output: Path | None) -> list[Table]:
    shown = _of_interest(found.scores)
    left_out = len(found.scores) - len(shown)
    notes = [*found.notes, ""]
    if left_out:
        notes.insert(-1, f"{left_out} rows of other emotions are left out here; --output and --json have all.")
    written = [] if output is None else [f"Written to {output}."]
    good = "How good the scorers are, on the bundled real-world texts"
    return [
        row_table(shown, heads={"value": "mean", "difference": "− clean", "above_random": "− random"}, notes=notes),
        row_table(
            found.damage, title="Damage", heads={"perplexity_ratio": "× clean", "judge_ratio": "× judge"}, notes=[""]
        ),
        row_table(quality, title=good, hide=["texts"], notes=written),
    ]


def _of_interest(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """The rows to show: each arm's own emotion and `compound`; for clean text the emotions that others ask for."""
    asked = {row.emotion for row in rows if row.emotion is not None}
    return [
        row
        for row in rows
        if not asked or row.scored == "compound" or row.scored in ({row.emotion} if row.emotion else asked)
    ]
