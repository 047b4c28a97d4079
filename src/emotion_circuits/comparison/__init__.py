"""Two models side by side: the same texts in both, maps between them, and what of an emotion arrives.

From recorded activations to rows and claims; the arrays in between belong to `geometry`.
"""

from emotion_circuits.comparison._align import Arm, PairAlignment, align_pair, n_steps
from emotion_circuits.comparison._alignment_rows import (
    DETECTION,
    DETECTION_SHARE,
    DEVELOPMENT_COSINE,
    GAIN,
    NATIVE_DETECTION,
    NATIVE_SLOPE,
    OWN_COSINE,
    R2,
    SLOPE,
    SLOPE_SHARE,
    chosen_rows,
    detection_rows,
    layer_rows,
    steering_rows,
)
from emotion_circuits.comparison._claims import alignment_claims, shared_claim, transfer_claims
from emotion_circuits.comparison._files import map_path, write_alignment
from emotion_circuits.comparison._fit_texts import (
    FIT_POSITION,
    FIT_SETS,
    N_FIT_TEXTS,
    FitSet,
    fit_kinds,
    fit_texts,
    own_fit_texts,
    record_fit_texts,
)
from emotion_circuits.comparison._rows import ALL, PairMeasure, Route, pair_name, pair_slug, pairs_table
from emotion_circuits.comparison._sides import Side, record_side, require_same_texts, table_of, twins_of
from emotion_circuits.comparison._similar import RAW_COSINE, SpaceMeasure, direction_rows, space_rows
from emotion_circuits.comparison._subspaces import (
    KINDS,
    PAIR_OVERLAP,
    SELF_OVERLAP,
    overlap_rows,
    save_subspaces,
    subspace_estimator,
    subspace_rows,
)
from emotion_circuits.comparison._transfer import Detection, MappedDirections, Steering, detect, map_directions, steer

__all__ = [
    "ALL",
    "DETECTION",
    "DETECTION_SHARE",
    "DEVELOPMENT_COSINE",
    "FIT_POSITION",
    "FIT_SETS",
    "GAIN",
    "KINDS",
    "NATIVE_DETECTION",
    "NATIVE_SLOPE",
    "N_FIT_TEXTS",
    "OWN_COSINE",
    "PAIR_OVERLAP",
    "R2",
    "RAW_COSINE",
    "SELF_OVERLAP",
    "SLOPE",
    "SLOPE_SHARE",
    "Arm",
    "Detection",
    "FitSet",
    "MappedDirections",
    "PairAlignment",
    "PairMeasure",
    "Route",
    "Side",
    "SpaceMeasure",
    "Steering",
    "align_pair",
    "alignment_claims",
    "chosen_rows",
    "detect",
    "detection_rows",
    "direction_rows",
    "fit_kinds",
    "fit_texts",
    "layer_rows",
    "map_directions",
    "map_path",
    "n_steps",
    "overlap_rows",
    "own_fit_texts",
    "pair_name",
    "pair_slug",
    "pairs_table",
    "record_fit_texts",
    "record_side",
    "require_same_texts",
    "save_subspaces",
    "shared_claim",
    "space_rows",
    "steer",
    "steering_rows",
    "subspace_estimator",
    "subspace_rows",
    "table_of",
    "transfer_claims",
    "twins_of",
    "write_alignment",
]
