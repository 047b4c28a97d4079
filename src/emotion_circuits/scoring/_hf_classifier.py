"""Any Hugging Face sequence classifier as a scorer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from emotion_circuits.errors import InputError
from emotion_circuits.models import ModelName, classifier_folder, quiet_transformers, resolve_device
from emotion_circuits.prompts import NEUTRAL, Bank

GO_EMOTIONS = "SamLowe/roberta-base-go_emotions"
ROWS_AT_ONCE = 32


class _Loaded(NamedTuple):
    model: Any
    tokenizer: Any
    max_length: int
    multi_label: bool
    labels: tuple[str, ...]
    columns: dict[str, int]


class HuggingFaceScorer:
    """Probability of each class that a sequence classifier has a label for (see `EmotionClass.synonyms`).

    Multi-label classifiers (`problem_type`) give every label a probability of its own, others share one among all.
    Labels without a class of ours are listed in `unmapped` and take no part. safetensors only, no code of the
    repository's own. Text beyond the model's length is cut.

    Args:
        bank: the classes.
        source: hub id (`@revision` after it) or local folder.
        device: `auto`, `cpu`, `cuda:0` …
    """

    low: Final = 0.0
    high: Final = 1.0

    def __init__(self, bank: Bank, source: str, *, device: str = "auto"):
        if not source:
            raise InputError("No classifier was named.", accepted=f"hf:{GO_EMOTIONS}, or hf: and a folder")
        self.source = source
        self._bank = bank
        self.name = f"hf:{source}"
        self._device = device

    @property
    def emotions(self) -> tuple[str, ...]:
        """The classes with a label, in the order of the bank."""
        return tuple(self._loaded.columns)

    @property
    def unmapped(self) -> tuple[str, ...]:
        """Labels that no class of ours stands for."""
        used = set(self._loaded.columns.values())
        return tuple(label for i, label in enumerate(self._loaded.labels) if i not in used)

    @property
    def meaning(self) -> str:
        kind = "each label by itself" if self._loaded.multi_label else f"over {len(self._loaded.labels)} labels"
        return f"the classifier's probability of the label, {kind}"

    @property
    def chance(self) -> float:
        """An undecided classifier's value: 1/2 for each label by itself, 1/labels where they share."""
        return 0.5 if self._loaded.multi_label else 1 / len(self._loaded.labels)

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(texts, classes) probabilities; NaN for blank text.

        Raises:
            InputError: the classifier cannot be loaded.
        """
        loaded = self._loaded
        rows = np.full((len(texts), len(loaded.columns)), np.nan)
        # By length, so that rows need little padding.
        order = sorted((i for i, text in enumerate(texts) if text.strip()), key=lambda i: len(texts[i]))
        for first in range(0, len(order), ROWS_AT_ONCE):
            chosen = order[first : first + ROWS_AT_ONCE]
            batch = loaded.tokenizer(
                [texts[i] for i in chosen],
                padding=True,
                padding_side="right",
                truncation=True,
                max_length=loaded.max_length,
                return_tensors="pt",
            ).to(loaded.model.device)
            with torch.inference_mode():
                logits = loaded.model(**batch).logits.double()
            probabilities = logits.sigmoid() if loaded.multi_label else logits.softmax(-1)
            rows[chosen] = probabilities[:, list(loaded.columns.values())].cpu().numpy()
        return rows

    @cached_property
    def _loaded(self) -> _Loaded:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = classifier_folder(ModelName.parse(self.source))
        _check_classifier(self.source, folder)
        try:
            with quiet_transformers():
                model, info = AutoModelForSequenceClassification.from_pretrained(
                    folder,
                    use_safetensors=True,
                    trust_remote_code=False,
                    dtype=torch.float32,
                    output_loading_info=True,
                )
                tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # a damaged file, an unknown architecture: transformers has no common base for them
            raise InputError(f"{self.source} cannot be loaded as a classifier.", found=error) from error
        if info["missing_keys"]:
            raise InputError(
                f"{self.source} lacks weights of its classifier.", found=", ".join(sorted(info["missing_keys"])[:3])
            )
        labels = tuple(str(model.config.id2label[i]) for i in range(model.config.num_labels))
        device = resolve_device(self._device)
        return _Loaded(
            model.eval().to(device),
            tokenizer,
            _max_length(model.config, tokenizer),
            model.config.problem_type == "multi_label_classification",
            labels,
            _columns(self._bank, self.source, labels),
        )


def _check_classifier(source: str, folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        architectures = [str(name) for name in config.get("architectures") or ()]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{source} has no readable config.json.", found=error) from error
    if not any(name.endswith("ForSequenceClassification") for name in architectures):
        raise InputError(
            f"{source} is no sequence classifier.",
            found=", ".join(architectures) or "no architecture in config.json",
            accepted="an architecture that ends in ForSequenceClassification",
        )


def _max_length(config: Any, tokenizer: Any) -> int:
    # RoBERTa's positions begin after the padding id, so two of them are never a token's.
    positions = int(getattr(config, "max_position_embeddings", None) or 512) - 2
    return min(int(tokenizer.model_max_length), positions)


def _columns(bank: Bank, source: str, labels: Sequence[str]) -> dict[str, int]:
    """Class → number of its label.

    Raises:
        InputError: no label is known, or fewer than two (a regression).
    """
    plain = [label.lower().replace("_", " ").replace("-", " ").strip() for label in labels]
    known = {own.name: [name for name in own.synonyms if name in plain] for own in bank.classes}
    columns = {emotion: plain.index(names[0]) for emotion, names in known.items() if names}
    if len(labels) < 2 or not set(columns) - {NEUTRAL}:
        raise InputError(
            f"{source} has no label for {' or '.join(bank.emotions)}.",
            found=", ".join(labels[:12]) or "no labels",
            accepted="; ".join(f"{own.name}: {', '.join(own.synonyms)}" for own in bank.classes),
        )
    return columns
