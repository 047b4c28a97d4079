from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fresh_process import environment

from emotion_circuits.cli._app import COMMANDS, build_app
from emotion_circuits.cli._errors import EARLIER_NAMES


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("input", 2, "No such layer.\n  found: 99\n  accepted: 0 to 7\n  next: choose another\n"),
        ("failure", 1, "The hook never fired.\n"),
        ("interrupt", 130, "Interrupted. Files that were finished are kept; nothing half-written remains.\n"),
        ("interrupt-kept", 130, "Interrupted. Finished stages are in results/baseline.\n"),
        ("bug", 1, "Unexpected error, ValueError: first line\n  next: run again with --debug for a traceback\n"),
        ("pipe", 141, ""),
        ("memory", 1, "Out of memory.\n  next: a smaller --batch-tokens, a smaller model, or --dtype bfloat16\n"),
        ("os", 2, "Cannot use no-such-folder/file: No such file or directory.\n"),
        ("long", 2, "one\ntwo\nthree\nfour\n"),
        ("seven", 7, ""),
    ],
)
def test_how_each_end_is_told(run, how, status, said):
    outcome = run("fail", how)
    assert (outcome.status, outcome.err) == (status, said)


@pytest.mark.parametrize("argv", [("--debug", "fail", "bug"), ("fail", "--debug", "bug"), ("fail", "bug", "--debug")])
def test_debug_anywhere_shows_the_traceback_before_the_message(run, argv):
    outcome = run(*argv)
    assert outcome.status == 1
    assert outcome.err.startswith("Traceback")
    assert outcome.error_lines[-2].startswith("Unexpected error, ValueError")


def test_debug_after_the_end_of_options_is_an_argument(run):
    outcome = run("fail", "--", "--debug")
    assert outcome.status == 2
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("argv", "suggested"),
    [
        (("promts",), "emotion-circuits prompts?"),
        (("prompts", "biuld"), "emotion-circuits prompts build?"),
        (("verify",), "emotion-circuits models verify?"),
        (("build_dataset",), "emotion-circuits prompts build?"),
        (("promts", "--help"), "emotion-circuits prompts?"),
        (("models", "verify", "x", "--divice", "cpu"), "--device?"),
        (("prompts", "build", "--DATA_DIR", "x"), "--data-dir?"),
        (("models", "verify", "x", "--dtype", "float23"), '"float32"?'),
    ],
)
def test_what_is_mistyped_gets_the_nearest_match(run, argv, suggested):
    outcome = run(*argv)
    assert outcome.status == 2
    assert outcome.out == ""
    assert f"Did you mean {suggested}" in outcome.err
    assert len(outcome.error_lines) <= 4


@pytest.mark.parametrize("argv", [("xyzzy",), ("prompts", "xyzzy")])
def test_without_a_near_match_the_commands_are_listed(run, argv):
    outcome = run(*argv)
    assert outcome.status == 2
    assert "Did you mean" not in outcome.err
    assert "accepted:" in outcome.err and "prompts" in outcome.err


@pytest.mark.parametrize("argv", [("--xyzzy",), ("--json", "models", "list"), ("-x",), ("-5",)])
def test_an_option_before_the_command(run, argv):
    outcome = run(*argv)
    assert outcome.status == 2
    assert outcome.error_lines[0] == f'Unknown option "{argv[0]}".'


def test_no_error_wears_a_box(run):
    for argv in (("xyzzy",), ("models", "get"), ("fail", "input"), ("models", "verify", "x", "--dtype", "y")):
        assert not set(run(*argv).err) & set("╭─╮│╰╯+|")


def test_the_earlier_names_lead_to_commands():
    """Every target that exists now is spelt as it is registered; the others must at least be unambiguous."""
    app = build_app()
    for target in EARLIER_NAMES.values():
        group, *rest = target.split()
        if group in COMMANDS:
            assert not rest or rest[0] in app[group]


@pytest.mark.parametrize("argv", [("--help",), ("prompts", "show"), ("prompts", "show", "--kind", "generic", "--json")])
def test_a_reader_that_goes_away_is_no_error(argv):
    """A real pipe: everything in it is written after its reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "emotion_circuits", *argv],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("argv", [("prompts", "validate"), ("study",)])
def test_a_device_that_never_ends_is_not_read(run, argv):
    outcome = run(*argv, "/dev/full")
    assert outcome.status == 2
    assert outcome.error_lines[1] == "  found: it is a device, not a file"
