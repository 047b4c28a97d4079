"""The analyses of the package, in the order in which a study runs them: all of a model before the next."""

from __future__ import annotations

from typing import Final

from emotion_circuits.analyses._activations import RecordActivations
from emotion_circuits.analyses._analysis import Analysis, declared
from emotion_circuits.analyses._circuits import JoinCircuits
from emotion_circuits.analyses._components import CompareComponents
from emotion_circuits.analyses._directions import FitDirections
from emotion_circuits.analyses._external import RecordExternal
from emotion_circuits.analyses._fit_texts import RecordFitTexts
from emotion_circuits.analyses._heads import ScreenComponents
from emotion_circuits.analyses._language import JudgeAcrossLanguages
from emotion_circuits.analyses._mapped_steering import SteerMapped
from emotion_circuits.analyses._maps import AlignModels
from emotion_circuits.analyses._methods import CompareMethods
from emotion_circuits.analyses._punctuation import AblateAtPunctuation
from emotion_circuits.analyses._quality import JudgeDirections
from emotion_circuits.analyses._steering import SteerTest
from emotion_circuits.analyses._swap import SwapPairs
from emotion_circuits.analyses._sweep import SweepDevelopment
from emotion_circuits.analyses._text import WriteAndScore

BUILT_IN: Final[tuple[Analysis, ...]] = tuple(
    declared(kind)
    for kind in (
        RecordActivations, FitDirections, RecordExternal, JudgeDirections, SweepDevelopment, SteerTest, WriteAndScore,
        SwapPairs, ScreenComponents, JoinCircuits, CompareMethods, AblateAtPunctuation, JudgeAcrossLanguages,
        RecordFitTexts, AlignModels,
        CompareComponents, SteerMapped,
    )
)  # fmt: skip
