"""Inputs that people really give and that cannot be used, drawn at random, and what must hold of every one of them."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from emotion_circuits.cli import main

MODEL, VECTORS, ACTIVATIONS = "@model", "@vectors", "@activations"
"""Stand in command lines for the workshop's whole files."""
SECONDS = 60


@dataclass
class Case:
    """A command line, and the files that lie in the folder where it runs."""

    argv: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""
    prepare: Callable[[Path], None] | None = None
    room: int | None = None
    """Bytes that fit into a file: a full disk."""

    def __repr__(self) -> str:
        shown = {name: content[:300] for name, content in self.files.items()}
        return f"Case({self.argv!r}, {shown!r}, {self.stdin[:300]!r}, room={self.room})"


@dataclass(frozen=True)
class Workshop:
    """Whole inputs: a tiny model's folder, its directions and its activations."""

    model: Path
    vectors: Path
    activations: Path

    def fill(self, argv: list[str]) -> list[str]:
        known = {MODEL: self.model, VECTORS: self.vectors, ACTIVATIONS: self.activations}
        return [str(known.get(token, token)) for token in argv]


def check(case: Case, workshop: Workshop) -> int:
    """Run it; a few clear lines and exit status 2 (1 on a full disk), or a result, and nothing lost or half-written."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        here = Path(name)
        for file, content in {"kept.jsonl": b"finished\n", "kept.safetensors": b"finished\n", **case.files}.items():
            (here / file).parent.mkdir(parents=True, exist_ok=True)
            (here / file).write_bytes(content)
        shutil.copytree(workshop.model, here / "broken")
        if case.prepare:
            case.prepare(here)
        before = {p: p.read_bytes() for p in here.rglob("*") if p.is_file()}
        status, out, err = _run(workshop.fill(case.argv), case)
        shown = f"{case!r}\nstatus {status}\n{err}"
        assert "Traceback" not in err and "Unexpected error" not in err, shown
        assert status in ((0, 1, 2) if case.room is not None else (0, 2)) or _documented(case, status), shown
        errors = [line for line in err.splitlines() if not line.startswith("note: ")]
        assert status == 0 or case.argv[0] == "prompts" or 1 <= len(errors) <= 8, shown
        assert not any(sign in out + err for sign in "\x1b\x07\x9b\u2028"), shown
        assert not list(here.rglob("*.part")), shown
        if status != 0:
            changed = [p.name for p, content in before.items() if not p.is_file() or p.read_bytes() != content]
            assert not changed, f"{shown}\nchanged: {changed}"
        elif "--json" in case.argv and out.startswith(("{", "[")):
            json.loads(out)
        return status


def _documented(case: Case, status: int) -> bool:
    """`prompts validate` ends with 1 if a data set has a problem; `/dev/full` is a full disk."""
    return status == 1 and (case.argv[:2] == ["prompts", "validate"] or case.argv[-1].startswith("/dev/full"))


def _run(argv: list[str], case: Case) -> tuple[int, str, str]:
    import resource

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept_in = sys.stdin
    old = signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(SECONDS)
    try:
        sys.stdin = io.TextIOWrapper(io.BytesIO(case.stdin), "utf-8")
        if case.room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (case.room, limits[1]))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(argv)
            except SystemExit as left:
                status = f"SystemExit({left.code})"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        sys.stdin = kept_in
    return status, *(stream.buffer.getvalue().decode("utf-8") for stream in (out, err))


def _too_slow(*_: object) -> None:
    raise KeyboardInterrupt(f"more than {SECONDS} s")


# --- files of texts

ODD_TEXTS = (
    "Thank you.", "", " ", "\n", "a\0b", "\u2028", "\x1b[31mred\x07", "\x9b2J", "é", "e\u0301", "雨が降る", "👍🏽",
    "\ufeffx", "\u202eabc", "\U0010ffff", "\ufffe", "word " * 700, "x" * 5000, "'\"`", "<|endoftext|>", "\\ud800",
    "\u200b", "\x7f",
)  # fmt: skip
ODD_LINES = (
    '{"text": "fine", "id": 1}', '{"text": "fine", "scores": 3}', '{"text": "fine", "layer": 1, "truncated": true}',
    '{"text": "\\ud800"}', '{"text": "a", "x\\udc00": 1}', '{"text": "a", "text": "b"}', '{"text": "a", "n": NaN}',
    '{"text": "a", "n": -Infinity}', '{"text": "a", "n": 1e999}', '{"text": "a", "n": ' + "9" * 5000 + "}",
    '{"text": "a", "n": ' + "9" * 400 + "}", "[" * 100_000, '{"a":' * 5000,
    '{"text": "a", "n": ' + "[" * 500 + "]" * 500 + "}", '{"text": 3}', '{"text": null}', '{"text": ["a"]}',
    '{"txt": "a"}', "[]", "null", "3", '"a"', "{}", "{", '{"text": "a"', '{"text": "a"} x', "{'text': 'a'}",
    '{"text": "a",}', "\t", "\x00", "\ufeff", "text", "text,id", 'a,"b', "a;b", "#",
    '{"text": "a", "emotion": "anger", "scenario": 1}', '{"text": "a", "emotion": "joy"}',
    '{"text": "a", "emotion": []}', '{"text": "a", "emotion": "neutral", "span": [0, 9]}',
    '{"text": "ab", "emotion": "anger", "span": [0, 1]}',
    '{"text": "a", "emotion": "neutral", "split": "test", "scenario": "s"}',
    '{"text": "a", "emotion": "anger", "scenario": ' + "7" * 4000 + "}", '{"prompt": "p", "text": "t"}',
    '{"prompt": "p", "text": "", "arm": "clean"}', '{"prompt": "p", "text": "t", "arm": "random x"}',
    '{"prompt": "p", "text": "t", "arm": "steered", "emotion": "anger", "dose": 1e308, "layer": ' + "9" * 30 + "}",
    '{"prompt": "p", "text": "t", "arm": "steered", "dose": -0.0, "sample": ' + "9" * 30 + ', "perplexity": -1}',
    '{"prompt": "p", "text": "t", "arm": "\\u001b", "perplexity": 1e308}', '{"prompts": ["a", "b"]}',
    '{"prompts": [1]}', '["a", "b"]', '["a", null]', '{"prompts": ["a"], "scenarios": [1, 2]}',
)  # fmt: skip
SUFFIXES = (".jsonl", ".JSONL", ".ndjson", ".csv", ".tsv", ".CSV", ".txt", ".json", "", ".xlsx", ".pkl", ".parquet")
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp932", "utf-7")

texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=40)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(
    st.sampled_from(["text", "emotion", "prompt", "arm", "scenario", "split", "span", "id", "dose", "layer"]) | texts,
    plain,
).map(lambda value: {"text": "fine", **value})
lines = st.sampled_from(ODD_LINES) | objects.map(json.dumps) | texts | texts.map(lambda t: json.dumps({"text": t}))


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    good = objects.map(json.dumps) | texts.map(lambda t: json.dumps({"text": t, "prompt": "p", "emotion": "anger"}))
    many = draw(st.lists(good if draw(st.booleans()) else lines, max_size=5))
    if draw(st.booleans()):
        many = ['{"text": "fine"}', *many] if draw(st.booleans()) else ["text,id", *many]
    content = draw(st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"])).join(many)
    data = content.encode(draw(st.sampled_from(ENCODINGS)), "replace")
    return data if draw(st.booleans()) else data[: draw(st.integers(0, len(data)))]


TEXT_COMMANDS = (
    ["score", "--vectors", VECTORS, "--input", "FILE"],
    ["score", "--vectors", VECTORS, "--input", "FILE", "--output", "kept.jsonl"],
    ["score", "--vectors", VECTORS, "--input", "FILE", "--json", "--truncate", "--prefix", "ec_"],
    ["generate", "--vectors", VECTORS, "--emotion", "anger", "--max-tokens", "2", "--input", "FILE"],
    ["generate", "--vectors", VECTORS, "--emotion", "anger", "--max-tokens", "2", "--input", "FILE", "--output", "x"],
    ["evaluate", "--scorers", "markers", "--input", "FILE", "--json"],
    ["evaluate", "--scorers", "vader", "--input", "FILE", "--output", "e.parquet"],
    ["evaluate", "--scorers", "markers", "--model", MODEL, "--input", "FILE"],
    ["prompts", "build", "--prompts-dir", "FILE", "--data-dir", "data"],
    ["prompts", "validate", "FILE", "--permutations", "0"],
    ["extract", "--model", MODEL, "--output", "acts", "--dataset", "FILE"],
    ["sweep", "--vectors", VECTORS, "--layers", "1", "--dose", ".1", "--controls", "0", "--prompts", "FILE"],
    ["heads", "ablate", "--model", MODEL, "--heads", "1:1", "--prompts-file", "FILE"],
)  # fmt: skip


@st.composite
def text_files(draw: st.DrawFn) -> Case:
    argv = draw(st.sampled_from(TEXT_COMMANDS))
    name = draw(st.sampled_from(["own", "anger_prompts", "-"])) + draw(st.sampled_from(SUFFIXES))
    content = draw(contents())
    argv = [name if token == "FILE" else token for token in argv]
    return Case(argv, {} if name == "-" else {name: content}, stdin=content)


# --- flags

VALUES = (
    "-5", "-1", "0", "1", "2", "3", "99", "1e3", "nan", "inf", "-inf", "1e400", "", " ", "０", "½", "1_000", "0x10",
    "+3", "9" * 5000, ".", "..", "~", "/", "-", "--", "true", "anger", "gratitude", "joy", "mean", "embed",
    "specific", "test", "auto", "cuda:0", "cuda", "mps", "meta", "float16", "bfloat16", "baseline", "no/such", "./no",
    "x@y", "x?init=random", "reference/gpt2?init=random&seed=-1", "reference/gpt2@main", "reference/nope", "a b",
    "\x1b[31m", "\u2028", "\udcff", "é" * 300, "x" * 5000, "1:1", "9:9", "1:", ":", "hf:no", "hf:", "markers",
    "kept.jsonl", "kept.safetensors", "broken", MODEL, VECTORS, ACTIVATIONS, "x.parquet", "x.json", "x.pkl", "x.gguf",
    "x.jsonl",
)  # fmt: skip
LIGHT = (
    ["score", "--vectors", VECTORS, "--text", "hi"],
    ["generate", "--vectors", VECTORS, "--emotion", "anger", "--prompt", "hi", "--max-tokens", "2"],
    ["export", "--vectors", VECTORS, "--emotion", "anger", "--output", "x.gguf"],
    ["vectors", "--activations-dir", ACTIVATIONS, "--output", "x.safetensors"],
    ["extract", "--model", MODEL, "--output", "acts"],
    ["models", "verify", MODEL], ["models", "list"], ["prompts", "show"], ["prompts", "build", "--data-dir", "d"],
    ["punctuation", "--vectors", VECTORS, "--emotion", "anger", "--model", MODEL],
    ["sweep", "--vectors", VECTORS, "--layers", "1", "--dose", ".1", "--controls", "0"],
    ["subspace", "--activations-dir", ACTIVATIONS, "--output", "x.safetensors"],
)  # fmt: skip
WORK = (
    "--permutations",
    "--draws",
    "--controls",
    "--untrained",
    "--n-samples",
    "--donors",
    "--n-fit",
    "--n-random",
    "--shuffled",
)
"""More of these is more work, not bad input."""


def command_flags(commands: Any, path: tuple[str, ...]) -> list[str]:
    found = commands
    for name in path:
        found = found[name]
    if found.default_command is None:  # a group of commands
        return ["--model"]
    return [name for argument in found.assemble_argument_collection() if argument.parse for name in argument.names]


@st.composite
def flags(draw: st.DrawFn) -> Case:
    from emotion_circuits.cli._app import build_app
    from emotion_circuits.cli._errors import command_paths

    app = build_app()
    if draw(st.integers(0, 2)):
        argv = list(draw(st.sampled_from(LIGHT)))
        path = tuple(argv[: 2 if argv[0] in ("models", "prompts") else 1])
    else:  # what may take long gets a model that is not there
        path = draw(st.sampled_from([p for p in command_paths(app) if p != ("models", "get") and p != ("selftest",)]))
        argv = [*path, "no/such-study.yaml"] if path == ("study",) else [*path, "--model", "./no-such"]
    names = [name for name in command_flags(app, path) if name.startswith("--") and name not in WORK]
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(names) | st.sampled_from(["--no", "-x", "--", "--help", "--version", "--json"]))
        values = draw(st.lists(st.sampled_from(VALUES) | st.text(max_size=8), max_size=2))
        values = [v.replace("\0", "") for v in values]
        argv += [f"{name}={values[0]}"] if values and draw(st.booleans()) else [name, *values]
    return Case(argv)


# --- study files

KEYS = (
    "profile", "models", "results", "device", "dtype", "bos", "threads", "seed", "batch_tokens", "generic_texts",
    "steering", "untrained_seeds", "effects", "sharing", "interchange", "methods", "components", "doses", "depths",
    "position", "nonsense",
)  # fmt: skip
ODD_YAML = (
    b"", b"---", b"- a", b"a: b: c", b"models: reference/gpt2", b"models: []", b"models: [./no]\nmodels: [./no]",
    b"!!python/object:os.system [x]", b"&a [*a]", b"a: &a [b]\nb: *a", b"\tx: 1", b"models: [1, null]",
    b"models: [./no]\nsteering: {doses: []}", b"[" * 3000, b"? x", b"\xff\xfe",
    b"models: [./no]\nsteering: {doses: [.nan]}", b"models: [./no]\nresults: [a]", b"models: [./no]\nseed: 1e400",
    b"1: 2", b"{a: 1, a: 2}", b"models: [./no]\nresults: \"a\\0b\"", b"models: [\"./\\ud800\"]", b"seed: 2020-13-45",
    b"x: !!binary a", b"models: {a: 1}", b"a: 0o9", b"%YAML 9",
)  # fmt: skip


@st.composite
def studies(draw: st.DrawFn) -> Case:
    """Whatever they say, their model is not there."""
    if draw(st.booleans()):
        content = draw(st.sampled_from(ODD_YAML) | st.binary(max_size=60)) or b"models: []"
    else:
        settings = draw(
            st.dictionaries(st.sampled_from(KEYS), plain | st.dictionaries(st.sampled_from(KEYS), plain, max_size=2))
        )
        content = json.dumps(
            {**settings, "models": draw(st.sampled_from([["./no"], ["broken/x"], "./no", [], [None], None]))}
        ).encode()
    if b"models" not in content:
        content += b"\nmodels: [./no-such]\n"
    return Case(
        ["study", "study.yaml", *draw(st.sampled_from([[], ["--full"], ["--json"], ["--results", "kept.jsonl"]]))],
        {"study.yaml": content},
    )


# --- paths

PATHS = (
    "", ".", "..", "~", "~nobody", "folder", "folder/", "loop", "dangling", "link.jsonl", "kept.jsonl/x",
    "kept.jsonl/x.jsonl", "/dev/null", "/dev/full", "/dev/full/x.jsonl", "/proc/version/x.jsonl",
    "/proc/self/nope.jsonl", "no/such/folder/x.jsonl", "x" * 300, "x" * 250 + ".jsonl", "é" * 120 + ".jsonl",
    "x/" * 3000 + "y.jsonl", "a\nb.jsonl", "a\x1bb.jsonl", " .jsonl", ".jsonl", "x.", "x.jsonl.", "x.57Ux4", "x.lkqt",
    "x.pkl", "x.PT", "x.jsonl", "x.parquet", "x.safetensors", "x.gguf", "x.json", "-x.jsonl", "http://x/y.jsonl",
    "C:\\x.jsonl", "\udcff.jsonl", "x?.jsonl", "*.jsonl", "$HOME/x.jsonl", "\u2028.jsonl",
)  # fmt: skip
WRITERS = (
    ["score", "--vectors", VECTORS, "--text", "hi", "--output"],
    ["generate", "--vectors", VECTORS, "--emotion", "anger", "--prompt", "hi", "--max-tokens", "1", "--output"],
    ["export", "--vectors", VECTORS, "--emotion", "anger", "--output"],
    ["vectors", "--activations-dir", ACTIVATIONS, "--output"],
    ["extract", "--model", MODEL, "--output"],
    ["prompts", "build", "--data-dir"],
    ["subspace", "--activations-dir", ACTIVATIONS, "--output"],
    ["score", "--model", MODEL, "--text", "hi", "--results"],
    ["evaluate", "--input", "good.jsonl", "--scorers", "markers", "--output"],
    ["audit", "--models", MODEL, "--results"],
)  # fmt: skip
READERS = (
    ["score", "--text", "hi", "--vectors"], ["score", "--vectors", VECTORS, "--input"],
    ["export", "--emotion", "anger", "--vectors"], ["vectors", "--output", "x.safetensors", "--activations-dir"],
    ["models", "verify"], ["prompts", "validate"], ["extract", "--model", MODEL, "--dataset"],
    ["score", "--vectors", VECTORS, "--text", "hi", "--model"], ["study"], ["evaluate", "--input"],
    ["heads", "ablate", "--model", MODEL, "--heads", "1:1", "--prompts-file"], ["prompts", "build", "--prompts-dir"],
)  # fmt: skip


def _odd_places(here: Path) -> None:
    (here / "folder").mkdir()
    (here / "loop").symlink_to("loop")
    (here / "dangling").symlink_to("nowhere")
    (here / "link.jsonl").symlink_to("kept.jsonl")


@st.composite
def paths(draw: st.DrawFn) -> Case:
    reads = draw(st.booleans())
    argv = draw(st.sampled_from(READERS if reads else WRITERS))
    path = draw(st.sampled_from(PATHS) | st.text(max_size=12))
    path = path.replace("\0", "")
    if not reads and path.startswith(("/", "..")) and not path.startswith(("/dev", "/proc")):
        path = f"x{path}"
    return Case([*argv, path], {"good.jsonl": b'{"prompt": "p", "text": "t"}\n'}, prepare=_odd_places)


# --- models' folders

MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors")
CONFIG_KEYS = (
    "architectures", "model_type", "n_embd", "n_layer", "n_head", "n_positions", "vocab_size", "activation_function",
    "layer_norm_epsilon", "bos_token_id", "eos_token_id", "tie_word_embeddings", "torch_dtype", "dtype", "n_inner",
    "attn_pdrop", "initializer_range", "scale_attn_weights", "quantization_config", "auto_map", "rope_scaling",
    "transformers_version", "pad_token_id", "add_cross_attention", "is_decoder", "use_cache", "return_dict",
    "tokenizer_class", "adapter", "sliding_window", "_attn_implementation", "torchscript",
)  # fmt: skip
ODD_SETTINGS = st.sampled_from(
    (None, True, False, 0, -1, 1, 3, 7, 33, 64, 5000, 1.5, "32", "", "gelu", "gpt2", "llama", "bert", "float16",
     "bfloat16", "nonsense", [], {}, [1],
     ["GPT2LMHeadModel"], {"quant_method": "bitsandbytes", "load_in_8bit": True}, {"quant_method": "gptq", "bits": 4},
     {"quant_method": "nope"},
     {"AutoModelForCausalLM": "modeling.Own"}, {"rope_type": "linear", "factor": 4.0})
)  # fmt: skip


def _edit_json(path: Path, edit: Callable[[Any], None]) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def _edit_tensors(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    with safe_open(path, framework="numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    edit(tensors)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata={"format": "pt"})


@st.composite
def broken_file(draw: st.DrawFn, name: str) -> Callable[[Path], None]:
    how = draw(st.sampled_from(["gone", "cut", "flip", "whole", "folder"]))
    content = draw(
        st.sampled_from(
            [
                b"",
                b"{}",
                b"[]",
                b"null",
                b"3",
                b"[" * 100_000,
                b"{",
                b"\xff\xfe\x00",
                b'{"a": NaN}',
                b"<html>",
                b"version https://git-lfs.github.com/spec/v1\n",
            ]
        )
        | st.binary(max_size=80)
    )
    at, bit = draw(st.floats(0, 1)), draw(st.integers(0, 255))

    def broken(folder: Path) -> None:
        path = folder / name
        data = bytearray(path.read_bytes())
        place = int(at * (len(data) - 1))
        if how == "gone":
            path.unlink()
        elif how == "cut":
            path.write_bytes(data[:place])
        elif how == "flip":
            data[min(place, 2000)] ^= bit or 1
            path.write_bytes(data)
        elif how == "whole":
            path.write_bytes(content)
        else:
            path.unlink()
            path.mkdir()

    return broken


@st.composite
def broken_tensors(draw: st.DrawFn) -> Callable[[Path], None]:
    how = draw(st.sampled_from(["gone", "more", "shape", "dtype", "nan", "inf", "zero", "one axis less", "empty"]))
    where, kind = (
        draw(st.integers(0, 60)),
        draw(st.sampled_from(["float16", "float64", "int8", "int64", "bool", "uint8"])),
    )

    def edit(tensors: dict[str, Any]) -> None:
        key = sorted(tensors)[where % len(tensors)]
        value = tensors[key]
        if how == "gone":
            del tensors[key]
        elif how == "more":
            tensors[f"{key}.lora_A"] = value
        elif how == "shape":
            tensors[key] = value[:-1]
        elif how == "dtype":
            tensors[key] = value.astype(kind)
        elif how in ("nan", "inf"):
            value.flat[where % value.size] = float(how)
        elif how == "zero":
            tensors[key] = np.zeros_like(value)
        elif how == "one axis less":
            tensors[key] = value.reshape(-1)
        else:
            tensors.clear()

    return lambda folder: _edit_tensors(folder / "model.safetensors", edit)


@st.composite
def broken_config(draw: st.DrawFn) -> Callable[[Path], None]:
    file = draw(st.sampled_from(["config.json", "config.json", "tokenizer_config.json", "generation_config.json"]))
    key, value = draw(st.sampled_from(CONFIG_KEYS)), draw(ODD_SETTINGS)
    gone = draw(st.integers(0, 3)) == 0
    return lambda folder: _edit_json(folder / file, lambda c: c.pop(key, None) if gone else c.__setitem__(key, value))


@st.composite
def broken_tokenizer(draw: st.DrawFn) -> Callable[[Path], None]:
    part = draw(
        st.sampled_from(
            [
                "model",
                "added_tokens",
                "normalizer",
                "pre_tokenizer",
                "post_processor",
                "decoder",
                "version",
                "truncation",
                "padding",
            ]
        )
    )
    value = draw(
        st.sampled_from(
            [
                None,
                [],
                {},
                "x",
                3,
                {"type": "nope"},
                {"type": "WordPiece", "vocab": {}, "unk_token": "x"},
                {"type": "Lowercase"},
            ]
        )
    )
    how = draw(st.sampled_from(["set", "far id", "no vocabulary", "no merges", "gone"]))

    def edit(whole: Any) -> None:
        if how == "set":
            whole[part] = value
        elif how == "far id":
            whole["added_tokens"].append(
                dict(
                    id=10**6,
                    content="<far>",
                    single_word=False,
                    lstrip=False,
                    rstrip=False,
                    normalized=False,
                    special=False,
                )
            )
        elif how == "no vocabulary":
            whole["model"]["vocab"] = {}
        elif how == "no merges":
            whole["model"]["merges"] = []
        else:
            del whole[part]

    return lambda folder: _edit_json(folder / "tokenizer.json", edit)


@st.composite
def broken_index(draw: st.DrawFn) -> Callable[[Path], None]:
    shard = draw(
        st.sampled_from(
            ["model-00001-of-00002.safetensors", "../kept.safetensors", "/etc/passwd", "", 3, None, "model.safetensors"]
        )
    )
    index = draw(
        st.sampled_from(
            [
                {"weight_map": {"wte.weight": shard}},
                {"weight_map": []},
                {},
                [],
                {"weight_map": {"x": shard}, "metadata": 3},
            ]
        )
    )
    keep = draw(st.booleans())
    adapter = draw(st.sampled_from([None, {}, {"peft_type": "LORA", "r": 8}, []]))

    def broken(folder: Path) -> None:
        if adapter is not None:
            (folder / "adapter_config.json").write_text(json.dumps(adapter))
            return
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        if not keep:
            (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    return broken


MODEL_COMMANDS = (
    ["models", "verify", "./broken"], ["models", "verify", "./broken", "--json"],
    ["score", "--model", "./broken", "--vectors", VECTORS, "--text", "hi there"],
    ["extract", "--model", "./broken", "--output", "acts"],
    ["generate", "--model", "./broken?init=random", "--vectors", VECTORS, "--emotion", "anger", "--prompt", "hi"],
    ["evaluate", "--model", "./broken", "--scorers", "markers", "--input", "good.jsonl"],
    ["evaluate", "--scorers", "hf:./broken", "--input", "good.jsonl"],
)  # fmt: skip


@st.composite
def models(draw: st.DrawFn) -> Case:
    argv = draw(st.sampled_from(MODEL_COMMANDS))
    one_thing = draw(
        st.sampled_from(MODEL_FILES).flatmap(broken_file)
        | broken_tensors()
        | broken_config()
        | broken_tokenizer()
        | broken_index()
    )
    return Case(
        list(argv), {"good.jsonl": b'{"prompt": "p", "text": "t"}\n'}, prepare=lambda here: one_thing(here / "broken")
    )


# --- the program's own files, and full disks

ARTEFACTS = (
    (VECTORS, ["score", "--text", "hi", "--vectors", "artefact"]),
    (VECTORS, ["export", "--emotion", "anger", "--vectors", "artefact"]),
    (VECTORS, ["generate", "--emotion", "anger", "--prompt", "hi", "--max-tokens", "1", "--vectors", "artefact"]),
    (ACTIVATIONS, ["vectors", "--output", "x.safetensors", "--activations-dir", "artefact"]),
    (ACTIVATIONS, ["subspace", "--output", "x.safetensors", "--activations-dir", "artefact"]),
    (VECTORS, ["models", "verify", "./artefact.gguf"]),
)  # fmt: skip
HEADER_KEYS = (
    "schema",
    "source",
    "position",
    "data",
    "match_rate",
    "chosen_layer",
    "generic",
    "n_texts",
    "kinds",
    "cleaned",
    "share",
    "json",
)


@st.composite
def artefacts(draw: st.DrawFn, workshop: Workshop) -> Case:
    which, argv = draw(st.sampled_from(ARTEFACTS))
    source = Path(workshop.fill([which])[0])
    damage = draw(st.sampled_from(["cut", "flip", "whole", "gone", "header", "tensor"]))
    file = (
        draw(st.sampled_from(sorted(p.name for p in source.rglob("*.safetensors")))) if source.is_dir() else "artefact"
    )
    broken = draw(broken_file(file))
    key = draw(st.sampled_from(HEADER_KEYS))
    value = draw(st.sampled_from(["", "{}", "[]", "null", "x", "3", '{"anger": 99}', '{"anger": "x"}', "NaN"]))
    where = draw(st.integers(0, 50))
    spoil = draw(
        st.sampled_from(
            [
                np.zeros(0, np.float32),
                np.zeros((2, 2), np.float32),
                np.full((4, 32), np.nan, np.float32),
                np.zeros((4, 32), np.int64),
            ]
        )
    )

    def prepare(here: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, here / "artefact")
            folder, path = here / "artefact", next((here / "artefact").rglob(file))
        else:
            folder, path = here, here / ("artefact.gguf" if argv[-1].endswith("gguf") else "artefact")
            shutil.copy(source, path)
        if damage not in ("header", "tensor"):
            if path.name == file and path.parent == folder:
                broken(folder)
            return
        with safe_open(path, framework="numpy") as whole:
            header, tensors = dict(whole.metadata() or {}), {k: whole.get_tensor(k) for k in whole.keys()}  # noqa: SIM118
        if damage == "header":
            header.pop(key, None) if value == "" else header.__setitem__(key, value)
        else:
            tensors[sorted(tensors)[where % len(tensors)]] = spoil
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata=header)

    return Case(list(argv), prepare=prepare)


@st.composite
def full_disks(draw: st.DrawFn) -> Case:
    argv = list(draw(st.sampled_from(WRITERS[:7])))
    suffix = {"export": "x.gguf", "vectors": "kept.safetensors", "subspace": "kept.safetensors"}.get(
        argv[0], "kept.jsonl"
    )
    target = "out" if argv[0] in ("extract", "prompts") else suffix
    return Case([*argv, target], room=draw(st.sampled_from([0, 1, 100, 5000, 100_000])))


KINDS: dict[str, Callable[[Workshop], st.SearchStrategy[Case]]] = {
    "texts": lambda _: text_files(),
    "flags": lambda _: flags(),
    "studies": lambda _: studies(),
    "paths": lambda _: paths(),
    "models": lambda _: models(),
    "artefacts": lambda workshop: artefacts(workshop),
    "full disks": lambda _: full_disks(),
}
SHARES = {
    "texts": 0.3,
    "flags": 0.2,
    "studies": 0.1,
    "paths": 0.13,
    "models": 0.15,
    "artefacts": 0.08,
    "full disks": 0.04,
}
