"""An analysis of a user's own is a command, a stage, a section and a claim, from one file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from emotion_circuits._files import read_json
from emotion_circuits.analyses import AnalysisPlan, Measures, analysis, load_analyses
from emotion_circuits.cli import main
from emotion_circuits.errors import InputError
from emotion_circuits.study import keys_of, plan_study, run_study, study_from_mapping
from emotion_circuits.study._config import keep_settings
from small_study import Small

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "lengths.py"


def test_it_is_a_stage_a_section_a_claim_and_a_command(
    small: Small, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 60
    shutil.copytree(undisturbed, tmp_path / "baseline")
    study = small.study(tmp_path, analyses=(EXAMPLE,), plans={"lengths": {"draws": 199}})
    result = run_study(study)
    assert set(result.computed) == {f"lengths/{small.slug}", "claims", "report"}
    claims = [claim for claim in result.claims if claim.question == "lengths"]
    assert [claim.emotion for claim in claims] == sorted(study.bank.emotions)
    assert all(claim.verdict and claim.p_adjusted and claim.chance and claim.ci95 for claim in claims)
    page = result.report.read_text("utf-8")
    said = read_json(tmp_path / "baseline" / "analyses" / f"lengths_{small.slug}.json")
    assert "How far does each emotion move the mean state?" in page and said["words"]["en"] in page
    assert "偶然" in said["words"]["ja"]
    assert (tmp_path / "baseline" / "plots" / small.slug / "lengths_1.png").is_file()
    assert run_study(study).computed == ()
    argv = ["--analyses", str(EXAMPLE), "lengths", "--model", small.model, "--draws", "199", "--json"]
    keep_settings(small.study(tmp_path / "beside"))
    assert main([*argv, "--results", str(tmp_path / "beside")]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["emotion"]: row["value"] for row in rows} == pytest.approx(
        {claim.emotion: claim.value for claim in claims}, rel=1e-3
    )


def test_its_settings_and_its_code_are_in_its_key(tmp_path: Path) -> None:
    file = Path(shutil.copy(EXAMPLE, tmp_path / "mine.py"))

    def keys(**plans: object) -> dict[str, str]:
        given = {"models": "reference/gpt2", "analyses": [str(file)], "plans": plans}
        return keys_of(plan_study(study_from_mapping(given)))

    before = keys()
    assert keys(lengths={"draws": 999}) == before, "the default, written out"
    other = keys(lengths={"draws": 99})
    changed = {name for name in before if before[name] != other[name]}
    assert changed == {"lengths/reference--gpt2", "claims", "report"}
    file.write_text(file.read_text() + "\n# edited\n")
    edited = keys()
    assert {name for name in before if before[name] != edited[name]} == changed


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = 1", "declares no analysis"),
        ("raise ValueError('no')", "ValueError: no"),
        ("x = (", "SyntaxError"),
        ("from emotion_circuits.analyses import analysis\n@analysis('A', question='?')\nclass A: ...", "this name"),
        ("from emotion_circuits.analyses import analysis\n@analysis('abc', question='?')\nclass A: ...", "cannot run"),
        (
            "from emotion_circuits.analyses import analysis\n@analysis('abc', question='?', needs=['x'])\nclass A:\n"
            "    def run(self, work, plan, model): ...",
            "needs what no study has",
        ),
    ],
)
def test_what_is_no_analysis_is_refused_before_anything_runs(content: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(content)
    with pytest.raises(InputError, match=said):
        load_analyses(file)
    assert main(["--analyses", str(file), "abc"]) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"analyses": ["no.py"]}, "no Python file"),
        ({"plans": {"lengths": {}}}, "not there"),
        ({"analyses": [str(EXAMPLE), str(EXAMPLE)]}, "one name"),
        ({"analyses": [str(EXAMPLE)], "plans": {"lengths": {"draws": "many"}}}, "draws cannot be used"),
        ({"analyses": [str(EXAMPLE)], "plans": {"lengths": {"draw": 3}}}, "draw cannot be used"),
    ],
)
def test_studies_refuse_what_cannot_be(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan_study(study_from_mapping({"models": "reference/gpt2", **given}))


def test_names_of_stages_and_commands_are_taken(tmp_path: Path) -> None:
    for name, said in (("quality", "name of a stage"), ("score", "")):
        text = EXAMPLE.read_text().replace('"lengths"', f'"{name}"')
        (tmp_path / "mine.py").write_text(text)
        if said:
            study = study_from_mapping({"models": "reference/gpt2", "analyses": [str(tmp_path / "mine.py")]})
            with pytest.raises(InputError, match=said):
                plan_study(study)
        assert main(["--analyses", str(tmp_path / "mine.py"), "no-such"]) == 2


def test_what_it_returns_is_checked() -> None:
    @analysis("mine", question="?")
    class Mine:
        def run(self, work: object, plan: AnalysisPlan, model: str) -> object:
            return [1]

    declared = Mine.__dict__["__analysis__"]
    with pytest.raises(InputError, match="no measures"):
        declared.run(None, AnalysisPlan(), "m")
    assert declared.words([], "ja") == "" and tuple(declared.figures([])) == () and Measures([]).claims == ()
