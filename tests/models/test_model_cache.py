"""The cache folder: where it is, and that what is published there is whole whatever happens to its maker."""

from __future__ import annotations

import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from emotion_circuits.errors import InputError
from emotion_circuits.models import cache_folder
from emotion_circuits.models._cache import publish

WRITER = """
import sys
from pathlib import Path
from emotion_circuits.models._cache import publish
with publish(Path(sys.argv[1])) as fresh:
    (fresh / "weights").write_text(sys.argv[2])
    print("written", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number without an entry in the list of users."""

    def no_entry(_uid: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)


def writer(folder: Path, text: str) -> subprocess.Popen[str]:
    """Another process that is in the middle of publishing."""
    command = [sys.executable, "-c", WRITER, str(folder), text]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "written\n"
    return process


def test_the_cache_folder_is_what_the_variable_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, homeless: None
) -> None:
    for unset in (None, "", "  "):
        if unset is None:
            monkeypatch.delenv("EMOTION_CIRCUITS_CACHE", raising=False)
        else:
            monkeypatch.setenv("EMOTION_CIRCUITS_CACHE", unset)
        with pytest.raises(InputError, match="set EMOTION_CIRCUITS_CACHE"):
            cache_folder()
        with monkeypatch.context() as patch:
            patch.setenv("HOME", str(tmp_path))
            assert cache_folder() == tmp_path / ".cache" / "emotion-circuits"
    monkeypatch.setenv("EMOTION_CIRCUITS_CACHE", str(tmp_path / "cc"))
    assert cache_folder() == tmp_path / "cc"  # no home is needed
    monkeypatch.setenv("EMOTION_CIRCUITS_CACHE", "~/cc")
    with pytest.raises(InputError, match="no home folder"):
        cache_folder()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cc"


def test_a_killed_process_leaves_nothing_that_stays(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    killed, living = writer(folder, "killed"), writer(folder, "living")
    killed.kill()
    killed.wait()
    assert len(list(tmp_path.iterdir())) == 2  # both wrote beside the folder, and neither into it
    with publish(folder) as fresh:
        (fresh / "weights").write_text("ours")
        assert len(list(tmp_path.iterdir())) == 2  # the dead one's is gone, the living one's is not
    assert (folder / "weights").read_text() == "ours"
    living.communicate("\n")
    assert living.returncode == 0
    assert (folder / "weights").read_text() == "living"
    assert list(tmp_path.iterdir()) == [folder]
