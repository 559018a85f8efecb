"""The docs name what exists: pages, sections, parameters with their defaults, tests."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.config.params import Params, Strategy, flatten, load_params
from tests.conftest import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "data/raw/README.md", *sorted((PROJECT / "docs").glob("*.md"))]
SECTIONS = {field.name for field in fields(Params)} - {"strategies"}
MADE_LATER = "docs/pictures/"  # by benchmarks.pictures


def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_every_link_leads_to_a_file_or_a_section(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        file, _, section = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.relative_to(PROJECT).as_posix().startswith(MADE_LATER):
            assert target.exists(), link
        assert not section or section in sections(target), link


def test_the_readme_has_at_most_150_lines() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_readme_and_results_have_the_same_verdict() -> None:
    texts = [(PROJECT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/results.md")]
    (first,), (second,) = (re.findall(r"^> (On .* test items and .*)$", text, re.MULTILINE) for text in texts)
    assert first == second


def test_every_parameter_is_explained_with_its_default() -> None:
    text = (PROJECT / "docs/parameters.md").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \|", text, re.MULTILINE))
    shipped = flatten(load_params(PROJECT / "params.yaml"))
    explained = {
        name: YAML(typ="safe").load(value) for name, value in defaults.items() if name.split(".")[0] in SECTIONS
    }
    assert explained == {name: value for name, value in shipped.items() if name.split(".")[0] in SECTIONS}
    assert {f"strategies.NAME.{field.name}" for field in fields(Strategy)} <= set(re.findall(r"`([\w.]+)`", text))


def test_every_test_that_is_named_exists() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    sources = {path: path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("*.py")}
    for name in set(re.findall(r"`((?:\w+/)?test_\w+)(?:\.py)?`", text)):
        is_file = PROJECT / "tests" / f"{name}.py" in sources
        assert is_file or any(f"def {name}(" in source for source in sources.values()), name
