"""One run at a time in a results folder, and files that survive whatever happens to a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emotion_circuits._files import write_text
from emotion_circuits._lock import owned
from emotion_circuits.cli import main
from emotion_circuits.errors import InputError, WriteError
from emotion_circuits.study import Store, Study, run_study

HOLD = """
import sys
from pathlib import Path
from emotion_circuits._lock import owned
with owned(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns the folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_run_is_refused_by_name_and_a_killed_owner_holds_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "baseline"
    with another_run(folder) as other:
        with pytest.raises(InputError, match=f"process {other.pid} on ") as error:
            run_study(Study(models=("reference/gpt2",), results=tmp_path))
        assert len(str(error.value).splitlines()) <= 4 and str(folder) in str(error.value)
        for command in (["study"], ["extract", "--model", "reference/gpt2"], ["circuit", "--model", "reference/gpt2"],
                        ["heads", "screen", "--model", "reference/gpt2"], ["audit"]):  # fmt: skip
            assert main([*command, "--results", str(tmp_path)]) == 2
            assert f"process {other.pid}" in capsys.readouterr().err
        # What goes elsewhere needs nobody's leave; it fails for want of its input.
        assert main(["vectors", "--results", str(tmp_path), "--model", "x/y", "--output", str(tmp_path / "v")]) == 2
        assert "no file" in (said := capsys.readouterr().err) or "activations" in said
        half = folder / "patching" / f".table.parquet.{other.pid}.part"
        write_text(half, "half")
        other.kill()
        other.wait()
        with owned(folder):
            assert not half.exists(), "what a killed run left half-written is swept"
            assert json.loads((folder / ".owner.json").read_text())["pid"] == os.getpid()
    assert {path.name for path in folder.iterdir()} == {".lock", "patching"}


def test_a_folder_made_for_nothing_is_removed_again(tmp_path: Path) -> None:
    with pytest.raises(KeyError), owned(tmp_path / "results" / "baseline"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_two_stores_in_one_folder_keep_each_other_s_stages(tmp_path: Path) -> None:
    one, two = Store(tmp_path), Store(tmp_path)
    for name in "ab":
        (tmp_path / name).write_text(name)
    one.finish("stage a", "k", [tmp_path / "a"], 1, {})
    two.finish("stage b", "k", [tmp_path / "b"], 1, {})
    assert Store(tmp_path).finished("stage a", "k") and Store(tmp_path).finished("stage b", "k")


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "elsewhere" / "file.txt")
    for text in ("new", "again"):
        write_text(link, text)
        assert link.is_symlink() and (tmp_path / "elsewhere" / "file.txt").read_text() == text
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["file.txt"]


def test_a_full_disk_is_a_failure_and_no_file_but_a_device_is_replaced(tmp_path: Path) -> None:
    full = tmp_path / "full.txt"
    full.symlink_to("/dev/full")
    with pytest.raises(WriteError, match="No space left") as error:
        write_text(full, "text")
    assert error.value.exit_status == 1
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_ends_a_command_as_ctrl_c_does(tmp_path: Path, number: signal.Signals) -> None:
    """The lock is released and nothing half-written stays."""
    code = f"""
import os, sys
from pathlib import Path
from emotion_circuits._files import whole_file
from emotion_circuits._lock import owned
from emotion_circuits.cli import main
from emotion_circuits.cli._app import COMMANDS
from emotion_circuits.cli._options import command
from emotion_circuits.cli._progress import keeping

@command(example="attempt")
def attempt() -> None:
    "Write half a file."
    with keeping("Kept."), owned(Path({str(tmp_path / "results")!r})), whole_file(Path("table")) as part:
        part.write_text("half")
        os.kill(os.getpid(), {int(number)})
        part.write_text("more")

COMMANDS["attempt"] = "__main__:attempt"
sys.exit(main(["attempt"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 128 + number, done.stderr
    assert done.stderr == ("Terminated. Kept.\n" if number == signal.SIGTERM else "Interrupted. Kept.\n")
    assert list(tmp_path.iterdir()) == []
