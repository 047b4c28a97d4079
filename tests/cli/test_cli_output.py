from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import pytest
from fresh_process import environment
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits._files import write_json
from emotion_circuits._plain import to_plain
from emotion_circuits.cli import _progress
from emotion_circuits.cli._errors import explain
from emotion_circuits.cli._output import Table, emit, format_cell, p_cell, say
from emotion_circuits.cli._paths import input_path, output_path
from emotion_circuits.errors import EmotionCircuitsError, InputError


@dataclass(frozen=True)
class Row:
    name: str
    value: float
    inside: tuple[int, ...] = ()


class Pair(NamedTuple):
    a: int
    b: Path


class Colour(Enum):
    RED = "red"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_values_come_back_as_they_were(value):
    assert json.loads(json.dumps(to_plain(value), allow_nan=False)) == value


def test_everything_a_result_may_hold_becomes_json():
    import numpy as np
    import pandas as pd
    import pydantic

    class Model(pydantic.BaseModel):
        path: Path
        rows: list[int]

    frame = pd.DataFrame({"layer": [1, 2], "score": [0.5, math.nan]})
    value = {
        "rows": [Row("a", math.inf, (1, 2))],
        "pair": Pair(1, Path("x/y")),
        "colour": Colour.RED,
        "set": {3, 1},
        "array": np.eye(2, dtype=np.float32),
        "scalar": np.float32(0.5),
        "whole": np.int64(3),
        "truth": np.bool_(True),
        "frame": frame,
        "model": Model(path=Path("p"), rows=[1]),
        7: -0.0,
    }
    assert json.loads(json.dumps(to_plain(value), allow_nan=False)) == {
        "rows": [{"name": "a", "value": None, "inside": [1, 2]}],
        "pair": {"a": 1, "b": "x/y"},
        "colour": "red",
        "set": [1, 3],
        "array": [[1.0, 0.0], [0.0, 1.0]],
        "scalar": 0.5,
        "whole": 3,
        "truth": True,
        "frame": [{"layer": 1, "score": 0.5}, {"layer": 2, "score": None}],
        "model": {"path": "p", "rows": [1]},
        "7": 0.0,
    }
    with pytest.raises(TypeError, match="object"):
        to_plain(object())


@given(st.floats(-1e300, 1e300))
def test_four_significant_digits_survive_in_a_cell(value):
    assert float(format_cell(value)) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (True, "yes"),
        (0.123456, "0.1235"),
        (1e-5, "1e-05"),
        (123456.7, "123457"),
        (3, "3"),
        ((1, 2.0), "1, 2"),
    ],
)
def test_cells(value, shown):
    assert format_cell(value) == shown


def test_a_piped_table_holds_one_line_per_row_with_nothing_cut(capsys):
    words = " ".join(["word"] * 60)
    emit(None, False, table=Table(("layer", "value", "text"), [(3, 0.123456, words), (11, -1e-5, "short [bold]x[/]")]))
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 4
    assert words in out and "0.1235" in out and "-1e-05" in out and "[bold]x[/]" in out
    assert "…" not in out


class Terminal:
    """A stdout that says it is a terminal."""

    encoding = "utf-8"

    def __init__(self, stream):
        self._stream = stream

    def isatty(self):
        return True

    def __getattr__(self, name):
        return getattr(self._stream, name)


@pytest.mark.parametrize("prose", [("a few words",), ()])
@pytest.mark.parametrize("columns", [20, 60, 200])
def test_a_terminal_of_any_width_shows_every_digit(capsys, monkeypatch, columns, prose):
    numbers = [
        (layer, layer / 7, -layer / 9e4, layer * 1e5 + 1, f"0.{layer} … 0.9{layer}", *prose) for layer in range(1, 6)
    ]
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal(sys.stdout))
    emit(None, False, table=Table(("layer", "one", "two", "three", "interval", "text")[: 5 + len(prose)], numbers))
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    for row in numbers:
        expected = re.compile(r"\s*" + r"\s+".join(re.escape(format_cell(cell)) for cell in row[:5]))
        assert any(expected.match(line) for line in lines)


def test_what_is_shown_when_no_table_is_given(capsys):
    import pandas as pd

    emit([Row("a", 0.5), Row("b", 1.5)], False)
    listed = capsys.readouterr().out
    assert listed.splitlines()[0].split() == ["name", "value", "inside"]
    emit(Row("a", 0.25), False)
    assert capsys.readouterr().out.splitlines()[1].split() == ["value", "0.25"]
    emit(pd.DataFrame({"layer": [1], "p": [0.03]}), False)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["1", "0.03"]

    class WithTable:
        def table(self):
            return Table(("x",), [(1,)], title="own", notes=("end",))

    emit(WithTable(), False)
    assert capsys.readouterr().out.splitlines()[0] == "own"

    class WithRows:
        def table(self):
            return (("name", "p"), ("a", "0.03"))

    emit(WithRows(), False)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["a", "0.03"]


def test_json_is_all_that_stands_on_stdout(run):
    outcome = run("models", "list", "--json")
    assert outcome.status == 0
    rows = json.loads(outcome.out)
    assert {"name", "family", "layers", "available"} <= set(rows[0])


@pytest.mark.parametrize("argv", [("--help",), ("attempt",), ("attempt", "--json", "--model", "日本語 ×")])
def test_signs_that_the_encoding_lacks_do_not_crash(run, monkeypatch, argv):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    outcome = run(*argv)
    assert (outcome.status, outcome.err) == (0, "")
    text = stdout.buffer.getvalue().decode("ascii")
    assert text
    if "--json" in argv:
        assert json.loads(text)["model"] == argv[-1]


@pytest.mark.parametrize(
    ("given", "suffix", "written"),
    [
        ("a/x.pkl", ".parquet", "a/x.parquet"),
        ("a/x.PT", ".safetensors", "a/x.safetensors"),
        ("a/x.json", ".json", "a/x.json"),
        ("a/x.csv", ".parquet", "a/x.csv"),
        ("a/x.PARQUET", ".parquet", "a/x.PARQUET"),
        ("a/x", ".parquet", "a/x.parquet"),
    ],
)
def test_output_names(given, suffix, written, capsys):
    assert output_path(Path(given), suffix, ".csv") == Path(written)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (f"becomes {Path(written).name}\n" in captured.err) == (given != written)


@pytest.mark.parametrize("name", ["x.xlsx", "x.57Ux4", "x.lkqt", "gpt2_v0.5"])
def test_what_is_not_written_as_it_is_named_is_an_error(name):
    with pytest.raises(InputError, match=r"accepted: \.parquet, \.csv") as caught:
        output_path(Path(name), ".parquet", ".csv")
    assert f"name it {name}.parquet" in str(caught.value)


def test_what_a_terminal_would_obey_is_shown_as_glyphs(capsys):
    text = "a\x1b[31mb\x07\x9b2J\u2028c\u202ed\x7f\ne\r"
    shown = r"a␛[31mb␇\u009b2J\u2028c\u202ed␡␊e␍"
    emit([], json=False, table=Table(("text",), [[text]], title=text, notes=[text]))
    assert capsys.readouterr().out.count(shown) == 3
    say(text)
    assert capsys.readouterr().err == shown + "\n"
    assert explain(InputError("No.", found="a\x1b[31mb")).text == "No.\n  found: a␛[31mb"
    emit([text], json=True)
    out = capsys.readouterr().out
    assert json.loads(out) == [text]
    assert out.isprintable() or set(filter(lambda sign: not sign.isprintable(), out)) == {"\n"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    "argv", [("models", "list", "--json"), ("models", "list"), ("--help",), ("prompts", "show", "--json")]
)
def test_a_full_disk_is_one_line_and_a_failure(argv):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "emotion_circuits", *argv],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
    assert (done.returncode, done.stderr) == (1, "Cannot write the result: No space left on device.\n")


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path):
    resource = pytest.importorskip("resource")
    (tmp_path / "x.json").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(EmotionCircuitsError, match="Cannot write") as caught:
            write_json(tmp_path / "x.json", ["text"] * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.exit_status == 1
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.json", "old")]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "x.json").symlink_to("elsewhere/y.json")
    write_json(tmp_path / "x.json", [1])
    assert (tmp_path / "x.json").is_symlink() and json.loads((tmp_path / "elsewhere" / "y.json").read_text()) == [1]


def test_an_input_named_as_a_pickle_is_what_was_written_in_its_place(tmp_path, capsys):
    (tmp_path / "v.safetensors").touch()
    assert input_path(tmp_path / "v.pkl", ".parquet", ".safetensors") == tmp_path / "v.safetensors"
    assert "note: " in capsys.readouterr().err
    (tmp_path / "w.pkl").touch()
    with pytest.raises(InputError, match="Pickles are not read"):
        input_path(tmp_path / "w.pkl", ".safetensors")
    with pytest.raises(InputError, match="no such file"):
        input_path(tmp_path / "missing.parquet", ".parquet")


def test_progress_in_a_log_is_a_line_now_and_then_on_stderr(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 31.0, 40.0, 62.0])
    monkeypatch.setattr(_progress.time, "monotonic", lambda: next(clock))
    with _progress.progress("Recording", 100) as done:
        for count in (10, 50, 60, 75):
            done(count)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Recording: 50 of 100, 31 s left\nRecording: 75 of 100, 21 s left\n"


def test_short_steps_show_no_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal(sys.stderr))
    with _progress.progress("Recording", 2) as done:
        done(1)
        done(2)
    assert capsys.readouterr().err == ""


def test_a_long_step_shows_a_bar_and_takes_it_away(capsys, monkeypatch):
    monkeypatch.setattr(_progress, "SILENT_SECONDS", -1.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal(sys.stderr))
    with _progress.progress("Recording", 2) as done:
        done(1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Recording" in captured.err and "1/2" in captured.err


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0002, "<0.001"), (0.0, "<0.001"), (0.0006, "0.001"), (0.5, "0.500"), (None, "–"), (float("nan"), "–")],
)
def test_a_probability_is_never_shown_as_0(p, shown):
    assert p_cell(p) == shown
