"""Positions, activations, and the directions made of them: values with provenance, their quality and their files."""

from emotion_circuits._rooms import callable_room
from emotion_circuits.directions._activations import (
    Activations,
    extract,
    load_activations,
    save_activations,
)
from emotion_circuits.directions._centroids import CentroidAccuracy, centroid_accuracy
from emotion_circuits.directions._cleaning import (
    CLEANINGS,
    DEFAULT_SHARE,
    RESCALINGS,
    Cleaning,
    CleaningName,
    cleaned_values,
    cleaning_words,
)
from emotion_circuits.directions._cleaning_rows import cleaning_rows
from emotion_circuits.directions._compared import Compared, compared
from emotion_circuits.directions._direction import Direction, Provenance
from emotion_circuits.directions._estimators import (
    ESTIMATORS,
    Estimator,
    FisherDirection,
    LogisticProbe,
    MatchedContrast,
    PairedComponent,
    SpecificContrast,
)
from emotion_circuits.directions._export import (
    DEFAULT_DOSE,
    ControlVector,
    ExportedVector,
    export_gguf,
    load_gguf_control_vector,
    to_repeng,
)
from emotion_circuits.directions._fit import RELATIVE_NORM, SPLIT_HALF, directions_of, fit_with_layers, stability_rows
from emotion_circuits.directions._floors import bag_of_words_floor, floor_rows, untrained_floor
from emotion_circuits.directions._foils import (
    EXPLICIT_OVER_FOILS,
    FOIL_RATE,
    HIT_RATE,
    IMPLICIT_OVER_FOILS,
    foil_rows,
)
from emotion_circuits.directions._generic import (
    GenericStatistics,
    generic_statistics,
    generic_tokens,
    load_generic,
    save_generic,
    spread_positions,
)
from emotion_circuits.directions._intensity import INTENSITY, intensity_rows
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
    KINDS,
    DirectionSet,
    default_kinds,
    fit_directions,
    load_directions,
    save_directions,
)
from emotion_circuits.directions._source import Source, source_of

__all__ = [
    "CLAIM_BOOTSTRAP",
    "CLAIM_PERMUTATIONS",
    "CLAIM_SPLITS",
    "CLEANINGS",
    "DEFAULT_DOSE",
    "DEFAULT_SHARE",
    "ESTIMATORS",
    "EXPLICIT_OVER_FOILS",
    "FOIL_RATE",
    "HIT_RATE",
    "IMPLICIT",
    "IMPLICIT_OVER_FOILS",
    "INTENSITY",
    "KINDS",
    "POSITIONS",
    "REAL_WORLD",
    "RELATIVE_NORM",
    "RESCALINGS",
    "SPLIT_HALF",
    "Activations",
    "CentroidAccuracy",
    "Cleaning",
    "CleaningName",
    "Compared",
    "ControlVector",
    "Direction",
    "DirectionSet",
    "Estimator",
    "EvaluationTexts",
    "ExportedVector",
    "FisherDirection",
    "GenericStatistics",
    "LogisticProbe",
    "MatchedContrast",
    "PairedComponent",
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
    "cleaning_rows",
    "cleaning_words",
    "compared",
    "cosine_rows",
    "default_kinds",
    "detection",
    "directions_of",
    "export_gguf",
    "extract",
    "fit_directions",
    "fit_with_layers",
    "floor_rows",
    "foil_rows",
    "generic_statistics",
    "generic_tokens",
    "intensity_rows",
    "load_activations",
    "load_directions",
    "load_generic",
    "load_gguf_control_vector",
    "pair_cosines",
    "project",
    "quality_profile",
    "save_activations",
    "save_directions",
    "save_generic",
    "source_of",
    "spread_positions",
    "stability_rows",
    "to_repeng",
    "token_positions",
    "untrained_floor",
]

callable_room(__name__, "directions_of")
