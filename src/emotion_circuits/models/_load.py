"""Loading a model by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from emotion_circuits._files import read_json
from emotion_circuits.errors import EmotionCircuitsError, InputError
from emotion_circuits.models._checks import check_files, check_finite, check_tokens
from emotion_circuits.models._families import FAMILIES, Family, family_of
from emotion_circuits.models._identity import revision_of
from emotion_circuits.models._loaded import SLIDING, Float32Products, LoadedModel
from emotion_circuits.models._names import ModelName
from emotion_circuits.models._quiet import quiet_transformers
from emotion_circuits.models._sources import find, is_available
from emotion_circuits.models._weights import (
    TOKENIZER_FILES,
    check_memory,
    count_parameters,
    weight_files,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_OLD_BUFFERS = re.compile(r"(^|\.)(attn|attention)\.(masked_)?bias$|rotary_emb\.inv_freq$")
"""Causal masks and rotary frequencies, which transformers once kept among the weights and now computes."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load(
    name: str | ModelName,
    *,
    device: str | torch.device = "auto",
    dtype: Literal["float32", "bfloat16"] = "float32",
    bos: bool | Literal["auto"] = "auto",
    threads: int | None = None,
    float32_products: Float32Products = "highest",
) -> LoadedModel:
    """Load a causal language model for measurement: eval mode, no parameter gradients, no code from the model's author.

    Args:
        name: see `ModelName`; `?init=random&seed=0` gives the untrained twin.
        device: a torch device, or "auto" for CUDA where there is one, else the CPU.
        dtype: precision of the weights. Below a billion parameters measure in float32.
        bos: whether texts get a BOS token. "auto" means on for the reference models and GPT-2, and for the others where
            their tokenizer puts one before a text by itself.
        threads: number of torch's threads, for the whole process; None leaves it as it is.
        float32_products: "medium" lets some processors multiply faster, with bfloat16's digits.

    Weights that are stored in the precision asked for are mapped from the file, not copied: replace a weight file by
    renaming another onto it, never by writing into it, while a model is loaded from it.

    Raises:
        InputError: the model cannot be found, fetched or used, its files do not belong together or hold NaN, or memory
            is short.
    """
    name = ModelName.parse(name)
    torch_dtype = _dtype(dtype)
    torch_device = resolve_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    folder = find(name).path
    config, family = _configuration(folder)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        tokenizer = _tokenizer(folder)
        if name.seed is not None:
            with _usable("config.json makes no model.", folder):
                hf = _untrained(name, config, family, torch_dtype, torch_device, name.seed)
        else:
            check_files(folder)
            files = weight_files(folder)
            check_memory(str(name), count_parameters(files), torch_dtype, torch_device)
            hf = _trained(folder, config, family, torch_dtype)
    module = cast(torch.nn.Module, hf)
    _fuse_activations(module)
    module.requires_grad_(False).eval().to(torch_device)
    if name.seed is None:
        check_finite(folder, module)
    check_tokens(folder, tokenizer, len(cast(torch.Tensor, hf.get_input_embeddings().weight)))
    return LoadedModel(
        name=name,
        revision=revision_of(name),
        family=family,
        hf=hf,
        tokenizer=tokenizer,
        bos=_use_bos(bos, name, family, tokenizer),
        device=torch_device,
        dtype=torch_dtype,
        float32_products=float32_products,
    )


def family_of_model(name: str | ModelName) -> Family:
    """The family of a model that is on this machine, without loading it or asking the network.

    Raises:
        InputError: the model is not here, or of an unknown architecture.
    """
    name = ModelName.parse(name)
    if not is_available(name):
        raise InputError(f"{name} is not on this machine.", next_step=f"emotion-circuits models get {name.trained}")
    written = read_json(find(name).path / "config.json")
    return family_of(SimpleNamespace(model_type=written.get("model_type")))


def family_code(name: str | ModelName) -> str:
    """Identifies the code that registered a model's family; empty for a bundled one."""
    return FAMILIES.code(family_of_model(name).name) if FAMILIES.codes() else ""


def _dtype(dtype: str) -> torch.dtype:
    if dtype not in DTYPES:
        raise InputError("Unknown dtype.", found=repr(dtype), accepted=", ".join(DTYPES))
    return DTYPES[dtype]


def resolve_device(device: str | torch.device) -> torch.device:
    """The device that a name stands for; `auto` is CUDA where there is one, else the CPU.

    Raises:
        InputError: it cannot be used here.
    """
    if device == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA raises AssertionError
        reason = str(error).splitlines()[0]
        raise InputError(
            "This device cannot be used.", found=f"{device}: {reason}", accepted="auto, cpu, cuda:0"
        ) from error
    return chosen


def _configuration(folder: Path) -> tuple[Any, Family]:
    from transformers import AutoConfig

    file = folder / "config.json"
    with _usable("config.json cannot be used.", file), quiet_transformers():
        written = json.loads(file.read_text("utf-8"))
        # The family is checked first: for an architecture that transformers lacks, its own error is a page long.
        family = family_of(SimpleNamespace(model_type=written.get("model_type")))
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if strange := {*(getattr(config, "layer_types", None) or ())} - {"full_attention", SLIDING}:
        raise InputError(
            "The model's layers are of a kind that is not supported.",
            found=f"{', '.join(sorted(strange))} in {file}",
            accepted=f"full_attention, {SLIDING}",
        )
    return config, family


@contextmanager
def _usable(problem: str, what: Path) -> Iterator[None]:
    """InputError for what the block raises: transformers and tokenizers refuse files with exceptions of all kinds."""
    try:
        yield
    except (EmotionCircuitsError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(problem, found=f"{what}: {reason[0][:160]}") from error


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise InputError("The model has no tokenizer.", found=folder, accepted="a folder with a tokenizer.json")
    with _usable("The tokenizer cannot be read.", folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
    if not tokenizer.is_fast:
        raise InputError(
            "The tokenizer gives no character offsets.",
            found=type(tokenizer).__name__,
            accepted="a tokenizer with a tokenizer.json",
        )
    return cast("PreTrainedTokenizerFast", tokenizer)


def _trained(folder: Path, config: Any, family: Family, dtype: torch.dtype) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    with _usable("The weights cannot be used.", folder):
        hf, report = auto.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=family.attention_implementation,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    if missing := sorted(report["missing_keys"]):  # transformers would leave these random, with a warning
        raise InputError(
            "The weights do not cover the model.",
            found=f"{folder} lacks {len(missing)} tensors, such as {missing[0]}",
            next_step="check that config.json and the weights belong together",
        )
    if unused := sorted(key for key in report["unexpected_keys"] if not _OLD_BUFFERS.search(key)):
        raise InputError(  # transformers would leave these out, with a warning
            "The weights hold more than the model.",
            found=f"{folder} has {len(unused)} tensors that the model does not use, such as {unused[0]}",
            accepted="the tensors of the model that config.json describes",
            next_step="check that config.json and the weights belong together; save_pretrained leaves the rest out",
        )
    return cast("PreTrainedModel", hf)


def _untrained(
    name: ModelName, config: Any, family: Family, dtype: torch.dtype, device: torch.device, seed: int
) -> PreTrainedModel:
    """The architecture with transformers' own initial weights. The caller has forked the random state."""
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    options = {"dtype": torch.float32, "attn_implementation": family.attention_implementation}
    with torch.device("meta"):
        parameters = sum(p.numel() for p in auto.from_config(config, **options).parameters())
    check_memory(str(name), parameters, torch.float32, torch.device("cpu"))
    check_memory(str(name), parameters, dtype, device)
    # Not torch.manual_seed: that would seed the accelerators too, which the fork does not cover.
    torch.default_generator.manual_seed(seed)
    hf = auto.from_config(config, **options)
    # Drawn in float32 whatever the precision, so that one seed is one model. Buffers stay: rotary angles need float32.
    for parameter in hf.parameters():
        parameter.data = parameter.data.to(dtype)
    hf.config.dtype = dtype
    return cast("PreTrainedModel", hf)


def _fuse_activations(module: torch.nn.Module) -> None:
    """Let GPT-2's GELU be one operation of torch's instead of eight: the same function, rounded as often or less, in
    half the time, which is a sixth of a small model's."""
    from transformers.activations import GELUTanh, NewGELUActivation

    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(parent, name, GELUTanh())


def _use_bos(bos: bool | Literal["auto"], name: ModelName, family: Family, tokenizer: PreTrainedTokenizerFast) -> bool:
    has_one = tokenizer.bos_token_id is not None or tokenizer.eos_token_id is not None
    if bos == "auto":
        return has_one and (name.kind == "reference" or family.bos_auto or _adds_bos(tokenizer))
    if bos and not has_one:
        raise InputError(f"The tokenizer of {name} has no BOS or EOS token.", next_step="load it with bos=False")
    return bool(bos)


def _adds_bos(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether the tokenizer itself puts its BOS before a text: by its post-processor or `add_bos_token`."""
    with_special, plain = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (True, False))
    return len(with_special) > len(plain) and with_special[0] == tokenizer.bos_token_id
