"""The project's conscience: is what was planted in small models found, and nothing where nothing was planted?

Small transformers are built by hand, not trained, so that an emotion's direction, the units that write it, the head
that moves it and what the model then says are known (`plant`). The same code that measures any model measures them.
"""

from emotion_circuits.selftest._bank import PlantedBank, planted_bank
from emotion_circuits.selftest._bench import Bench, Subject, bench
from emotion_circuits.selftest._blueprint import Facts, Head, PlantSpec
from emotion_circuits.selftest._check import SelftestCheck, check
from emotion_circuits.selftest._families import BUILDERS
from emotion_circuits.selftest._operating import DECLARED, Rate, operating_characteristics
from emotion_circuits.selftest._planted import PlantedModel, plant
from emotion_circuits.selftest._run import CHECKS, NOISE_CHECKS, Method, SelftestReport, n_steps, run_selftest

__all__ = [
    "BUILDERS",
    "CHECKS",
    "DECLARED",
    "NOISE_CHECKS",
    "Bench",
    "Facts",
    "Head",
    "Method",
    "PlantSpec",
    "PlantedBank",
    "PlantedModel",
    "Rate",
    "SelftestCheck",
    "SelftestReport",
    "Subject",
    "bench",
    "check",
    "n_steps",
    "operating_characteristics",
    "plant",
    "planted_bank",
    "run_selftest",
]
