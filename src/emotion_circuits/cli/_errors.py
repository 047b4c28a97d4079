"""What the command line says when something fails, and with which exit status."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Sequence
from typing import NamedTuple

from cyclopts import App, CycloptsError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from emotion_circuits.cli._output import visible
from emotion_circuits.errors import EmotionCircuitsError, InputError

PROGRAM = "emotion-circuits"
FAILURE, BAD_INPUT, INTERRUPTED, BROKEN_PIPE, TERMINATED = 1, 2, 130, 141, 143
MAX_LINES = 4

_KEPT = "Files that were finished are kept; nothing half-written remains."
_USERS_PATH = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
    errno.ELOOP, errno.ENXIO,
}  # fmt: skip

# The modules of the project that came before, and which command does their work now.
EARLIER_NAMES = {
    "create_emotion_dataset": "prompts build",
    "create_individual_prompt_files": "prompts build",
    "build_dataset": "prompts build",
    "validate_dataset": "prompts validate",
    "extract_activations": "extract",
    "activation_patching": "sweep",
    "activation_patching_sweep": "sweep",
    "activation_patching_random": "sweep",
    "activation_patching_iterative": "generate",
    "activation_patching_swap": "swap",
    "head_screening": "heads screen",
    "head_ablation": "heads ablate",
    "head_patching": "heads patch",
    "emotion_vectors": "vectors",
    "emotion_vectors_token_based": "vectors",
    "emotion_subspace": "subspace",
    "subspace_k_sweep": "k-sweep",
    "cross_model_analysis": "compare",
    "cross_model_token_based": "compare",
    "cross_model_subspace": "compare",
    "model_alignment": "align",
    "subspace_alignment": "align",
    "compare_patching_methods": "compare-methods",
    "random_vs_emotion_effect": "compare-methods",
    "sentiment_eval": "evaluate",
    "emotion_plots": "plot",
    "patching_heatmaps": "plot",
    "sentiment_plots": "plot",
    "alignment_plots": "plot",
    "layer_subspace_plots": "plot",
    "head_plots": "plot",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM, as schedulers and containers send it: everything that an interrupt tidies up is tidied up."""


class Explanation(NamedTuple):
    """One to four lines for stderr, and the exit status."""

    text: str
    exit_status: int


def check_arguments(tokens: Sequence[str]) -> None:
    """Raise `InputError` for an argument whose bytes are no text: such a text has no tokens, such a name no JSON."""
    for token in tokens:
        if "\0" in token or (not token.isascii() and any(0xD800 <= ord(sign) < 0xE000 for sign in token)):
            shown = token.encode("utf-8", "backslashreplace").decode()
            raise InputError("An argument is not UTF-8 text.", found=_short(shown, 80), next_step="rename or retype it")


def explain(error: BaseException) -> Explanation:
    """Put any exception that ended a command into a few lines."""
    text, status = _explain(error)
    lines = [visible(line.rstrip()) for line in text.split("\n") if line.strip()]
    return Explanation("\n".join(lines[:MAX_LINES]), status)


def _explain(error: BaseException) -> Explanation:
    if isinstance(error, EmotionCircuitsError):
        return Explanation(str(error), error.exit_status)
    if isinstance(error, CycloptsError):
        return Explanation(_usage(error), BAD_INPUT)
    if isinstance(error, KeyboardInterrupt):
        what, status = ("Terminated", TERMINATED) if isinstance(error, Terminated) else ("Interrupted", INTERRUPTED)
        return Explanation(f"{what}. {' '.join(getattr(error, '__notes__', [])) or _KEPT}", status)
    if isinstance(error, OSError) and error.filename is not None:
        status = BAD_INPUT if error.errno in _USERS_PATH else FAILURE
        return Explanation(f"Cannot use {error.filename}: {error.strerror or type(error).__name__}.", status)
    if isinstance(error, OSError) and error.errno is not None:  # nothing has a name here but the standard streams
        return Explanation(f"Cannot write the result: {error.strerror}.", FAILURE)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, without importing torch
        return Explanation(
            "Out of memory.\n  next: a smaller --batch-tokens, a smaller model, or --dtype bfloat16", FAILURE
        )
    reason = _short(str(error).strip().splitlines()[0] if str(error).strip() else "no message")
    return Explanation(
        f"Unexpected error, {type(error).__name__}: {reason}\n  next: run again with --debug for a traceback", FAILURE
    )


def _short(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else text[: limit - 2] + " …"


def _usage(error: CycloptsError) -> str:
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        return _unknown_command(error, error.unused_tokens[0])
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        problem = f'Unexpected argument "{_short(error.unused_tokens[0], 80)}".'
    else:
        problem = _short(" ".join(str(error).split()))
        if isinstance(error, UnknownOptionError) and "Did you mean" not in problem:
            problem += _nearest_option(error)
    return f"{problem}\n  next: {_command(error)} --help"


def _command(error: CycloptsError) -> str:
    return " ".join((PROGRAM, *(error.command_chain or ())))


def _nearest_option(error: UnknownOptionError) -> str:
    """cyclopts compares spellings as they are; `--DATA_DIR` is meant for `--data-dir` all the same."""
    given = (error.token.keyword or error.token.value).lower().replace("_", "-").split("=")[0]
    names = [name for argument in error.argument_collection if argument.parse for name in argument.names]
    nearest = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    return f" Did you mean {nearest[0]}?" if nearest else ""


def _unknown_command(error: UnknownCommandError, token: str) -> str:
    kind = "option" if token.startswith("-") else "command"
    problem = f'Unknown {kind} "{_short(token, 80)}".'
    app = error.app
    if app is None:
        return problem
    chain = tuple(error.command_chain or ())
    here = [" ".join((*chain, name)) for name in command_names(app)]
    if kind == "command" and (meant := _meant(token, app, chain)):
        return f"{problem} Did you mean {PROGRAM} {meant}?\n  accepted: {', '.join(here)}"
    if kind == "option":
        return f"{problem}\n  accepted: options stand after the command\n  next: {_command(error)} --help"
    return f"{problem}\n  accepted: {', '.join(here)}\n  next: {_command(error)} --help"


def _meant(token: str, app: App, chain: tuple[str, ...]) -> str | None:
    token = token.lower().replace("_", "-")
    paths = {" ".join((*chain, *path)): path for path in command_paths(app)}
    earlier = {name.replace("_", "-"): command for name, command in EARLIER_NAMES.items() if command in paths}
    if token in earlier:
        return earlier[token]
    by_name: dict[str, str] = {}
    for full, path in paths.items():
        by_name.setdefault(path[-1], full)
    nearest = difflib.get_close_matches(token, [*by_name, *earlier], n=1, cutoff=0.6)
    return (by_name | earlier)[nearest[0]] if nearest else None


def command_names(app: App) -> list[str]:
    """The visible commands of an app, in the order of its help."""
    return [name for name in app.resolved_commands() if not name.startswith("-") and app[name].show]


def command_paths(app: App) -> list[tuple[str, ...]]:
    """Every command under an app, groups included, as tuples of names."""
    paths: list[tuple[str, ...]] = []
    for name in command_names(app):
        paths.append((name,))
        paths += [(name, *rest) for rest in command_paths(app[name])]
    return paths
