"""The extract command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from emotion_circuits.cli._inputs import DEFAULT_POSITION, check_lengths, check_writable
from emotion_circuits.cli._options import (
    MODEL_OPTIONS,
    STORE_OPTIONS,
    BatchTokens,
    Emotions,
    Json,
    ModelFlag,
    ModelOptions,
    StoreOptions,
    command,
    flag,
    text_file,
)
from emotion_circuits.cli._output import Table, emit
from emotion_circuits.cli._progress import progress
from emotion_circuits.errors import InputError


@command(example="extract --model reference/gpt2 --output activations/gpt2", writes="output")
def extract(
    *,
    model: ModelFlag,
    dataset: Annotated[
        Path | None,
        text_file(
            help="Your own texts: .jsonl, .csv, - for standard input, or class files; by default the bundled profile's."
        ),
    ] = None,
    output: Annotated[
        Path | None, flag("--output-dir", help="Folder; by default in the results folder, named after the model.")
    ] = None,
    emotions: Emotions = (),
    positions: Annotated[
        tuple[str, ...],
        flag("--position", help="sentence-end, last-content, emotion-token, mean; all by default.", show_default=False),
    ] = (),
    batch_tokens: BatchTokens = None,
    model_options: ModelOptions = MODEL_OPTIONS,
    store_options: StoreOptions = STORE_OPTIONS,
    json: Json = False,
) -> None:
    """Record a model's activations on a data set.

    Besides the data set's, those of the bundled implicit texts, on which `vectors` chooses layers, of
    foils, intensity series and utterances at the position mean, and of generic text: later commands
    that need only these need no model.
    """
    from emotion_circuits import prompts
    from emotion_circuits.directions import (
        POSITIONS,
        check_position,
        generic_statistics,
        save_activations,
        save_generic,
    )
    from emotion_circuits.directions import extract as record
    from emotion_circuits.engine import DEFAULT_BATCH_TOKENS, load_verified
    from emotion_circuits.models import ModelName

    wanted = tuple(dict.fromkeys(check_position(p) for p in positions)) or POSITIONS
    profile = store_options.profile
    bank = prompts.bank(emotions) if emotions else store_options.bank
    data = bank.profile(profile) if dataset is None else prompts.read_dataset(dataset, profile)
    folder = output or store_options.folder / "activations" / ModelName.parse(model).slug
    check_writable(folder / "activations_neutral.safetensors")
    _refuse_leftovers(folder, data.classes)
    lm = load_verified(model, **model_options.loading())
    check_lengths(lm, data.texts)
    files: list[Path] = []
    rates: dict[str, float | None] = {}
    sets = (
        (folder, data, wanted),
        (folder / "implicit", bank.implicit(), wanted),
        (folder / "foils", bank.foils(), (DEFAULT_POSITION,)),
        (folder / "intensity", bank.intensity_series(), (DEFAULT_POSITION,)),
        (folder / "spoken", bank.spoken("development"), (DEFAULT_POSITION,)),
    )
    for target, every, where in sets:
        texts = prompts.Dataset(every.name, tuple(text for text in every if text.emotion in data.classes))
        if not set(texts.classes) - {prompts.NEUTRAL}:
            continue  # emotions that the bundled texts do not have
        with progress(f"Recording {texts.name}", len(texts)) as done:
            found = record(lm, texts, positions=where, batch_tokens=batch_tokens or DEFAULT_BATCH_TOKENS, on_batch=done)
        files += save_activations(found, target)
        rates = rates or found.match_rate
    if emotions:
        files.append(prompts.write_bank(store_options.folder, bank))
    files += save_activations(record(lm, prompts.ordinary(256), positions=(DEFAULT_POSITION,)), folder / "ordinary")
    files.append(save_generic(generic_statistics(lm, [t.text for t in prompts.generic_sample(256)]), folder))
    counts = {emotion: len(data.select(emotion)) for emotion in data.classes}
    result = {"model": str(lm.name), "folder": folder, "layers": lm.n_layers, "width": lm.d_model, "positions": wanted,
              "bos": lm.bos, "texts": counts, "spans_found": rates, "files": files}  # fmt: skip
    rows = [(emotion, n, rates.get(emotion)) for emotion, n in counts.items()]
    notes = (
        f"{lm.name}: embed and {lm.n_layers} layers of width {lm.d_model}, at {', '.join(wanted)}.",
        f"Written to {folder}, with generic texts; of the bank implicit ones, foils, intensity series, utterances.",
    )
    emit(result, json, table=Table(("class", "texts", "marked spans found"), rows, notes=notes))


def _refuse_leftovers(folder: Path, classes: tuple[str, ...]) -> None:
    """Files of a class that is not written now would be read together with the new ones."""
    written = {f"activations_{emotion}.safetensors" for emotion in classes}
    left = sorted(path.name for path in folder.glob("activations_*.safetensors") if path.name not in written)
    if left:
        raise InputError(
            f"{folder} holds activations of classes that this data set lacks.",
            found=", ".join(left),
            next_step="choose another --output, or delete them",
        )
