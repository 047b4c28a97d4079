"""The cleaners that this room and `directions` share."""

from emotion_circuits._cleaning import (
    AllOnesRemover,
    Cleaner,
    GenericCleaner,
    PerDimensionScaler,
    ShrunkWhitening,
    remove_all_ones,
    standard_deviations,
)

__all__ = [
    "AllOnesRemover",
    "Cleaner",
    "GenericCleaner",
    "PerDimensionScaler",
    "ShrunkWhitening",
    "remove_all_ones",
    "standard_deviations",
]
