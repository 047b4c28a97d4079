"""The application: which commands there are, and what surrounds each of them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from cyclopts import App, Parameter

from emotion_circuits._own_files import NAMED, run_named
from emotion_circuits.cli._analyses import analysis_commands, take_files
from emotion_circuits.cli._errors import BROKEN_PIPE, PROGRAM, Terminated, check_arguments, explain
from emotion_circuits.cli._options import whole_numbers
from emotion_circuits.cli._output import make_console
from emotion_circuits.errors import InputError

# Name on the command line → where its App is. The order is that of the help page. Modules are imported when their
# command runs, or when the help page lists them all; so they must not import a room outside a function.
COMMANDS = {
    "demo": "emotion_circuits.cli._demo:demo",
    "study": "emotion_circuits.cli._study:study",
    "report": "emotion_circuits.cli._report:report",
    "plot": "emotion_circuits.cli._report:plot",
    "prompts": "emotion_circuits.cli._prompts:app",
    "models": "emotion_circuits.cli._models:app",
    "extract": "emotion_circuits.cli._extract:extract",
    "vectors": "emotion_circuits.cli._vectors:vectors",
    "export": "emotion_circuits.cli._export:export",
    "sweep": "emotion_circuits.cli._sweep:sweep",
    "generate": "emotion_circuits.cli._generate:generate",
    "evaluate": "emotion_circuits.cli._evaluate:evaluate",
    "score": "emotion_circuits.cli._score:score",
    "subspace": "emotion_circuits.cli._compare:subspace",
    "k-sweep": "emotion_circuits.cli._compare:k_sweep",
    "compare": "emotion_circuits.cli._compare:compare",
    "align": "emotion_circuits.cli._align:align",
    "transfer": "emotion_circuits.cli._align:transfer",
    "heads": "emotion_circuits.cli._component_commands:heads",
    "units": "emotion_circuits.cli._component_commands:units",
    "app": "emotion_circuits.cli._app_command:app",
    "audit": "emotion_circuits.cli._audit:audit",
    "track": "emotion_circuits.cli._track:app",
    "selftest": "emotion_circuits.cli._selftest:selftest",
}

_HELP = """Find, compare and change how language models represent emotions.

Every number stands beside its chance level."""
_EPILOGUE = f"""--json prints machine-readable results; --debug, anywhere, shows the traceback of a failure.
--analyses FILE, before the command, runs a Python file of your own: analyses, families, aligners, scorers.

Example:
  {PROGRAM} models list"""


def build_app(analyses: Mapping[str, App] | None = None) -> App:
    """The whole command line, with its commands not imported yet; `analyses` are those of analyses,
    by default of all in the package."""
    app = App(
        name=PROGRAM,
        help=_HELP,
        help_epilogue=_EPILOGUE,
        help_format="plaintext",
        version=_version,
        config=whole_numbers,
        # A list flag takes all values that follow it, at least one; booleans and lists get no negative twin.
        default_parameter=Parameter(consume_multiple=1, negative_bool=(), negative_iterable=()),
        # Errors are ours to print.
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    app["--help"].sort_key = app["--version"].sort_key = len(COMMANDS) + 1
    for place, (name, target) in enumerate(COMMANDS.items()):
        app.command(target, name=name, sort_key=place)
    for name, command in (analysis_commands() if analyses is None else analyses).items():
        if name in COMMANDS:
            raise InputError("An analysis has the name of a command.", found=name, next_step="give it another name")
        command.sort_key = list(COMMANDS).index("sweep")
        app.command(command)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after the program's name; None takes the process's own.

    Returns:
        the exit status: 0, 1 for a failure, 2 for bad input, 130 for an interrupt, 141 for a reader that went away,
        143 for SIGTERM.
    """
    debug, tokens = _take_debug(sys.argv[1:] if argv is None else argv)
    # A terminal that lacks a sign such as × gets a question mark, not a crash.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        files, tokens = take_files(tokens)
        run_named(files)  # what they register is among the values that flags take
        NAMED.set(files)
        check_arguments(tokens)
        first = tokens[0] if tokens else None
        app = build_app({} if first in COMMANDS else analysis_commands({first or ""}, files))
        if first not in COMMANDS:
            app.resolved_commands()  # a help page or a suggestion needs the names and summaries of all
        with _terminable():
            result = app(tokens, console=make_console(), error_console=make_console(stderr=True))
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go_of_stdout()
        return BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exception(error)
        text, status = explain(error)
        sys.stderr.write(text + "\n")
        try:
            sys.stdout.flush()
        except OSError:
            _let_go_of_stdout()
        return status
    return result if isinstance(result, int) else 0


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does; a second one waits until files and locks are tidied up."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _take_debug(argv: Sequence[str]) -> tuple[bool, list[str]]:
    """Take `--debug` out wherever it stands, but leave what follows `--` alone."""
    tokens = list(argv)
    end = tokens.index("--") if "--" in tokens else len(tokens)
    kept = [token for token in tokens[:end] if token != "--debug"]
    return len(kept) < end, kept + tokens[end:]


def _let_go_of_stdout() -> None:
    # Python flushes stdout once more when it ends, and would complain about the closed pipe.
    with contextlib.suppress(OSError, ValueError):  # a stdout that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version() -> str:
    from emotion_circuits import __version__

    return f"{PROGRAM} {__version__}"
