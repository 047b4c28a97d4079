"""The contract of `selftest --json` and its exit status."""

from __future__ import annotations

import json

import pytest

from emotion_circuits import selftest
from emotion_circuits.cli import main
from emotion_circuits.selftest import SelftestReport, check


@pytest.fixture
def outcome(monkeypatch, capsys):
    def run(*values: float, argv: tuple[str, ...] = ()):
        given = {}

        def instead(**options):
            given.update(options)
            for k in range(selftest.n_steps()):
                options["on_step"](k + 1)
            return SelftestReport(tuple(check(f"check {v:g}", v, 0.0, 1.0) for v in values))

        monkeypatch.setattr(selftest, "run_selftest", instead)
        status = main(["selftest", *argv])
        return status, capsys.readouterr(), given

    return run


@pytest.mark.parametrize(("values", "status"), [((0.5, 1.0), 0), ((0.5, 1.5), 1)])
def test_json_is_the_contract(outcome, values, status):
    got, printed, _ = outcome(*values, argv=("--json",))
    assert got == status
    assert json.loads(printed.out) == {
        "checks": [{"name": f"check {v:g}", "value": v, "low": 0.0, "high": 1.0, "ok": v <= 1} for v in values]
    }


def test_a_value_that_is_no_number_is_null(outcome):
    got, printed, _ = outcome(float("nan"), argv=("--json",))
    [found] = json.loads(printed.out)["checks"]
    assert (got, found["value"], found["ok"]) == (1, None, False)


def test_the_table_ends_with_a_summary(outcome):
    got, printed, _ = outcome(0.5, 2.0)
    assert got == 1
    assert printed.out.splitlines()[-1].strip() == "1 of 2 checks failed."
    assert "FAILED" in printed.out
    got, printed, _ = outcome(0.5)
    assert (got, printed.out.splitlines()[-1].strip()) == (0, "All 1 checks pass.")


def test_flags_reach_the_selftest(outcome):
    _, _, given = outcome(0.5, argv=("--full", "--seed", "3"))
    assert given["full"] is True and given["seed"] == 3
    _, _, given = outcome(0.5)
    assert given["full"] is False and given["seed"] == 0
