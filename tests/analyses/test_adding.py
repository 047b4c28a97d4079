"""What users add: every block of the docs as it stands, users' files from the command line and from studies."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import emotion_circuits as ec
from emotion_circuits._own_files import run_file
from emotion_circuits.cli import main
from emotion_circuits.errors import InputError
from emotion_circuits.geometry import Ridge, aligner_named, aligners, check_aligner, forget_aligner
from emotion_circuits.models import families, forget_family
from emotion_circuits.prompts import DIRECTIONS, bank, lacking
from emotion_circuits.scoring import forget_scorer, scorers
from emotion_circuits.study import Study, keys_of, plan_study, read_study, study_from_mapping
from small_study import Small

DOCS = Path(__file__).parents[2] / "docs"
NAMES = ("pride.yaml", "few_dimensions.py", "my_family.py", "my_aligner.py", "my_scorer.py")
MODELS = ["reference/gpt2", "reference/gpt2-twin"]
ALIGNER = """import emotion_circuits as ec
@ec.register_aligner
class Mine(ec.geometry.Ridge):
    name = "mine"
"""


def blocks(page: str = "adding.md") -> dict[str, str]:
    """The files that the page shows, in its order."""
    found = re.findall(r"```(?:yaml|python)\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    return dict(zip(NAMES, found, strict=True))


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the page in the working folder; what was registered is forgotten."""
    for name, content in blocks().items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    before = {family.name for family in families()}, {kind.name for kind in aligners()}, {*scorers()}
    yield tmp_path
    monkeypatch.delenv("EMOTION_CIRCUITS_FAMILIES", raising=False)
    now = {family.name for family in families()}, {kind.name for kind in aligners()}, {*scorers()}
    for forget, old, new in zip((forget_family, forget_aligner, forget_scorer), before, now, strict=True):
        for name in new - old:
            forget(name)


def test_the_blocks_are_short_and_are_the_examples() -> None:
    assert blocks() == blocks("adding.ja.md")
    for name, content in blocks().items():
        assert len(content.splitlines()) <= 30 and content == (DOCS / "examples" / name).read_text("utf-8")


def test_an_emotion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts", "validate", "pride.yaml", "--permutations", "3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and not report["warnings"] and DIRECTIONS in report["enough_for"]
    own = bank(["gratitude", "pride.yaml"])
    assert own.emotions == ("gratitude", "pride") and DIRECTIONS not in lacking(own, "pride")


def test_an_analysis(small: Small, undisturbed: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(undisturbed, files / "results" / "baseline")
    argv = ["--analyses", "few_dimensions.py", "few-dimensions", "--model", small.model, "--draws", "99", "--json"]
    assert main(argv) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 3 and all(0 < row["chance"] < row["null_high"] < 1 for row in rows)


def test_a_family(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scope = {"__name__": "__main__"}
    exec(compile(blocks()["my_family.py"], "my_family.py", "exec"), scope)
    assert scope["lm"].family.name == "olmo2" and scope["lm"].packing  # type: ignore[attr-defined]
    forget_family("olmo2")
    assert main(["models", "verify", "./tiny-olmo2"]) == 2
    assert "--analyses FILE" in capsys.readouterr().err
    assert main(["--analyses", "my_family.py", "models", "verify", "./tiny-olmo2"]) == 0
    (files / "study.yaml").write_text("models: ./tiny-olmo2\nanalyses: my_family.py\n")
    keys = keys_of(plan_study(read_study(files / "study.yaml")))
    edited("my_family.py")
    assert not {*keys.items()} & {*keys_of(plan_study(read_study(files / "study.yaml"))).items()}


def test_an_aligner(small: Small, undisturbed: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = run_file("my_aligner.py").names["ComponentRegression"]
    assert aligners()[-1] is own is aligner_named("component-regression")
    check_aligner(own())  # as the package's own in tests/geometry
    shutil.copytree(undisturbed, files / "results" / "baseline")
    assert main(["extract", "--model", small.other]) == 0
    argv = ["align", "--model", small.model, "--model2", small.other, "--n-fit", "100", "--untrained", "1",
            "--draws", "99", "--layers", "1", "--method", "component-regression"]  # fmt: skip
    assert main([*argv, "--json"]) == 0
    assert "component-regression" in capsys.readouterr().out
    forget_aligner("component-regression")
    edited("my_aligner.py")
    assert main(argv) == 2 and "--analyses FILE" in capsys.readouterr().err


def test_a_scorer(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [("clean", "I am here."), ("steered", "I am grateful."), ("random", "I am there.")]
    own = {"prompt": "She said:", "emotion": "gratitude", "dose": 0.2, "layer": 1}
    texts = [json.dumps(own | {"arm": arm, "text": text, "sample": 0}) for arm, text in lines]
    (files / "texts.jsonl").write_text("\n".join(texts))
    argv = ["evaluate", "--input", "texts.jsonl", "--scorers", "naming", "--json"]
    assert main(argv) == 2
    assert main(["--analyses", "my_scorer.py", *argv]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {row["scorer"] for row in scores} == {"naming"}
    assert {row["arm"]: row["value"] for row in scores if row["scored"] == "gratitude"}["steered"] == 1


def edited(name: str) -> None:
    Path(name).write_text(Path(name).read_text("utf-8") + "\n# edited\n", encoding="utf-8")


def keys(**values: object) -> dict[str, str]:
    return keys_of(plan_study(study_from_mapping({"models": MODELS, **values})))


def test_a_study_file_may_name_what_its_files_register(files: Path) -> None:
    study = files / "study.yaml"
    (files / "mine.py").write_text(ALIGNER)
    study.write_text(f"models: [{', '.join(MODELS)}]\nanalyses: mine.py\nsharing: {{method: mine}}\n"
                     "methods: {scorers: [naming]}\n")  # fmt: skip
    with pytest.raises(InputError, match="no such scorer"):
        read_study(study)
    study.write_text(study.read_text().replace("mine.py", "[mine.py, my_scorer.py]"))
    before = keys_of(plan_study(read_study(study)))

    def changed() -> set[str]:
        now = keys_of(plan_study(read_study(study)))
        return {name.partition("/")[0] for name in now if now[name] != before[name]}

    edited("mine.py")
    assert changed() == {"maps", "mapped_steering", "claims", "report"}
    (files / "mine.py").write_text(ALIGNER)
    assert not changed()
    edited("my_scorer.py")
    assert changed() == {"methods", "claims", "report"}
    plain = keys(analyses=["my_scorer.py"])
    edited("my_scorer.py")
    assert keys(analyses=["my_scorer.py"]) == plain == keys(), "what nothing rests on is in no key"
    both = keys(analyses=["my_scorer.py", "few_dimensions.py"])
    edited("my_scorer.py")
    now = keys(analyses=["my_scorer.py", "few_dimensions.py"])
    assert {name.partition("/")[0] for name in now if now[name] != both[name]} == {"few-dimensions", "claims", "report"}


def test_studies_take_the_files_of_the_command_line(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run(study: Study, **_: object) -> None:
        seen.append(study)
        raise InputError("seen")

    monkeypatch.setattr("emotion_circuits.study.run_study", run)
    (files / "study.yaml").write_text("models: reference/gpt2\nanalyses: few_dimensions.py\n")
    assert main(["--analyses", "few_dimensions.py", "--analyses=my_scorer.py", "study", "study.yaml"]) == 2
    assert seen[0].analyses == (files / "few_dimensions.py", files / "my_scorer.py")
    assert [one.name for one, _ in seen[0].planned][-1] == "few-dimensions"


def test_an_edited_file_registers_anew_and_imports_do_not_clash(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "mine.py").write_text(ALIGNER)
    run_file("mine.py")
    monkeypatch.syspath_prepend(files)
    import mine

    assert aligner_named("mine") is mine.Mine, "the same file, imported"
    (files / "mine.py").write_text(ALIGNER.replace('"mine"', '"other"'))
    run_file("mine.py")
    assert [kind.name for kind in aligners()][-1] == "other" and aligner_named("other") is not mine.Mine
    with pytest.raises(InputError, match="no aligner 'mine'"):
        aligner_named("mine")
    (files / "mine.py").write_text(ALIGNER + "1 / 0\n")
    for _ in range(2):
        with pytest.raises(InputError, match="ZeroDivisionError"):
            run_file("mine.py")
    assert "mine" not in [kind.name for kind in aligners()]


def test_names_that_are_taken_and_what_is_none_of_it() -> None:
    class Mine(Ridge):
        pass

    for kind, name in ((Ridge, "there already"), (Mine, "there already"), (int, "no aligner")):
        with pytest.raises(InputError, match=name):
            ec.register_aligner(kind)  # type: ignore[type-var]
    Mine.name = "Mine here"
    with pytest.raises(InputError, match="no name"):
        ec.register_aligner(Mine)
    for own, said in (("vader", "there already"), ("hf:x", "no name"), ("", "no name")):
        with pytest.raises(InputError, match=said):
            ec.register_scorer(own, lambda setting: None)  # type: ignore[arg-type,return-value]
    ec.register_scorer("bare", lambda setting: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(InputError, match="there already"):
        ec.register_scorer("bare", int)  # type: ignore[arg-type,return-value]
    with pytest.raises(InputError, match="No such aligner was registered"):
        forget_aligner("ridge")
    assert main(["--analyses", "my_scorer.py", "--analyses", "my_scorer.py", "models", "list"]) == 0
