"""The models to start with. Any other causal LM of a known family loads by its name too."""

from __future__ import annotations

from dataclasses import dataclass

from emotion_circuits.models._names import ModelName
from emotion_circuits.models._sources import is_available


@dataclass(frozen=True)
class ModelInfo:
    """One line of `emotion-circuits models list`."""

    name: str
    family: str
    layers: int
    width: int
    parameters: int
    available: bool
    """Loads without a download."""
    how: str
    """What to do to have it."""


_KNOWN = (
    # name, family, layers, width, parameters (tied embeddings count once)
    ("reference/gpt2", "gpt2", 8, 192, 4_394_880),
    ("reference/gpt-neox", "gpt_neox", 8, 192, 5_479_296),
    ("reference/gpt-neo", "gpt_neo", 8, 192, 4_390_272),
    ("reference/gpt2-twin", "gpt2", 8, 192, 4_394_880),
    ("smollm2-135m", "llama", 30, 576, 134_515_008),
    ("gpt2", "gpt2", 12, 768, 124_439_808),
    ("EleutherAI/pythia-160m", "gpt_neox", 12, 768, 162_322_944),
    ("EleutherAI/gpt-neo-125m", "gpt_neo", 12, 768, 125_198_592),
)


def catalogue() -> tuple[ModelInfo, ...]:
    """The reference models, SmolLM2 and the hub models the studies start with. Asks no network."""
    rows = []
    for name, family, layers, width, parameters in _KNOWN:
        kind = ModelName.parse(name).kind
        how = "bundled" if kind == "reference" else f"emotion-circuits models get {name}"
        rows.append(ModelInfo(name, family, layers, width, parameters, is_available(name), how))
    return tuple(rows)
