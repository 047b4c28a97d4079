"""Figures and the self-contained HTML report, from the files of one results folder and nothing else."""

from emotion_circuits.report._audit import audit_picture
from emotion_circuits.report._chart import Axis, Band, Chart, Level, Panel, Series
from emotion_circuits.report._circuits import circuit_pictures
from emotion_circuits.report._methods import methods_pictures
from emotion_circuits.report._own import TitledChart, Told, write_told
from emotion_circuits.report._report import sections, write_pictures, write_report
from emotion_circuits.report._results import ModelResults, Results, read_results
from emotion_circuits.report._sections import Picture, Section
from emotion_circuits.report._sweeps import sweep_pictures

__all__ = [
    "Axis",
    "Band",
    "Chart",
    "Level",
    "ModelResults",
    "Panel",
    "Picture",
    "Results",
    "Section",
    "Series",
    "TitledChart",
    "Told",
    "audit_picture",
    "circuit_pictures",
    "methods_pictures",
    "read_results",
    "sections",
    "sweep_pictures",
    "write_pictures",
    "write_report",
    "write_told",
]
