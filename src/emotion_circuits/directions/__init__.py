"""Positions, activations, and the directions made of them: values with provenance, their quality and their files."""

from emotion_circuits._rooms import callable_room
from emotion_circuits.directions._activations import (
    Activations,
    Source,
    extract,
    load_activations,
    save_activations,
    source_of,
)
from emotion_circuits.directions._centroids import CentroidAccuracy, centroid_accuracy
from emotion_circuits.directions._direction import Direction, Provenance, cosine_matrix
from emotion_circuits.directions._estimators import (
    ESTIMATORS,
    Estimator,
    LogisticProbe,
    MatchedContrast,
    SpecificContrast,
    matched_texts,
)
from emotion_circuits.directions._fit import RELATIVE_NORM, SPLIT_HALF, directions_of, fit_with_layers, stability_rows
from emotion_circuits.directions._floors import bag_of_words_floor, floor_rows, untrained_floor
from emotion_circuits.directions._generic import GenericStatistics, generic_statistics, load_generic, save_generic
from emotion_circuits.directions._positions import POSITIONS, Position, TokenPositions, check_position, token_positions
from emotion_circuits.directions._quality import (
    CLAIM_BOOTSTRAP,
    CLAIM_PERMUTATIONS,
    CLAIM_SPLITS,
    IMPLICIT,
    REAL_WORLD,
    EvaluationTexts,
    choose_layers,
    choose_layers_within,
    cosine_rows,
    detection,
    pair_cosines,
    project,
    quality_profile,
)
from emotion_circuits.directions._sets import (
    DEFAULT_SHARE,
    KINDS,
    DirectionSet,
    cleaned_values,
    fit_directions,
    load_directions,
    save_directions,
)

__all__ = [
    "CLAIM_BOOTSTRAP",
    "CLAIM_PERMUTATIONS",
    "CLAIM_SPLITS",
    "DEFAULT_SHARE",
    "ESTIMATORS",
    "IMPLICIT",
    "KINDS",
    "POSITIONS",
    "REAL_WORLD",
    "RELATIVE_NORM",
    "SPLIT_HALF",
    "Activations",
    "CentroidAccuracy",
    "Direction",
    "DirectionSet",
    "Estimator",
    "EvaluationTexts",
    "GenericStatistics",
    "LogisticProbe",
    "MatchedContrast",
    "Position",
    "Provenance",
    "Source",
    "SpecificContrast",
    "TokenPositions",
    "bag_of_words_floor",
    "centroid_accuracy",
    "check_position",
    "choose_layers",
    "choose_layers_within",
    "cleaned_values",
    "cosine_matrix",
    "cosine_rows",
    "detection",
    "directions_of",
    "extract",
    "fit_directions",
    "fit_with_layers",
    "floor_rows",
    "generic_statistics",
    "load_activations",
    "load_directions",
    "load_generic",
    "matched_texts",
    "pair_cosines",
    "project",
    "quality_profile",
    "save_activations",
    "save_directions",
    "save_generic",
    "source_of",
    "stability_rows",
    "token_positions",
    "untrained_floor",
]

callable_room(__name__, "directions_of")
