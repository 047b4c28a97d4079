"""Figures and the self-contained HTML report, from the files of one results folder and nothing else."""

from emotion_circuits.report._audit_figure import write_audit_figure
from emotion_circuits.report._circuit_section import write_circuit_pictures
from emotion_circuits.report._circuits import write_circuits_figure
from emotion_circuits.report._everything import write_everything
from emotion_circuits.report._figures import write_figures
from emotion_circuits.report._methods import write_methods_figure
from emotion_circuits.report._page import write_report
from emotion_circuits.report._sweep_maps import write_sweep_figure

__all__ = [
    "write_audit_figure",
    "write_circuit_pictures",
    "write_circuits_figure",
    "write_everything",
    "write_figures",
    "write_methods_figure",
    "write_report",
    "write_sweep_figure",
]
