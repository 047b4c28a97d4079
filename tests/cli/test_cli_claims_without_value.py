"""What an analysis of its own prints of claims that could not be tested."""

from __future__ import annotations

from emotion_circuits.cli._analyses import _without_value
from emotion_circuits.statistics import untested


def test_a_dash_has_its_reason_once():
    few = [untested("rq1.external", "m", e, "AUROC", "The file has 5 texts of it") for e in ("anger", "apology")]
    other = untested("rq2.shared", "m → n", None, "S*", "No pairs")
    assert _without_value([*few, other]) == [
        "rq1.external anger, rq1.external apology: The file has 5 texts of it.", "rq2.shared: No pairs.",
    ]  # fmt: skip
