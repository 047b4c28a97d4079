"""Chance levels: bootstrap over scenarios, permutation nulls, multiple testing, power, and claims with their verdicts.

The unit everywhere is the group (the scenario). Everything is deterministic given its seed.
"""

from ._auroc import AurocResult, WeightedAuroc, auroc, grouped_auroc, weighted_auroc
from ._blocks import Blocks, ContrastKind, Pairs
from ._claims import (
    ALPHA,
    SIDE_CONDITION_LIMITS,
    Claim,
    Claims,
    Null,
    Verdict,
    claims_json,
    judge,
    read_claims,
    untested,
    write_claims,
)
from ._gain import Gain, Rival, floor_of, null_drawn, null_from, null_of, paired_gain
from ._histogram import Histogram
from ._maps import MapTest, sign_flip_map
from ._measures import EMBED_LAYER, Measure, measures_table, rows_table
from ._multiple import benjamini_hochberg, holm
from ._permutation import SequentialResult, exceedance_p, max_t, permute_within_groups, sequential_p
from ._power import hanley_mcneil_se, smallest_auroc, smallest_from_se, smallest_mean
from ._resampling import (
    Alternative,
    Bootstrap,
    Interval,
    PermutationResult,
    grouped_bootstrap,
    sign_flip_test,
    substream,
    weighted_bootstrap,
)
from ._simulated import SimulatedRate, simulated_rates
from ._split_half import SplitHalfResult, spearman_brown, split_half_cosine, split_half_from_gram

__all__ = [
    "ALPHA",
    "EMBED_LAYER",
    "SIDE_CONDITION_LIMITS",
    "Alternative",
    "AurocResult",
    "Blocks",
    "Bootstrap",
    "Claim",
    "Claims",
    "ContrastKind",
    "Gain",
    "Histogram",
    "Interval",
    "MapTest",
    "Measure",
    "Null",
    "Pairs",
    "PermutationResult",
    "Rival",
    "SequentialResult",
    "SimulatedRate",
    "SplitHalfResult",
    "Verdict",
    "WeightedAuroc",
    "auroc",
    "benjamini_hochberg",
    "claims_json",
    "exceedance_p",
    "floor_of",
    "grouped_auroc",
    "grouped_bootstrap",
    "hanley_mcneil_se",
    "holm",
    "judge",
    "max_t",
    "measures_table",
    "null_drawn",
    "null_from",
    "null_of",
    "paired_gain",
    "permute_within_groups",
    "read_claims",
    "rows_table",
    "sequential_p",
    "sign_flip_map",
    "sign_flip_test",
    "simulated_rates",
    "smallest_auroc",
    "smallest_from_se",
    "smallest_mean",
    "spearman_brown",
    "split_half_cosine",
    "split_half_from_gram",
    "substream",
    "untested",
    "weighted_auroc",
    "weighted_bootstrap",
    "write_claims",
]
