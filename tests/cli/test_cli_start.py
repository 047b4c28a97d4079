"""Starting is cheap, and help says what there is."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fresh_process import SOURCE, environment

import emotion_circuits
from emotion_circuits.cli._analyses import BUILT_IN
from emotion_circuits.cli._app import COMMANDS, build_app
from emotion_circuits.cli._errors import PROGRAM, command_paths

HEAVY = ("torch", "transformers", "pandas", "numpy", "sklearn", "scipy", "matplotlib", "pyarrow", "pydantic", "mlflow",
         "sqlalchemy")  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """The top-level modules in a fresh interpreter after some code."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    print(f"{code.splitlines()[0]}: {time.perf_counter() - start:.2f} s, interpreter included")
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "code",
    [
        "import emotion_circuits; emotion_circuits.__version__; dir(emotion_circuits)",
        *(
            f"from emotion_circuits.cli import main; main({argv})"
            for argv in (["--help"], [], ["--version"], ["xyzzy"], ["prompts", "--help"], ["models", "get", "--help"])
        ),
    ],
)
def test_no_heavy_module_is_loaded(code):
    assert not loaded_by(code) & set(HEAVY)


def test_the_probe_would_see_a_heavy_module():
    assert "numpy" in loaded_by("import numpy")


def test_the_package_itself_loads_nothing_of_the_command_line():
    assert not loaded_by("import emotion_circuits") & {"cyclopts", "rich"}


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_without_a_command_help_is_printed(run, argv):
    outcome = run(*argv)
    assert (outcome.status, outcome.err) == (0, "")
    app = build_app()
    for name in (*COMMANDS, *BUILT_IN):
        assert re.search(rf"\b{name} +{re.escape(app[name].help.split('.')[0])}", " ".join(outcome.out.split()))
    assert "--help" in outcome.out and "--version" in outcome.out


def test_version(run):
    assert run("--version").out == f"{PROGRAM} {emotion_circuits.__version__}\n"


def everything():
    return [path for path in command_paths(build_app())]


@pytest.mark.parametrize("path", everything(), ids=" ".join)
def test_every_command_explains_itself(run, path):
    outcome = run(*path, "--help")
    assert (outcome.status, outcome.err) == (0, "")
    app = build_app()
    for name in path:
        app = app[name]
    assert app.help.strip().splitlines()[0].endswith("."), "a one-line summary"
    assert max(map(len, outcome.out.splitlines())) <= 100
    if app.default_command is None:
        return
    for argument in app.assemble_argument_collection(parse_docstring=True):
        assert argument.parameter.help or not argument.show, f"{argument.name} is not explained"
    assert "Example:\n" in outcome.out


@pytest.mark.parametrize("path", everything(), ids=" ".join)
def test_every_example_parses(path):
    app = build_app()
    target = app
    for name in path:
        target = target[name]
    if target.default_command is None:
        return
    examples = [line.strip() for line in target.help_epilogue.splitlines() if line.strip().startswith(PROGRAM)]
    assert examples
    for example in examples:
        function, _, _ = app.parse_args(shlex.split(example)[1:])
        assert function is target.default_command


def test_the_module_runs_as_a_program():
    command = [sys.executable, "-m", "emotion_circuits", "models", "vrify"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert "models verify" in done.stderr


def test_the_tables_of_the_package_agree():
    """What the type checker sees, what loads lazily and what `__all__` lists are the same names and objects."""
    [block] = [
        node
        for node in ast.parse(Path(emotion_circuits.__file__).read_text()).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    seen = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    rooms = {name: f"emotion_circuits:{name}" for name in emotion_circuits._ROOMS}
    assert seen == {**rooms, **emotion_circuits._VERBS}
    assert set(emotion_circuits.__all__) == {*seen, "__version__"}
    assert not set(emotion_circuits._VERBS) & {path.name for path in (SOURCE / "emotion_circuits").iterdir()}


def test_every_name_loads():
    for name in emotion_circuits.__all__:
        assert getattr(emotion_circuits, name) is not None
        assert name in dir(emotion_circuits)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = emotion_circuits.nothing


def test_a_callable_room_stays_a_module(monkeypatch):
    from types import ModuleType

    from emotion_circuits._rooms import callable_room

    room = ModuleType("a_room")
    room.estimate = lambda value, *, scale=1: value * scale
    monkeypatch.setitem(sys.modules, "a_room", room)
    callable_room("a_room", "estimate")
    assert room(3, scale=2) == 6
    assert room.estimate(3) == 3
    import a_room

    assert a_room is room
