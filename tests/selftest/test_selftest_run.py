"""The report: all checks of all families, in order, and what becomes of a method that cannot go on."""

from __future__ import annotations

import math

import pytest
import torch

from emotion_circuits.errors import MeasurementError
from emotion_circuits.selftest import BUILDERS, SelftestCheck, SelftestReport, _run, check, n_steps, run_selftest


def holds(bench):
    yield check("holds", 1, 0, 2)


def breaks_off(bench):
    yield check("first", 0, 0, 0)
    raise MeasurementError("There is nothing to measure.", found="nothing")


def is_wrong(bench):
    raise KeyError("a mistake in the code")
    yield


@pytest.fixture
def short(monkeypatch):
    """Two checks of every family, one of noise, and models that are never built."""
    monkeypatch.setattr(_run, "CHECKS", (holds, breaks_off))
    monkeypatch.setattr(_run, "NOISE_CHECKS", (lambda bench: iter([check("rate", 0.04, 0, 0.09)]),))
    monkeypatch.setattr(_run, "bench", lambda family, **options: (family, options))


def test_names_begin_with_the_family_and_a_broken_method_is_a_failed_check(short):
    seen, steps = [], []
    report = run_selftest(on_check=seen.append, on_step=steps.append)
    assert report.checks == tuple(seen)
    assert not report.ok
    of_gpt2 = [c.name for c in report.checks if c.name.startswith("gpt2")]
    assert of_gpt2 == ["gpt2: holds", "gpt2: first", "gpt2: breaks_off: There is nothing to measure."]
    broken = report.checks[2]
    assert math.isnan(broken.value) and not broken.ok
    assert [c.name for c in report.checks].count("rate") == 1
    assert len(report.checks) == 3 * len(BUILDERS) + 1
    assert steps == list(range(1, n_steps() + 1))


def test_a_mistake_in_the_code_is_no_failed_check(short, monkeypatch):
    monkeypatch.setattr(_run, "CHECKS", (is_wrong,))
    threads = torch.get_num_threads()
    with pytest.raises(KeyError):
        run_selftest()
    assert torch.get_num_threads() == threads


def test_seed_and_size_reach_the_bench(short, monkeypatch):
    given = []
    monkeypatch.setattr(_run, "CHECKS", (lambda bench: given.append(bench) or iter(()),))
    run_selftest(full=True, seed=7)
    assert given == [(family, {"seed": 7, "full": True}) for family in BUILDERS]


def test_a_report_is_ok_if_all_its_checks_are():
    good, bad = SelftestCheck("a", 1, 0, 2, True), SelftestCheck("b", 3, 0, 2, False)
    assert SelftestReport((good, good)).ok
    assert not SelftestReport((good, bad)).ok
