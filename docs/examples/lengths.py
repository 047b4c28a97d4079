"""How far does each emotion move a model's mean state? An analysis in one file."""

import numpy as np

from emotion_circuits.analyses import AnalysisPlan, Measures, analysis
from emotion_circuits.models import model_label
from emotion_circuits.report import Axis, Chart, Level, Panel, Series, TitledChart
from emotion_circuits.statistics import Claim, Measure, exceedance_p, grouped_bootstrap, null_of

STATISTIC = "length of the mean difference from neutral"


@analysis("lengths", question="How far does each emotion move the mean state?", needs=("activations",))
class Lengths:
    class Plan(AnalysisPlan):
        draws: int = 999
        """Random signs of the scenarios' differences: the null in which texts and their neutral twins do not differ."""

    def run(self, work, plan, model):
        rows, claims = [], []
        recorded = work.activations(model).select(split="test")
        layer = recorded.n_layers // 2
        rng = np.random.default_rng(work.study.seed)
        for emotion in work.bank.emotions:
            own, neutral = (texts.at("mean")[layer + 1] for texts in recorded.twins(emotion))
            difference = own - neutral
            length = float(np.linalg.norm(difference.mean(axis=0)))
            signs = rng.choice([-1, 1], (plan.draws, len(difference)))
            null = np.linalg.norm(signs @ difference / len(difference), axis=1)
            along = difference @ difference.mean(axis=0) / length
            low, high = (float(end) for end in grouped_bootstrap(along, n_draws=500, seed=0).interval[:2])
            chance, p = float(null.mean()), exceedance_p(length, null)
            ends = [float(end) for end in np.quantile(null, (0.025, 0.975))]
            rows.append(Measure(model, emotion, "mean", layer, "matched", STATISTIC, length, low, high, chance, *ends,
                                float("nan"), p, len(difference)))  # fmt: skip
            claims.append(Claim.beside(
                [null_of("signs of the scenarios' differences", length, null, (low, high))],
                id="lengths.moved", question="lengths", model=model_label(model), emotion=emotion, layer=layer,
                statistic=STATISTIC, value=length, ci95=(low, high), ceiling=None, effect_of_interest=1.0,
                n_unique=len(difference), unit="scenarios", evidence=(),
            ))  # fmt: skip
        return Measures(rows, claims)

    def figures(self, rows):
        top = 1.1 * max(row.ci_high for row in rows)
        panels = [Panel(row.emotion, Axis("", -1, 1, ()), Axis("length", 0, top), levels=(Level(row.chance, "chance"),),
                        series=(Series(row.emotion, (0,), (row.value,), (row.ci_low,), (row.ci_high,), shaded=False),))
                  for row in rows]  # fmt: skip
        yield TitledChart("Length of the mean difference", Chart((tuple(panels),)), "The bar is a 95 % interval.")

    def words(self, rows, language):
        longest = max(rows, key=lambda row: row.value - row.chance)
        said = {"en": "{} moves the mean state most: {:.2f} (chance {:.2f}).",
                "ja": "平均状態を最も動かすのは {}: {:.2f}(偶然 {:.2f})。"}  # fmt: skip
        return said[language].format(longest.emotion, longest.value, longest.chance)
