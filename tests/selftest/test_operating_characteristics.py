"""Rates of verdicts: of every declared claim, whatever the rule; and the checks on them see a rule that is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from emotion_circuits.selftest import DECLARED, Bench, operating_characteristics
from emotion_circuits.selftest import _checks_operating as checks
from emotion_circuits.selftest import _operating as simulated
from emotion_circuits.statistics import judge, simulated_rates

FAST = ("rq3.steering", "rq4.circuit", "rq5.transfer")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Of claims that are simulated in milliseconds."""
    monkeypatch.setattr(checks, "DECLARED", {id: DECLARED[id] for id in FAST})
    return Bench(None, None)  # type: ignore[arg-type]  # no model takes part


def test_the_declared_claims_are_those_of_studies_and_each_can_be_simulated() -> None:
    assert set(DECLARED) == {
        *("rq1.separability", "rq1.stability", "rq2.shared", "rq3.steering", "rq4.circuit"),
        *("rq5.alignment", "rq5.transfer"),
    }
    for id, declared in DECLARED.items():
        gains = [declared.simulate(np.random.default_rng(seed), 2 * declared.effect).gain for seed in range(3)]
        assert np.mean(gains) == pytest.approx(2 * declared.effect, rel=0.4), id


def test_rates_are_shares_of_studies_and_a_seed_gives_them_again() -> None:
    rates = operating_characteristics("rq3.steering", 0.83, n_studies=20)
    assert sum(rate.rate for rate in rates) == pytest.approx(1)
    assert all(rate.low <= rate.rate <= rate.high and rate.n_studies == 20 for rate in rates)
    assert rates == operating_characteristics("rq3.steering", 0.83, n_studies=20)
    assert rates != operating_characteristics("rq3.steering", 0.83, n_studies=20, seed=1)


def test_the_rates_that_reports_print_are_those_of_the_rule() -> None:
    """Of claims that are simulated in milliseconds: within what chance allows of the file's."""
    known = {(rate.id, rate.multiple): rate for rate in simulated_rates()}
    assert {id for id, _ in known} == set(DECLARED) and len(known) == 4 * len(DECLARED)
    for id, declared in DECLARED.items():
        assert known[id, 1.0].effect == declared.effect and known[id, 1.0].rate >= declared.power
        assert known[id, 0.0].low <= 0.05 and known[id, 0.0].n_studies >= 400
    for id in FAST:
        for multiple in (0.0, 1.0):
            [again] = [r for r in operating_characteristics(id, multiple, n_studies=60) if r.verdict == "supported"]
            assert again.low <= known[id, multiple].high and known[id, multiple].low <= again.high, (id, multiple)


def test_the_rule_passes(bench: Bench) -> None:
    assert [one.name for one in checks.operating(bench) if not one.ok] == []


def test_a_rule_that_supports_everything_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def lax(claims):  # type: ignore[no-untyped-def]
        return [claim.model_copy(update={"verdict": "supported"}) for claim in judge(claims)]

    monkeypatch.setattr(simulated, "judge", lax)
    assert sum("where nothing is" in one.name for one in checks.operating(bench) if not one.ok) == len(FAST)


def test_a_rule_that_supports_nothing_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def shy(claims):  # type: ignore[no-untyped-def]
        return [claim.model_copy(update={"verdict": "underpowered"}) for claim in judge(claims)]

    monkeypatch.setattr(simulated, "judge", shy)
    assert sum("support a gain" in one.name for one in checks.operating(bench) if not one.ok) == len(FAST)
