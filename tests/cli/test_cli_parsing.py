"""What cyclopts must do for the command line's contract."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion_circuits.cli._app import build_app

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def attempted(run, *argv):
    outcome = run("attempt", *argv, "--json")
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


def test_list_flags_take_several_values_and_negative_numbers(run):
    given = attempted(run, "--layers", 3, 5, 7, "--alpha", -2, -1, -0.5, 0, 0.5, 1, 2, "--seed", 3)
    assert given["layers"] == [3, 5, 7]
    assert given["alpha"] == [-2, -1, -0.5, 0, 0.5, 1, 2]
    assert given["seed"] == 3


@pytest.mark.parametrize("written", ["-.5", "-5e-1", "-0.5"])
def test_negative_numbers_in_any_notation(run, written):
    assert attempted(run, "--alpha", written, "1e0")["alpha"] == [-0.5, 1.0]


def test_a_repeated_list_flag_adds_up(run):
    assert attempted(run, "--layers", 3, "--layers", 5, 7)["layers"] == [3, 5, 7]


def test_a_list_flag_without_values_is_an_error(run):
    outcome = run("attempt", "--layers", "--json")
    assert outcome.status == 2
    assert "--layers" in outcome.err


@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_every_finite_number_reaches_the_command_unchanged(values):
    from dummy_commands import attempt

    app = build_app()
    app.command(attempt)
    _, bound, _ = app.parse_args(["attempt", "--alpha", *map(repr, values)])
    assert bound.arguments["alpha"] == tuple(values)


@pytest.mark.parametrize("written", ["--data-dir", "--data_dir", "--dataset", "--prompts-file", "--prompts_file"])
def test_names_aliases_and_underscores_are_one(run, written):
    assert attempted(run, written, "somewhere")["data_dir"] == "somewhere"


def test_underscores_are_hyphens_for_every_flag_of_every_command():
    """No command may declare a flag that tells `_` from `-`."""
    app = build_app()
    for path in all_commands(app):
        collection = resolve(app, path).assemble_argument_collection()
        for argument in collection:
            for name in argument.names:
                if name.startswith("--"):
                    assert collection.match(name.replace("-", "_").replace("__", "--", 1))[0] is argument


def test_model1_and_model2(run):
    given = attempted(run, "--model1", "a", "--model2", "b")
    assert (given["model"], given["other"]) == ("a", "b")


DEFAULTS = {"device": "auto", "dtype": "float32", "bos": "auto", "threads": None, "float32_products": "highest"}


def test_shared_options_are_flat(run):
    options = ("--device", "cpu", "--dtype", "bfloat16", "--results", "r", "--profile", "extended")
    given = attempted(run, *options, "--batch_tokens", 64)
    assert given["model_options"] == DEFAULTS | {"device": "cpu", "dtype": "bfloat16"}
    assert given["store_options"] == {"results": "r", "profile": "extended"}
    assert given["batch_tokens"] == 64


def test_shared_options_have_their_defaults(run):
    given = attempted(run)
    assert given["model_options"] == DEFAULTS
    assert given["store_options"] == {"results": "results", "profile": "baseline"}


@pytest.mark.parametrize(
    "argv",
    [
        ("--layers", "3", "x"),
        ("--layers", "-1"),
        ("--layers", "3.5"),
        ("--alpha", "1,2"),
        ("--seed", "-1"),
        ("--batch-tokens", "0"),
        ("--dtype", "float33"),
        ("--profile", "base"),
        ("--device",),
        ("--no-json",),
        ("--empty-layers",),
        ("--seed", "1", "--seed", "2"),
        ("stray",),
    ],
)
def test_what_does_not_parse_is_a_usage_error(run, argv):
    outcome = run("attempt", *argv)
    assert outcome.status == 2
    assert outcome.out == ""
    assert 1 <= len(outcome.error_lines) <= 4
    assert "emotion-circuits attempt --help" in outcome.err


def all_commands(app):
    from emotion_circuits.cli._errors import command_paths

    return [path for path in command_paths(app) if resolve(app, path).default_command]


def resolve(app, path):
    for name in path:
        app = app[name]
    return app
