"""One battery over all families, driven by `families()`: a new entry is tested as soon as it is there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import AutoTokenizer
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from emotion_circuits.errors import InputError
from emotion_circuits.models import Family, LoadedModel, families, family_of, load

TEXTS = [
    "Thank you so much.",
    "  Two  spaces\n\nand lines ",
    "Ünïcödé — 日本語のテキスト 😀!",
    "a",
    "ありがとう",
    "\t1,234.5",
]

battery = pytest.mark.parametrize("family", families(), ids=lambda family: family.name)


@battery
def test_loading_gives_the_models_own_weights(family: Family, tiny_folders: dict[str, Path]) -> None:
    lm = load(str(tiny_folders[family.name]))
    oracle = AutoModelForCausalLM.from_pretrained(tiny_folders[family.name], dtype=torch.float32).eval()
    ids = torch.randint(0, lm.vocab_size, (2, 20), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lm.hf(ids).logits, oracle(ids).logits, rtol=0, atol=1e-5)
    assert lm.family is family
    assert not lm.hf.training
    assert not any(parameter.requires_grad for parameter in lm.hf.parameters())
    assert {parameter.dtype for parameter in lm.hf.parameters()} == {torch.float32}
    assert len(lm.revision) == 16


@battery
def test_paths_and_sizes(family: Family, tiny_folders: dict[str, Path]) -> None:
    lm = load(str(tiny_folders[family.name]))
    assert (lm.n_layers, lm.d_model, lm.n_heads, lm.d_head, lm.vocab_size, lm.max_positions) == (3, 32, 4, 8, 4096, 64)
    assert lm.n_kv_heads == getattr(lm.config, "num_key_value_heads", 4)
    assert isinstance(lm.blocks, nn.ModuleList) and len(lm.blocks) == 3
    assert lm.embedding is lm.hf.get_input_embeddings()
    assert lm.lm_head is lm.hf.get_output_embeddings()
    assert lm.base is lm.hf.base_model
    for layer in range(3):
        inside = set(lm.blocks[layer].modules())
        assert {lm.attention(layer), lm.attention_out(layer), lm.mlp(layer), lm.mlp_out(layer)} <= inside
        assert lm.attention_out(layer) in set(lm.attention(layer).modules())
        assert lm.mlp_out(layer) in set(lm.mlp(layer).modules())
    with pytest.raises(InputError, match="no layer 3"):
        lm.attention(3)


@battery
def test_facts_hold_in_a_forward_pass(family: Family, tiny_folders: dict[str, Path]) -> None:
    """The parts named by the family add up to the residual stream, and its invisible direction is invisible."""
    lm = load(str(tiny_folders[family.name]))
    for module in lm.hf.modules():  # initial norms have gain 1 and bias 0 in every family: nothing would be told apart
        for name, parameter in module.named_parameters(recurse=False):
            if "norm" in type(module).__name__.lower() or name == "bias":
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) * 0.1)
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, side: str):  # type: ignore[no-untyped-def]
        def hook(_module, args, kwargs, output=None):  # type: ignore[no-untyped-def]
            value = (args[0] if args else kwargs["hidden_states"]) if side == "in" else output
            seen[f"{name}.{side}"] = value[0] if isinstance(value, tuple) else value

        return hook

    added = lm.attention_post_norm(1) or lm.attention(1)
    watched = {"attention": lm.attention(1), "mlp": lm.mlp(1), "block": lm.block(1), "z": lm.attention_out(1)}
    watched |= {"added": added, "last added": lm.mlp_post_norm(1) or lm.mlp(1)}
    watched |= {"neurons": lm.mlp_out(1), "norm": lm.final_norm, "head": lm.lm_head, "last": lm.block(2)}
    for name, module in watched.items():
        module.register_forward_pre_hook(keep(name, "in"), with_kwargs=True)
        module.register_forward_hook(keep(name, "out"), with_kwargs=True)
    ids = torch.arange(20)[None] + 100
    logits = lm.hf(ids).logits
    total = seen["block.in"] + seen["added.out"] + seen["last added.out"]
    torch.testing.assert_close(seen["block.out"], total, rtol=0, atol=1e-5)
    torch.testing.assert_close(seen["z.out"], seen["attention.out"], rtol=0, atol=0)
    torch.testing.assert_close(seen["neurons.out"], seen["mlp.out"], rtol=0, atol=0)
    assert seen["z.in"].shape[-1] == lm.n_heads * lm.d_head
    torch.testing.assert_close(seen["norm.in"], seen["last.out"], rtol=0, atol=0)
    torch.testing.assert_close(seen["head.out"], logits, rtol=0, atol=0)
    assert lm.parallel is family.parallel

    mlp_input = seen["mlp.in"]
    added.register_forward_hook(
        lambda _m, _a, out: (
            (out[0] + 1.0 * torch.arange(32), *out[1:]) if isinstance(out, tuple) else out + torch.arange(32)
        )
    )
    lm.hf(ids)
    assert torch.equal(seen["mlp.in"], mlp_input) == family.parallel

    norm = lm.final_norm
    vector = seen["last.out"]
    assert torch.allclose(norm(vector), norm(vector + 3.0), atol=1e-4) == family.centred_norm


@battery
@pytest.mark.parametrize("bos", [True, False])
def test_offsets_point_at_the_tokens_text(family: Family, bos: bool, tiny_folders: dict[str, Path]) -> None:
    check_offsets(load(str(tiny_folders[family.name]), bos=bos))


def check_offsets(lm: LoadedModel) -> None:
    for text, encoded in zip(TEXTS, lm.encode(TEXTS), strict=True):
        assert len(encoded.ids) == len(encoded.offsets) == len(encoded)
        assert encoded.bos_length == int(lm.bos)
        if lm.bos:
            assert (encoded.ids[0], encoded.offsets[0]) == (lm.bos_id, (0, 0))
        ids, offsets = encoded.ids[encoded.bos_length :], encoded.offsets[encoded.bos_length :]
        assert lm.bos_id not in ids
        assert lm.tokenizer.decode(ids).strip() == text.strip()
        assert list(offsets) == sorted(offsets)
        covered = {place for start, end in offsets for place in range(start, end)}
        assert covered >= {place for place, letter in enumerate(text) if not letter.isspace()}
        for token, (start, end) in zip(ids, offsets, strict=True):
            piece = lm.tokenizer.decode([token])
            if "\ufffd" not in piece and piece.strip():  # a token may be a part of one character
                assert text[start:end] == piece.lstrip()


def test_offsets_with_a_metaspace_tokenizer(tiny_folders: dict[str, Path]) -> None:
    """Sentencepiece-like tokenizers count the space into the word, and put a BOS of their own before each text."""
    from dataclasses import replace

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "<unk>"], show_progress=False)
    backend.train_from_iterator(["thank you so much my friend"] * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")
    lm = replace(load(str(tiny_folders["llama"])), tokenizer=tokenizer, bos=True)
    text = "thank you my friend"
    (encoded,) = lm.encode([text])
    assert [text[start:end] for start, end in encoded.offsets] == ["", "thank", "you", "my", "friend"]


@pytest.mark.parametrize("name", ["reference/gpt2", "reference/gpt-neox"])
def test_offsets_of_bundled_tokenizers(name: str) -> None:
    check_offsets(load(name))


def test_encoding_equals_the_tokenizers_own(tiny_folders: dict[str, Path]) -> None:
    lm = load(str(tiny_folders["gpt_neo"]), bos=False)
    tokenizer = AutoTokenizer.from_pretrained(tiny_folders["gpt_neo"])
    assert [list(encoded.ids) for encoded in lm.encode(TEXTS)] == [
        tokenizer.encode(text, add_special_tokens=False) for text in TEXTS
    ]


def test_too_long_and_empty_texts(tiny_folders: dict[str, Path]) -> None:
    lm = load(str(tiny_folders["gpt2"]), bos=True)
    assert len(lm.encode([" a" * 63])[0]) == lm.max_positions
    with pytest.raises(InputError, match="too long"):
        lm.encode(["fine", " a" * 64])
    with pytest.raises(InputError, match="no tokens"):
        load(str(tiny_folders["gpt2"]), bos=False).encode([""])
    assert lm.encode([]) == []


@battery
def test_untrained_twins(family: Family, tiny_folders: dict[str, Path]) -> None:
    folder = str(tiny_folders[family.name])
    before = torch.get_rng_state()
    trained, first, again, other = (
        load(folder + query) for query in ("", "?init=random", "?init=random&seed=0", "?init=random&seed=1")
    )
    assert torch.equal(torch.get_rng_state(), before)
    state, twin, same, different = (lm.hf.state_dict() for lm in (trained, first, again, other))
    assert twin.keys() == state.keys()
    assert all(torch.equal(twin[key], same[key]) for key in twin)
    matrices = [key for key, value in twin.items() if value.ndim == 2]
    assert not any(torch.equal(twin[key], different[key]) or torch.equal(twin[key], state[key]) for key in matrices)
    embedding = first.embedding.weight
    assert embedding.std().item() == pytest.approx(first.config.initializer_range, rel=0.05)
    assert first.revision == again.revision != other.revision
    assert first.revision.startswith("init-random-seed-0-")
    assert first.encode(TEXTS) == trained.encode(TEXTS)


@battery
@pytest.mark.parametrize("query", ["", "?init=random&seed=2"])
def test_bfloat16_is_the_same_model_rounded(family: Family, query: str, tiny_folders: dict[str, Path]) -> None:
    name = str(tiny_folders[family.name]) + query
    exact, rounded = load(name), load(name, dtype="bfloat16")
    assert rounded.dtype == rounded.hf.dtype == torch.bfloat16
    for (key, value), other in zip(exact.hf.named_parameters(), rounded.hf.parameters(), strict=True):
        assert torch.equal(value.to(torch.bfloat16), other), key
    for (key, value), other in zip(exact.hf.named_buffers(), rounded.hf.buffers(), strict=True):
        assert torch.equal(value.to(other.dtype), other), key
        assert other.dtype == torch.float32 or "inv_freq" not in key  # rotary angles stay float32
    assert torch.isfinite(rounded.hf(torch.tensor([[1, 2, 3]])).logits).all()


def test_family_of_an_unknown_architecture() -> None:
    with pytest.raises(InputError, match=r"(?s)'mamba'.*gpt2, gpt_neox, gpt_neo, llama"):
        family_of(SimpleNamespace(model_type="mamba"))


def test_parallel_comes_from_the_configuration() -> None:
    neox = next(family for family in families() if family.name == "gpt_neox")
    assert not neox.is_parallel(SimpleNamespace(use_parallel_residual=False))
    assert neox.is_parallel(SimpleNamespace())
