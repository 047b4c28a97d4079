"""Figures and the self-contained HTML report, from the files of one results folder and nothing else.

Names load on first use, so that processes which only draw need neither torch nor the other rooms.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emotion_circuits.report._audit import audit_picture
    from emotion_circuits.report._chart import Axis, Band, Chart, Level, Panel, Series
    from emotion_circuits.report._circuits import circuit_pictures
    from emotion_circuits.report._demo import pack_results, unpack_demo
    from emotion_circuits.report._methods import methods_pictures
    from emotion_circuits.report._own import TitledChart, Told, write_told
    from emotion_circuits.report._report import pictures_of, sections, write_pictures, write_report
    from emotion_circuits.report._results import ModelResults, Results, read_results
    from emotion_circuits.report._sections import Drawing, Picture, Section, inline_image, table
    from emotion_circuits.report._style import interval, layer_name, looks_of, number, p_value
    from emotion_circuits.report._sweeps import SweepCell, sweep_pictures, sweeps_of

_MODULES = {
    "_audit": ("audit_picture",),
    "_chart": ("Axis", "Band", "Chart", "Level", "Panel", "Series"),
    "_circuits": ("circuit_pictures",),
    "_demo": ("pack_results", "unpack_demo"),
    "_methods": ("methods_pictures",),
    "_own": ("TitledChart", "Told", "write_told"),
    "_report": ("pictures_of", "sections", "write_pictures", "write_report"),
    "_results": ("ModelResults", "Results", "read_results"),
    "_sections": ("Drawing", "Picture", "Section", "inline_image", "table"),
    "_style": ("interval", "layer_name", "looks_of", "number", "p_value"),
    "_sweeps": ("SweepCell", "sweep_pictures", "sweeps_of"),
}

__all__ = [
    "Axis",
    "Band",
    "Chart",
    "Drawing",
    "Level",
    "ModelResults",
    "Panel",
    "Picture",
    "Results",
    "Section",
    "Series",
    "SweepCell",
    "TitledChart",
    "Told",
    "audit_picture",
    "circuit_pictures",
    "inline_image",
    "interval",
    "layer_name",
    "looks_of",
    "methods_pictures",
    "number",
    "p_value",
    "pack_results",
    "pictures_of",
    "read_results",
    "sections",
    "sweep_pictures",
    "sweeps_of",
    "table",
    "unpack_demo",
    "write_pictures",
    "write_report",
    "write_told",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
