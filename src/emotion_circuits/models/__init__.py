"""Where models come from, and what the project must know of an architecture."""

from emotion_circuits.models._cache import cache_folder
from emotion_circuits.models._catalogue import ModelInfo, catalogue
from emotion_circuits.models._classifiers import classifier_folder
from emotion_circuits.models._families import Family, families, family_of, forget_family, register_family
from emotion_circuits.models._identity import revision_of
from emotion_circuits.models._load import family_code, family_of_model, load, resolve_device
from emotion_circuits.models._loaded import Encoded, Float32Products, LoadedModel
from emotion_circuits.models._names import REFERENCE_NAMES, ModelName, model_label
from emotion_circuits.models._packaged import PACKAGED, get_packaged
from emotion_circuits.models._quiet import quiet_transformers
from emotion_circuits.models._sources import get, is_available
from emotion_circuits.models._truncate import first_tokens

__all__ = [
    "PACKAGED",
    "REFERENCE_NAMES",
    "Encoded",
    "Family",
    "Float32Products",
    "LoadedModel",
    "ModelInfo",
    "ModelName",
    "cache_folder",
    "catalogue",
    "classifier_folder",
    "families",
    "family_code",
    "family_of",
    "family_of_model",
    "first_tokens",
    "forget_family",
    "get",
    "get_packaged",
    "is_available",
    "load",
    "model_label",
    "quiet_transformers",
    "register_family",
    "resolve_device",
    "revision_of",
]
