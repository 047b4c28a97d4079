from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from shallow import shallow

from emotion_circuits.cli import main
from emotion_circuits.cli._app import COMMANDS


class Outcome(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        return self.err.splitlines()


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in this process; `attempt` and `fail` are there beside the real commands."""
    for name in ("attempt", "fail"):
        monkeypatch.setitem(COMMANDS, name, f"dummy_commands:{name}")

    def run_it(*argv: Any) -> Outcome:
        status = main([str(token) for token in argv])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run_it


MODEL = "reference/gpt2"
N_SCENARIOS = 15


@pytest.fixture(scope="session")
def one_load() -> Any:
    """`load_verified` that loads each model once, a reference model with few blocks."""
    from emotion_circuits import engine

    loaded: dict[Any, Any] = {}
    load = engine.load_verified

    def cached(name: str, **options: Any) -> Any:
        key = (name, *sorted(options.items()))
        if key not in loaded:
            loaded[key] = shallow(load(name, **options))
        return loaded[key]

    return cached


N_GENERIC = 32


@pytest.fixture(scope="session")
def shorten(one_load: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """Let commands share loaded models, and record fewer of the bundled texts."""
    from emotion_circuits import engine, prompts

    generic, implicit = prompts.generic_sample(N_GENERIC), prompts.Bank.implicit

    def few(bank: prompts.Bank) -> prompts.Dataset:
        whole = implicit(bank)
        some = set(whole.scenarios[:12])
        return prompts.Dataset(whole.name, tuple(t for t in whole if t.scenario in some))

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "load_verified", one_load)
        monkeypatch.setattr(prompts.Bank, "implicit", few)
        monkeypatch.setattr(prompts, "generic_sample", lambda n: generic)

    return patch


@pytest.fixture
def quick(shorten: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that take less time."""
    shorten(monkeypatch)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, shorten: Any) -> Path:
    """A folder with a small data set, its activations and its directions at `mean`, made by the commands."""
    from emotion_circuits import prompts

    folder = tmp_path_factory.mktemp("recorded")
    few = set(prompts.bank().profile("baseline").scenarios[:N_SCENARIOS])
    texts = [t for t in prompts.bank().profile("baseline") if t.scenario in few]
    rows = [{f: getattr(t, f) for f in ("text", "emotion", "scenario", "split", "span")} for t in texts]
    (folder / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        assert (
            main(["extract", "--model", MODEL, "--dataset", f"{folder}/set.jsonl", "--output", f"{folder}/acts"]) == 0
        )
    assert main(["vectors", "--activations_dir", f"{folder}/acts", "--output", f"{folder}/mean.pkl"]) == 0
    return folder


@pytest.fixture
def few_pairs(quick: None, one_load: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Leaves of the bundled scenarios some of each split whose texts of an emotion make pairs under the model."""
    from emotion_circuits import prompts
    from emotion_circuits.components import matched_pairs

    def leave(emotion: str, n: int) -> None:
        data = prompts.bank().profile("baseline")
        lm = one_load(MODEL, device="auto", dtype="float32", bos="auto")
        kept = {p.scenario for split in prompts.SPLITS for p in matched_pairs(lm, data, emotion, split=split).pairs[:n]}
        few = prompts.Dataset(data.name, tuple(t for t in data if t.scenario in kept))
        monkeypatch.setattr(prompts.Bank, "profile", lambda *_: few)

    return leave
