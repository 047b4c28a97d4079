"""Claims of RQ2 and RQ5, before they are judged."""

from __future__ import annotations

from emotion_circuits.comparison._align import PairAlignment
from emotion_circuits.comparison._alignment_rows import shared_ceiling
from emotion_circuits.comparison._rows import pair_name
from emotion_circuits.comparison._transfer import Detection
from emotion_circuits.geometry import corrected
from emotion_circuits.statistics import Claim, floor_of, null_from, null_of

ALIGNMENT = "cosine of the mapped with the model's own direction"
TRANSFER = "AUROC of the mapped direction on implicit texts"


def shared_claim(pair: PairAlignment, effect: float, evidence: str) -> Claim:
    """`rq2.shared`: S* of A's mapped with B's own between-class subspace, against all its nulls and floors."""
    found, layers = pair.shared, pair.layers
    interval = found.corrected_interval
    bands = [*found.nulls, *(link.overlap.at(link.name, link.n_draws, pair.at) for link in layers.nulls)]
    nulls = []
    for band in bands:
        mean, high = (float(corrected(point, found.chance)) for point in (band.mean, band.high))
        nulls.append(null_from(band.name, mean, high, band.p, band.n_draws, interval))
    return Claim.beside(
        [*nulls, *pair.shared_floors],
        id="rq2.shared",
        question="RQ2",
        model=pair_name(pair.a.name, pair.b.name),
        emotion=None,
        layer=pair.row_b - 1,
        statistic=f"aligned overlap S* of the emotions' subspaces (k = {found.k})",
        note=_source(pair),
        value=found.corrected,
        ci95=(interval.low, interval.high),
        ceiling=shared_ceiling(pair),
        n_unique=found.n_scenarios,
        unit="scenarios",
        evidence=(evidence,),
        effect_of_interest=effect,
    )


def alignment_claims(pair: PairAlignment, effect: float, evidence: str) -> list[Claim]:
    """`rq5.alignment` per emotion: mapped-to-own cosine, beside untrained arms, the embeddings and broken links."""
    claims = []
    for place, found in enumerate(pair.gains[:-1]):
        bands = [link.own.at(link.name, link.n_draws, (*pair.at, place)) for link in pair.layers.nulls]
        rivals = [null_from(b.name, b.mean, b.high, b.p, b.n_draws, found.interval) for b in bands]
        rivals.append(floor_of("untrained", found.best_other, found.gain))
        for over in pair.over_embedding[place : place + 1]:
            rivals.append(floor_of("embedding", over.best_other, over.gain))
        claims.append(
            Claim.beside(
                rivals,
                id="rq5.alignment",
                question="RQ5",
                model=pair_name(pair.a.name, pair.b.name),
                emotion=found.emotion,
                layer=pair.row_b - 1,
                statistic=ALIGNMENT,
                note=_source(pair),
                value=found.trained,
                ci95=(found.interval.low, found.interval.high),
                ceiling=1.0,
                n_unique=found.n_scenarios,
                unit="scenarios",
                evidence=(evidence,),
                effect_of_interest=effect,
            )
        )
    return claims


def _source(pair: PairAlignment) -> str:
    """`layer` of a claim is the target's; this is the other one."""
    return f"mapped from layer {pair.row_a - 1}"


def transfer_claims(pair: PairAlignment, found: tuple[Detection, ...], effect: float, evidence: str) -> list[Claim]:
    """`rq5.transfer` per emotion: does the mapped direction detect the emotion in B, beyond shuffled maps?

    Detection carries the claim, because a thousand shuffled maps cost one matrix product there; steering, where each
    costs two forward passes for every context, stands beside it with a band.
    """
    return [
        Claim.beside(
            [null_of("shuffled maps", one.mapped.value, one.shuffled, one.mapped.interval), *one.floors],
            id="rq5.transfer",
            question="RQ5",
            model=pair_name(pair.a.name, pair.b.name),
            emotion=one.emotion,
            layer=pair.row_b - 1,
            statistic=TRANSFER,
            note=_source(pair),
            value=one.mapped.value,
            ci95=(one.mapped.interval.low, one.mapped.interval.high),
            ceiling=max(one.native.value, one.mapped.value),
            n_unique=one.mapped.n_groups,
            unit="scenarios",
            evidence=(evidence,),
            effect_of_interest=effect,
        )
        for one in found
    ]
