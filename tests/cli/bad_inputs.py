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

from broken_models import model_folders, own_files
from hypothesis import strategies as st
from odd_values import (
    ACTIVATIONS,
    ARTEFACTS,
    ENCODINGS,
    KEYS,
    LIGHT,
    MODEL,
    MODEL_COMMANDS,
    ODD_LINES,
    ODD_TEXTS,
    ODD_YAML,
    PATHS,
    READERS,
    SUFFIXES,
    TEXT_COMMANDS,
    VALUES,
    VECTORS,
    WORK,
    WRITERS,
)

from emotion_circuits.cli import main

GOOD = {"good.jsonl": b'{"prompt": "p", "text": "t"}\n'}

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
    broken: str = ""
    """What `prepare` breaks."""

    def __repr__(self) -> str:
        shown = {name: content[:300] for name, content in self.files.items()}
        return f"Case({self.argv!r}, {shown!r}, {self.stdin[:300]!r}, room={self.room}) {self.broken}"


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


@st.composite
def text_files(draw: st.DrawFn) -> Case:
    argv = draw(st.sampled_from(TEXT_COMMANDS))
    name = draw(st.sampled_from(["own", "anger_prompts", "-"])) + draw(st.sampled_from(SUFFIXES))
    content = draw(contents())
    argv = [name if token == "FILE" else token for token in argv]
    return Case(argv, {} if name == "-" else {name: content}, stdin=content)


# --- flags


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


def _odd_places(here: Path) -> None:
    (here / "folder").mkdir()
    (here / "loop").symlink_to("loop")
    (here / "loop.jsonl").symlink_to("loop.jsonl")
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
    return Case([*argv, path], dict(GOOD), prepare=_odd_places)


# --- broken models and files of the program's own, full disks


@st.composite
def broken_models(draw: st.DrawFn) -> Case:
    damage = draw(model_folders())
    argv = list(draw(st.sampled_from(MODEL_COMMANDS)))
    return Case(argv, dict(GOOD), prepare=lambda here: damage.do(here / "broken"), broken=damage.what)


@st.composite
def artefacts(draw: st.DrawFn, workshop: Workshop) -> Case:
    which, argv = draw(st.sampled_from(ARTEFACTS))
    damage = draw(own_files(Path(workshop.fill([which])[0]), argv[-1]))
    return Case(list(argv), prepare=damage.do, broken=damage.what)


@st.composite
def full_disks(draw: st.DrawFn) -> Case:
    argv = list(draw(st.sampled_from(WRITERS[:7])))
    suffix = {"export": "x.gguf", "vectors": "kept.safetensors", "subspace": "kept.safetensors"}.get(
        argv[0], "kept.jsonl"
    )
    target = "out" if argv[0] in ("extract", "prompts") else suffix
    return Case([*argv, target], room=draw(st.integers(0, 200) | st.integers(0, 200_000)))


KINDS: dict[str, Callable[[Workshop], st.SearchStrategy[Case]]] = {
    "texts": lambda _: text_files(),
    "flags": lambda _: flags(),
    "studies": lambda _: studies(),
    "paths": lambda _: paths(),
    "models": lambda _: broken_models(),
    "artefacts": artefacts,
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
