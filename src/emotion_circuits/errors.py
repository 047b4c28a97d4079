"""Errors a user can act on.

Every expected failure is one of two exceptions. Their text has one to four lines: what was wrong, what was found,
what is accepted, what to do next. The command line prints the text to stderr and exits with `exit_status`; a traceback
appears only with `--debug`.
"""

from __future__ import annotations


class EmotionCircuitsError(Exception):
    """A failure with a clear explanation.

    Args:
        problem: what was wrong, in one sentence.
        found: what was found instead, if that helps.
        accepted: what would have been accepted.
        next_step: what the user should do.
    """

    exit_status = 1

    def __init__(
        self, problem: str, *, found: object = None, accepted: str | None = None, next_step: str | None = None
    ):
        self.problem = problem
        lines = [problem]
        for label, value in (("found", found), ("accepted", accepted), ("next", next_step)):
            if value is not None:
                lines.append(f"  {label}: {' '.join(str(value).split())}")
        super().__init__("\n".join(lines))


class InputError(EmotionCircuitsError):
    """Input that cannot be used: usage, files, model names, layers, doses. Exit status 2."""

    exit_status = 2


class WriteError(InputError):
    """A file that cannot be written. Exit status 2, or 1 where the disk is full."""


class MeasurementError(EmotionCircuitsError):
    """A computation that would give a meaningless number (NaN, no variance, a hook that never fired). Exit status 1."""
