"""Claims of RQ2 and RQ5, before they are judged."""

from __future__ import annotations

from emotion_circuits.comparison._align import PairAlignment
from emotion_circuits.comparison._alignment_rows import shared_ceiling
from emotion_circuits.comparison._rows import pair_name
from emotion_circuits.comparison._transfer import Detection
from emotion_circuits.geometry import corrected
from emotion_circuits.statistics import Claim, smallest_auroc, smallest_from_se

ALIGNMENT = "mapped-to-own cosine minus the best untrained one"
TRANSFER = "AUROC of the mapped direction on implicit texts"
NORMAL_95 = 1.959963984540054


def shared_claim(pair: PairAlignment, effect: float, evidence: str) -> Claim:
    """`rq2.shared`: S* of A's mapped with B's own between-class subspace, against the strictest of its nulls."""
    found = pair.shared
    interval = found.corrected_interval
    star = {n.name: float(corrected(n.high, found.chance)) for n in found.nulls}
    links = {null.name: float(null.overlap.p[pair.at]) for null in pair.layers.nulls}
    p = max([found.p, *links.values()])
    return Claim(
        id="rq2.shared",
        question="RQ2",
        model=pair_name(pair.a.name, pair.b.name),
        emotion=None,
        layer=pair.row_b - 1,
        statistic=f"aligned overlap S* of the emotions' subspaces (k = {found.k})",
        value=found.corrected,
        ci95=(interval.low, interval.high),
        chance=0.0,
        ceiling=shared_ceiling(pair),
        floors=pair.shared_floors | {f"{name}_97.5_percent": value for name, value in star.items()},
        null=f"the strictest of {', '.join([*star, *links])}; {_source(pair)}",
        p=p,
        n_unique=found.n_scenarios,
        evidence=(evidence,),
        smallest_detectable=smallest_from_se((interval.high - interval.low) / (2 * NORMAL_95)),
        effect_of_interest=effect,
    )


def alignment_claims(pair: PairAlignment, effect: float, evidence: str) -> list[Claim]:
    """`rq5.alignment` per emotion: mapped-to-own cosine, trained minus the best untrained arm."""
    found = []
    for place, gain in enumerate(pair.gains[:-1]):
        floors = {
            f"{null.name.replace(' ', '_')}_97.5_percent": float(null.own.high[(*pair.at, place)]) - gain.untrained
            for null in pair.layers.nulls
        }
        if pair.embedding_at is not None:
            floors["embedding"] = float(pair.layers.own[(*pair.embedding_at, place)]) - gain.untrained
        found.append(
            Claim(
                id="rq5.alignment",
                question="RQ5",
                model=pair_name(pair.a.name, pair.b.name),
                emotion=gain.emotion,
                layer=pair.row_b - 1,
                statistic=ALIGNMENT,
                value=gain.value,
                ci95=(gain.interval.low, gain.interval.high),
                chance=0.0,
                ceiling=1 - gain.untrained,
                floors=floors,
                null=f"paired bootstrap over scenarios, best of {len(pair.arms)} untrained arms in every draw; "
                + _source(pair),
                p=gain.p,
                n_unique=gain.n_scenarios,
                evidence=(evidence,),
                smallest_detectable=smallest_from_se(gain.standard_error),
                effect_of_interest=effect,
            )
        )
    return found


def _source(pair: PairAlignment) -> str:
    """`layer` of a claim is the target's; this is the other one."""
    return f"mapped from layer {pair.row_a - 1}"


def transfer_claims(pair: PairAlignment, found: tuple[Detection, ...], effect: float, evidence: str) -> list[Claim]:
    """`rq5.transfer` per emotion: does the mapped direction detect the emotion in B, beyond shuffled maps?

    Detection carries the claim, because a thousand shuffled maps cost one matrix product there; steering, where each
    costs two forward passes for every context, stands beside it with a band.
    """
    claims = []
    for one in found:
        high = sorted(one.shuffled.tolist())[int(0.975 * (len(one.shuffled) - 1))]
        floors = {"shuffled_maps_97.5_percent": high}
        if one.untrained == one.untrained:
            floors["untrained"] = one.untrained
        n = one.mapped.n_texts
        claims.append(
            Claim(
                id="rq5.transfer",
                question="RQ5",
                model=pair_name(pair.a.name, pair.b.name),
                emotion=one.emotion,
                layer=pair.row_b - 1,
                statistic=TRANSFER,
                value=one.mapped.value,
                ci95=(one.mapped.interval.low, one.mapped.interval.high),
                chance=float(one.shuffled.mean()),
                ceiling=max(one.native.value, one.mapped.value),
                floors=floors,
                null=f"shuffled maps, {len(one.shuffled)} draws; {_source(pair)}",
                p=one.p,
                n_unique=one.mapped.n_groups,
                evidence=(evidence,),
                smallest_detectable=smallest_auroc(one.mapped.n_positive, n - one.mapped.n_positive),
                effect_of_interest=effect,
            )
        )
    return claims
