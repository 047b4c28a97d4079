from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from emotion_circuits.cli import main
from emotion_circuits.cli._app import COMMANDS


class Outcome(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        return self.err.splitlines()


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in this process; `attempt` and `fail` are there beside the real commands."""
    for name in ("attempt", "fail"):
        monkeypatch.setitem(COMMANDS, name, f"dummy_commands:{name}")

    def run_it(*argv: Any) -> Outcome:
        status = main([str(token) for token in argv])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run_it
