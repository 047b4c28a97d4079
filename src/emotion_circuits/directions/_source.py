"""Which model made a file's numbers, and how it was run: what files must share to be used together."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from emotion_circuits.models import Float32Products, LoadedModel


class Source(BaseModel):
    """Which model made the activations, and how it was run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    revision: str
    dtype: str
    bos: bool
    site: str = "resid_post"
    centred_norm: bool
    """The model's norms subtract the mean over dimensions: it cannot see the all-ones direction."""
    float32_products: Float32Products = "highest"


def source_of(lm: LoadedModel) -> Source:
    """The `Source` of what a model computes."""
    return Source(
        model=str(lm.name),
        revision=lm.revision,
        dtype=str(lm.dtype).removeprefix("torch."),
        bos=lm.bos,
        centred_norm=lm.family.centred_norm,
        float32_products=lm.float32_products,
    )
