import numpy as np

from emotion_circuits.analyses import AnalysisPlan, Measures, analysis
from emotion_circuits.statistics import Measure, exceedance_p

SHARE = "share of the squared length in the ten largest dimensions"


def share(v):
    return np.sort(v**2)[..., -10:].sum(axis=-1) / (v**2).sum(axis=-1)


@analysis("few-dimensions", question="Do few dimensions carry an emotion's direction?", needs=("directions",))
class FewDimensions:
    class Plan(AnalysisPlan):
        draws: int = 999
        """Random directions, which give chance."""

    def run(self, work, plan, model):
        rows, found = [], work.directions(model)
        for emotion in found.emotions:
            v, rng = found[emotion], np.random.default_rng(work.study.seed)
            value, null = float(share(v.unit)), share(rng.standard_normal((plan.draws, len(v.unit))))
            rows.append(Measure(
                model, emotion, "mean", v.provenance.layer, "specific", SHARE, value, ci_low=np.nan, ci_high=np.nan,
                chance=float(null.mean()), null_low=np.quantile(null, 0.025), null_high=np.quantile(null, 0.975),
                ceiling=1.0, p=exceedance_p(value, null), n_unique=len(v.unit),
            ))  # fmt: skip
        return Measures(rows)
