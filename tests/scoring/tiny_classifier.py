"""A random sequence classifier with a word tokenizer, saved as a hub repository would be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, PreTrainedTokenizerFast

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "thank", "you", "sorry", "angry", "the", "bus", ".", "a", "no", "mad")
GO_LABELS = ("admiration", "anger", "gratitude", "remorse", "neutral")


def save_classifier(
    folder: Path,
    labels: Sequence[str] = GO_LABELS,
    *,
    multi_label: bool = True,
    classifier: bool = True,
    safe: bool = True,
) -> Path:
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type="multi_label_classification" if multi_label else "single_label_classification",
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = (BertForSequenceClassification if classifier else BertForMaskedLM)(config)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    if not safe:
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=24,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
