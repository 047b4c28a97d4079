"""Shared structure within and between models: subspaces and their overlap, similarity of spaces, maps between models.

Every number comes beside its chance level, by the same code on draws with a broken link, and noise gives nothing.
Inputs are (texts, dimensions) arrays with labels and scenarios; nothing here runs a model.
"""

from emotion_circuits._cleaning import (
    AllOnesRemover,
    Cleaner,
    GenericCleaner,
    PerDimensionScaler,
    ShrunkWhitening,
    remove_all_ones,
)
from emotion_circuits.geometry._aligner import Aligner, CrossAligner, LinearAligner
from emotion_circuits.geometry._aligners import (
    ALIGNERS,
    CCA,
    PENALTIES,
    LeastSquares,
    Procrustes,
    RelativeAnchors,
    Ridge,
    aligner_codes,
    aligner_named,
    aligners,
    forget_aligner,
    register_aligner,
)
from emotion_circuits.geometry._alignment_eval import align_all_layers, evaluate_alignment
from emotion_circuits.geometry._alignment_results import AlignmentReport, Band, LayerAlignment, LayerNull
from emotion_circuits.geometry._check_aligner import check_aligner
from emotion_circuits.geometry._comparison import NullBand, OverlapResult, compare_subspaces, resampled_overlaps
from emotion_circuits.geometry._gain import (
    GainResult,
    LayerGain,
    MappedContrasts,
    cosine_gain,
    layer_gain,
    mapped_contrasts,
)
from emotion_circuits.geometry._inputs import ScenarioTable
from emotion_circuits.geometry._map_files import load_aligner, save_aligner
from emotion_circuits.geometry._noise import TwoModels, independent_models
from emotion_circuits.geometry._overlap import (
    Overlap,
    coordinate_null,
    corrected,
    orthonormal,
    overlap,
    principal_angles,
    rotation_null,
)
from emotion_circuits.geometry._parallel import in_parallel
from emotion_circuits.geometry._planted import PlantedModels, noise_twin, planted_models
from emotion_circuits.geometry._reduction import ReducedTexts, Reduction, most_components, reduce_texts
from emotion_circuits.geometry._self_overlap import SelfOverlap, self_overlap
from emotion_circuits.geometry._similarity import (
    SimilarityResult,
    biased_cka,
    cka,
    compare_spaces,
    mutual_neighbours,
    rsa,
)
from emotion_circuits.geometry._subspaces import (
    BetweenClassSubspace,
    LDASubspace,
    PairedDifferenceSubspace,
    SubspaceEstimator,
    WithinClassSubspace,
)

__all__ = [
    "ALIGNERS",
    "CCA",
    "PENALTIES",
    "Aligner",
    "AlignmentReport",
    "AllOnesRemover",
    "Band",
    "BetweenClassSubspace",
    "Cleaner",
    "CrossAligner",
    "GainResult",
    "GenericCleaner",
    "LDASubspace",
    "LayerAlignment",
    "LayerGain",
    "LayerNull",
    "LeastSquares",
    "LinearAligner",
    "MappedContrasts",
    "NullBand",
    "Overlap",
    "OverlapResult",
    "PairedDifferenceSubspace",
    "PerDimensionScaler",
    "PlantedModels",
    "Procrustes",
    "ReducedTexts",
    "Reduction",
    "RelativeAnchors",
    "Ridge",
    "ScenarioTable",
    "SelfOverlap",
    "ShrunkWhitening",
    "SimilarityResult",
    "SubspaceEstimator",
    "TwoModels",
    "WithinClassSubspace",
    "align_all_layers",
    "aligner_codes",
    "aligner_named",
    "aligners",
    "biased_cka",
    "check_aligner",
    "cka",
    "compare_spaces",
    "compare_subspaces",
    "coordinate_null",
    "corrected",
    "cosine_gain",
    "evaluate_alignment",
    "forget_aligner",
    "in_parallel",
    "independent_models",
    "layer_gain",
    "load_aligner",
    "mapped_contrasts",
    "most_components",
    "mutual_neighbours",
    "noise_twin",
    "orthonormal",
    "overlap",
    "planted_models",
    "principal_angles",
    "reduce_texts",
    "register_aligner",
    "remove_all_ones",
    "resampled_overlaps",
    "rotation_null",
    "rsa",
    "save_aligner",
    "self_overlap",
]
