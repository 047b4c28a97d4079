"""The command line: parse, call the library, print. No science here."""

from emotion_circuits.cli._app import main

__all__ = ["main"]
