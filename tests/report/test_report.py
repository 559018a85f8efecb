"""The files of a report: complete, the same every time, and safe with any text."""

import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from pipeline.evaluation.results import EvaluationResults
from pipeline.graph import deciding_modules
from pipeline.report.report import PLOTS, write_plots
from pipeline.report.tables import comparison
from pipeline.stages import report as stage
from tests.conftest import PROJECT
from tests.support.made_up import evaluation, report, rewrites, several

HOSTILE = ["<script>alert(1)</script>", "a|b", "$\\frac{", "`x` *y* [z](u)", "a\nb", "\ud800", "漢\u202e字", '"=1+1"']


@pytest.mark.usefixtures("warnings_are_errors")
def test_every_figure_is_drawn_the_same_every_time(tmp_path: Path) -> None:
    made = evaluation(several(("supervised", "two_stage", "tandem"), HOSTILE * 4), noise=rewrites("a", *HOSTILE[:4]))
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write_plots(made, folder)
    assert {path.stem for path in (tmp_path / "a").iterdir()} == set(PLOTS)
    for path in (tmp_path / "a").iterdir():
        assert imread(path).std() > 0
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


@pytest.mark.usefixtures("warnings_are_errors")
def test_a_single_run_without_history_and_many_strategies_fit(tmp_path: Path) -> None:
    write_plots(evaluation(several(("supervised",), ["a"], history=False)[:1]), tmp_path)
    write_plots(evaluation(several(tuple(f"strategy {n}" for n in range(12)), HOSTILE)), tmp_path)


def test_the_names_of_strategies_stay_text_in_the_comparison() -> None:
    metrics = report(several(("$a_{$", "x|y<b>", "tandem", "漢字"), HOSTILE * 3)).metrics
    text = comparison(metrics)
    assert "<b>" not in text
    rows = [line for line in text.splitlines() if line.startswith("| x")]
    assert len(rows) == 4
    assert all(re.findall(r"(?<!\\)\|", row) for row in rows)


def test_the_stage_draws_from_the_files_of_the_evaluation_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    evaluation(several(("two_stage", "tandem"), ["x", "y", "NA", "007", *map(str, range(16))])).save()
    (tmp_path / "reports/prepare.json").write_text('{"pairs": 9, "targets": 99, "dev": 7, "test": 20}', "utf-8")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    stage.main()
    made = {path.name for path in (tmp_path / "reports").iterdir() if path.is_file()} - {path.name for path in before}
    assert made == {"index.html", "comparison.md", *(f"{name}.png" for name in PLOTS)}
    assert {path: path.read_bytes() for path in before} == before
    assert capsys.readouterr().out.startswith("On 20 test items and 2 seeds, tandem ")
    page = (tmp_path / "reports/index.html").read_text(encoding="utf-8")
    assert ">007</bdi>" in page
    assert ">NA</bdi>" in page
    assert EvaluationResults.load().metrics["verdict"]["focus"] == "tandem"


def test_no_module_of_the_report_decides_an_evaluation() -> None:
    assert not [path for path in deciding_modules("pipeline.stages.evaluate") if "report" in path.parts]
