"""Models shared by the rooms that run forward passes. They are read only: a test that spoils one loads its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from emotion_circuits.engine import load_verified
from emotion_circuits.models import LoadedModel, load
from tiny_models import CONTRASTING, VARIANTS, Variant, save_tiny
from tiny_tokenizers import STYLES, save_tokenizer

# How long an example takes says something of the machine, not of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


FIRST = ("study/test_killed_study.py", "analyses/", "study/", "selftest/")
"""What takes longest begins, so that no worker is left with it at the end; the first two do not wait for each other."""


QUICK = ("api", "directions", "engine", "scoring", "statistics")
"""Rooms of a quick run."""

EXACT = ("engine", "models")
"""Rooms where an architecture is known and proven: their tests run on every family. The rooms above see sites, heads
and units only, so there those run that differ most; FULL_BATTERY=1 runs every family everywhere."""

ABOVE = (*CONTRASTING, "gpt2")
"""Families of the rooms above: the two that differ most, and the one that holds its weights transposed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="Some rooms only, and two families of models instead of all.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    names = {item: item.path.relative_to(here).as_posix() for item in items}
    items.sort(key=lambda item: next((i for i, name in enumerate(FIRST) if names[item].startswith(name)), len(FIRST)))
    rooms = {item: names[item].partition("/")[0] for item in items}
    if config.getoption("quick"):
        chosen = [item for item in items if rooms[item] in QUICK and not of_another_family(item, CONTRASTING)]
    else:
        everything = bool(os.environ.get("FULL_BATTERY"))
        chosen = [item for item in items if everything or rooms[item] in EXACT or not of_another_family(item, ABOVE)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


def of_another_family(item: pytest.Item, some: tuple[str, ...]) -> bool:
    """Whether a test runs over every family, and this is none of some."""
    variant = (
        item.callspec.params.get("lm") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
    )
    return isinstance(variant, Variant) and variant.name not in some


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """One thread for each worker and whatever it starts: on tiny models more of them only wait for each other, and
    where workers share the cores that takes several times the time."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before every test and its fixtures: what asks for more threads leaves them to all that comes after it."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Variant], Path]:
    """A variant's folder, written once."""

    @cache
    def folder(name: str) -> Path:
        [variant] = [v for v in VARIANTS if v.name == name]
        return save_tiny(variant, tmp_path_factory.mktemp(name.replace(" ", "-")))

    return lambda variant: folder(variant.name)


@pytest.fixture(scope="session")
def verified(tiny_folder: Callable[[Variant], Path]) -> Callable[[Variant, bool], LoadedModel]:
    """A variant as `load_verified` gives it, loaded once: a parametrised fixture is made again in every file."""

    @cache
    def loaded(folder: Path, bos: bool) -> LoadedModel:
        return load_verified(str(folder), bos=bos)

    return lambda variant, bos: loaded(tiny_folder(variant), bos)


@pytest.fixture(scope="session", params=VARIANTS, ids=lambda variant: variant.name)
def lm(request: pytest.FixtureRequest, verified: Callable[[Variant, bool], LoadedModel]) -> LoadedModel:
    """Every family in turn; a new one joins by its place in `families()`."""
    return verified(request.param, False)


@pytest.fixture(
    scope="session", params=[v for v in VARIANTS if v.name in CONTRASTING], ids=lambda variant: variant.name
)
def contrasting(request: pytest.FixtureRequest, verified: Callable[[Variant, bool], LoadedModel]) -> LoadedModel:
    """The families that differ most, for what does not depend on the family."""
    return verified(request.param, False)


@pytest.fixture(scope="session")
def llama_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny Llama's folder with a tokenizer of a style, written once."""
    [llama] = [v for v in VARIANTS if v.name == "llama"]
    base = save_tiny(llama, tmp_path_factory.mktemp("llama"))
    return cache(lambda style: save_tokenizer(style, Path(shutil.copytree(base, base.with_name(f"llama-{style}")))))


@pytest.fixture(scope="session", params=STYLES)
def style(request: pytest.FixtureRequest) -> str:
    """Every layout of tokenizer in turn."""
    return str(request.param)


@cache
def _styled(folder: Path) -> tuple[LoadedModel, PreTrainedTokenizerBase]:
    return load(str(folder)), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def styled(style: str, llama_with: Callable[[str], Path]) -> LoadedModel:
    """The tiny Llama with a tokenizer of that layout, as `load` gives it."""
    return _styled(llama_with(style))[0]


@pytest.fixture(scope="session")
def plain(style: str, llama_with: Callable[[str], Path]) -> PreTrainedTokenizerBase:
    """The same tokenizer as transformers gives it."""
    return _styled(llama_with(style))[1]


@pytest.fixture(scope="session")
def tiny_gpt2_lm(verified: Callable[[Variant, bool], LoadedModel]) -> LoadedModel:
    return verified(VARIANTS[0], True)


@pytest.fixture(scope="session")
def reference() -> Callable[[str], LoadedModel]:
    """A reference model by its short name, loaded once."""
    return cache(lambda name: load_verified(f"reference/{name}"))
