"""The models to start with. Any other causal LM of a known family loads by its name too."""

from __future__ import annotations

from dataclasses import dataclass

from emotion_circuits.models._names import ModelName
from emotion_circuits.models._packaged import PACKAGED
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
    licence: str
    """Of the weights."""
    megabytes: int
    """On disk, in float32."""
    how: str
    """What to do to have it."""


_KNOWN = (
    # name, family, layers, width, parameters (tied embeddings count once), licence
    ("reference/gpt2", "gpt2", 8, 192, 4_394_880, "Apache-2.0"),
    ("reference/gpt-neox", "gpt_neox", 8, 192, 5_479_296, "Apache-2.0"),
    ("reference/gpt-neo", "gpt_neo", 8, 192, 4_390_272, "Apache-2.0"),
    ("reference/gpt2-twin", "gpt2", 8, 192, 4_394_880, "Apache-2.0"),
    ("smollm2-135m", "llama", 30, 576, 134_515_008, PACKAGED["smollm2-135m"].licence),
    ("gemma3-270m", "gemma3", 18, 640, 268_098_176, PACKAGED["gemma3-270m"].licence),
    ("gpt2", "gpt2", 12, 768, 124_439_808, "MIT"),
    ("EleutherAI/pythia-160m", "gpt_neox", 12, 768, 162_322_944, "Apache-2.0"),
    ("EleutherAI/gpt-neo-125m", "gpt_neo", 12, 768, 125_198_592, "MIT"),
)


def catalogue() -> tuple[ModelInfo, ...]:
    """The reference models, those that packages carry, and the hub models the studies start with. Asks no network."""
    rows = []
    for name, family, layers, width, parameters, licence in _KNOWN:
        kind = ModelName.parse(name).kind
        how = "bundled" if kind == "reference" else f"emotion-circuits models get {name}"
        megabytes = round(4 * parameters / 1e6)
        rows.append(ModelInfo(name, family, layers, width, parameters, is_available(name), licence, megabytes, how))
    return tuple(rows)
