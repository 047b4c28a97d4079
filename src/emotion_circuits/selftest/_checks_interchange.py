"""Does interchange find where the planted emotion stands, layer by layer and place by place?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from emotion_circuits.components import Interchange, WordSetOutcome, interchange
from emotion_circuits.selftest._bench import Bench
from emotion_circuits.selftest._check import SelftestCheck, check, furthest
from emotion_circuits.selftest._checks_components import SHARE, emotions_of, outcome_of

NOTHING = (-0.1, 0.1)
ROUNDED = 1e-5
"""A patch runs on the tokens behind it only, and products of another shape round in another way."""


def shares(found: Interchange) -> dict[tuple[str, int, str], float]:
    """(site, layer, place) → share of the gap that the emotion's values bring into neutral prompts."""
    gap = float((found.m_a - found.m_b).mean())
    moved = found.swapped["denoising"].own - found.m_b[:, None, None, None]
    known = np.isfinite(moved)
    means = np.where(known, moved, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1) / gap
    return {
        (site, layer, place): float(means[i, k, p])
        for i, site in enumerate(found.sites)
        for k, layer in enumerate(found.layers)
        for p, place in enumerate(found.places)
    }


def interchange_follows_the_plant(bench: Bench) -> Iterator[SelftestCheck]:
    """The word's MLP writes it, the head's attention moves it to the last token, nothing else carries any of it."""
    subject = bench.subject
    lm, written, moved = subject.lm, subject.facts.layer, subject.facts.head.layer
    carrying, elsewhere, everything, noised, donors, itself = [], [], [], [], [], []
    for emotion in emotions_of(bench):
        outcome = outcome_of(subject, emotion)
        found = interchange(lm, outcome)
        share = shares(found)
        carrying += [
            share["mlp_out", written, "word"], share["resid_post", moved - 1, "word"],
            share["attn_out", moved, "last"], share["resid_post", moved, "last"],
        ]  # fmt: skip
        elsewhere += [share["attn_out", layer, "all"] for layer in found.layers if layer != moved]
        elsewhere += [share["mlp_out", layer, "all"] for layer in found.layers if layer > written]
        elsewhere += [share["resid_post", layer, "last"] for layer in found.layers if layer < moved]
        elsewhere += [share["resid_post", layer, "word"] for layer in found.layers if layer >= moved]
        everything += [share["resid_post", layer, "all"] for layer in found.layers]
        gap = (found.m_a - found.m_b).mean()
        after = found.swapped["noising"].own[:, found.sites.index("resid_post"), :, found.places.index("all")]
        noised += ((after - found.m_b[:, None]).mean(axis=0) / gap).tolist()
        donor = found.swapped["denoising"].donor - found.m_b[:, None, None, None]
        donors += (np.nanmean(donor[..., found.places.index("last")], axis=0).ravel() / gap).tolist()
        pairs = outcome.pairs
        same = replace(pairs, pairs=tuple(replace(p, text_b=p.text_a, ids_b=p.ids_a) for p in pairs.pairs))
        alone = interchange(lm, WordSetOutcome(lm, same, subject.planted.bank.word_sets), n_donors=0)
        for swapped in alone.swapped.values():
            changes = np.abs(swapped.own - alone.m_a[:, None, None, None])
            itself.append(float(np.nanmax(changes)) / float(gap))
    yield check("share of the gap at the planted layers and places, by interchange", furthest(carrying, 1), *SHARE)
    yield check("share of the gap at any other layer or place, by interchange", furthest(elsewhere, 0), *NOTHING)
    yield check("share of the gap that the whole stream brings", furthest(everything, 1), 1 - 1e-4, 1 + 1e-4)
    yield check("share of the gap left when the whole stream is noised", furthest(noised, 0), -1e-4, 1e-4)
    yield check("share of the gap that a donor's values bring", furthest(donors, 0), *NOTHING)
    yield check("share of the gap that a run's own values change", max(itself), 0, ROUNDED)
