"""The command line: what it prints, and what it says to a mistake."""

import gzip
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.options import Symbols
from pipeline.data.prepared import PREPARED
from pipeline.errors import UserError
from pipeline.prediction.sources import targets_among
from pipeline.reranking.features import TO_PREDICT
from pipeline.runs.groups import RERANKERS
from tests.conftest import PROJECT, Call, Called
from tests.support.small_project import make_project

HEADER = "source\trank\tprediction\tlog_probability\tconfidence\tunknown"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with trained runs alone."""
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    for left in (RERANKERS, TO_PREDICT, PREPARED):
        shutil.rmtree(folder / left)
    return folder


@pytest.fixture
def whole_project(tmp_path: Path) -> Path:
    """The same with features and with rerankers that trust the pairs before the model: F AO is for."""
    make_project(tmp_path)
    return tmp_path


def tandem(folder: Path, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a call in a process of its own."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def call(call: Call, project: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The same in this process, which has tensorflow loaded."""

    def called(*arguments: str, folder: Path = project) -> Called:
        monkeypatch.chdir(folder)
        return call(*arguments)

    return called


def test_predict_takes_arguments_a_file_or_standard_input_alike(project: Path, tmp_path: Path, call: Call) -> None:
    (tmp_path / "sources.txt").write_text("\ufeffF AO\r\nK\r\n", encoding="utf-8")
    (tmp_path / "sources.txt.gz").write_bytes(gzip.compress(b"F AO\nK\n"))
    answers = [
        call("predict", "F AO", "K"),
        call("predict", "--input", str(tmp_path / "sources.txt")),
        call("predict", "--input", str(tmp_path / "sources.txt.gz")),
        tandem(project, "predict", stdin=b"F AO\nK"),
    ]
    assert {code for code, _, _ in answers} == {0}
    assert len({output for _, output, _ in answers}) == 1
    lines = [line.split("\t") for line in answers[0][1].splitlines()]
    assert [line[0] for line in lines] == ["source", "F AO", "K"]


def test_without_a_seed_the_one_with_the_best_dev_accuracy_answers(call: Call) -> None:
    default, zero, one = (call("predict", "F AO", *seed)[1] for seed in ([], ["--seed=0"], ["--seed=1"]))
    assert default == zero != one


def test_without_a_strategy_tandem_answers_or_else_the_one_with_the_best_dev_accuracy(
    whole_project: Path, call: Call
) -> None:
    default, tandem, supervised = (
        call("predict", "F", "--order=beam", *strategy, folder=whole_project)[1]
        for strategy in ([], ["--strategy=tandem"], ["--strategy=supervised"])
    )
    assert default == tandem != supervised
    shutil.rmtree(whole_project / "models" / "tandem")
    assert call("predict", "F", "--order=beam", folder=whole_project)[1] == supervised


def test_an_unseen_symbol_is_an_unknown_and_not_a_crash(call: Call) -> None:
    code, output, _ = call("predict", "F ZH \N{CAT FACE}")
    assert code == 0
    assert output.splitlines()[1].startswith("F ZH \N{CAT FACE}\t1\t")


def predictions(output: str) -> list[str]:
    return [line.split("\t")[2] for line in output.splitlines()[1:]]


def test_predictions_are_reranked_where_the_last_repro_left_what_it_takes(whole_project: Path, call: Call) -> None:
    for which in ([], ["--seed=0"], ["--ensemble"]):
        code, output, error = call("predict", "F AO", "--n-best=3", *which, folder=whole_project)
        assert (code, error) == (0, "")
        assert predictions(output)[0] == "for"  # which the untrained model would not write
        header, *rows = [line.split("\t") for line in output.splitlines()]
        assert "\t".join(header) == HEADER
        assert [row[1] for row in rows] == ["1", "2", "3"]
        assert float(rows[0][4]) > 0.99 > 0.01 > float(rows[1][4])


def test_an_alignment_names_the_source_symbols_of_each_symbol(whole_project: Path, call: Call) -> None:
    code, output, error = call("predict", " F   AO ", "--alignment", "--n-best=2", folder=whole_project)
    assert (code, error) == (0, "")
    header, first, *_ = [line.split("\t") for line in output.splitlines()]
    assert header == [*HEADER.split("\t"), "alignment"]
    assert (first[2], first[-1]) == ("for", "f=F o=AO r=")


def test_an_alignment_takes_no_reranker_and_no_bundle_but_the_prepared_data(
    whole_project: Path, call: Call, tmp_path: Path
) -> None:
    expected = call("predict", "F AO", "--alignment", "--order=greedy", folder=whole_project)
    assert expected.code == 0
    shutil.rmtree(whole_project / RERANKERS)
    shutil.rmtree(whole_project / TO_PREDICT)
    assert call("predict", "F AO", "--alignment", "--order=greedy", folder=whole_project) == expected
    shutil.rmtree(whole_project / PREPARED)
    code, output, error = call("predict", "F AO", "--alignment", "--order=greedy", folder=whole_project)
    assert (code, output) == (2, "")
    assert error.startswith("error: data/prepared is missing or damaged")
    assert call("predict", "F AO", "--order=greedy", folder=whole_project).code == 0


def test_a_first_prediction_that_is_less_sure_is_left_empty_or_is_the_source(whole_project: Path, call: Call) -> None:
    asked = ("predict", "F AO", "K AO F", "--n-best=2")
    before = [line.split("\t") for line in call(*asked, folder=whole_project).output.splitlines()]
    threshold = (float(before[1][4]) + float(before[3][4])) / 2
    assert (before[1][2], float(before[3][4]) < threshold) == ("for", True)
    for option, expected, said in (((), "", "left empty"), (("--else=copy",), "K AO F", "copied")):
        code, output, error = call(*asked, f"--at-least={threshold}", *option, folder=whole_project)
        assert code == 0
        rows = [line.split("\t") for line in output.splitlines()]
        assert rows == [*before[:3], [*before[3][:2], expected, *before[3][3:]], *before[4:]]
        reason = f"the confidence of their first prediction is below {threshold:g}"
        assert error == f"1 of 2 sources (50.0%) are {said}: {reason}\n"


def test_what_else_to_do_needs_a_threshold_and_that_is_a_probability(call: Call) -> None:
    code, _, error = call("predict", "F", "--else=copy")
    assert code == 2
    assert error == "error: --else is for predictions that are less sure than --at-least: give that as well\n"
    assert call("predict", "F", "--at-least=1.5").code == 2


def test_another_order_can_be_asked_for(whole_project: Path, call: Call) -> None:
    by_default, greedy, beam = (
        call("predict", "F AO", *order, folder=whole_project)[1] for order in ([], ["--order=greedy"], ["--order=beam"])
    )
    assert "for" in predictions(by_default)
    assert "for" not in predictions(greedy) + predictions(beam)


def test_greedy_decoding_has_no_further_predictions(whole_project: Path, call: Call) -> None:
    for option in ("--n-best=3", "--beam-width=3", "--beam=3"):
        code, output, error = call("predict", "F AO", option, "--order=greedy", folder=whole_project)
        assert (code, output) == (2, "")
        assert "is 3, but order greedy writes one hypothesis for each source: ask for order beam" in error


def test_without_rerankers_predictions_are_ranked_by_the_models_scores_with_a_warning(
    project: Path, call: Call
) -> None:
    code, output, error = call("predict", "F AO")
    assert code == 0
    assert output == call("predict", "F AO", "--order=beam")[1]
    reason = "predictions are ranked by the model's scores, not reranked: models/rerank/tandem/metadata.json"
    assert error.startswith(f"warning: {reason}")
    assert len(error.splitlines()) == 1


def test_rerankers_for_other_networks_are_not_used(whole_project: Path, call: Call) -> None:
    run = whole_project / "models" / "tandem" / "0" / "run.json"
    run.write_text(run.read_text(encoding="utf-8").replace('"content": "', '"content": "f'), encoding="utf-8")
    code, _, error = call("predict", "F AO", folder=whole_project)
    assert code == 0
    assert "models/rerank/tandem was fitted with other networks than those in models" in error


@pytest.mark.parametrize("into_files", [False, True])
def test_a_run_whose_reranker_is_missing_predicts_by_its_scores_with_a_warning(
    whole_project: Path, tmp_path: Path, call: Call, into_files: bool
) -> None:
    reranker = RERANKERS / "tandem" / "0.json"
    (whole_project / reranker).unlink()
    (tmp_path / "sources.txt").write_text("F AO\n", encoding="utf-8")
    files = ["--input", str(tmp_path / "sources.txt"), "--output", str(tmp_path / "out")]
    code, _, error = call("predict", *(files if into_files else ["F AO"]), folder=whole_project)
    assert code == 0
    assert error.startswith(f"warning: predictions are ranked by the model's scores, not reranked: {reranker}")
    code, output, error = call("predict", "F AO", "--order=rerank", folder=whole_project)
    assert (code, output) == (2, "")
    assert str(reranker) in error


def test_an_ensemble_without_rerankers_has_all_seeds(call: Call) -> None:
    outputs = [call("predict", "F AO", "--order=greedy", which)[1] for which in ("--ensemble", "--seed=0", "--seed=1")]
    assert len(set(outputs)) == 3


def test_a_report_of_another_version_is_told(tmp_path: Path, call: Call) -> None:
    (tmp_path / "reports" / "evaluation").mkdir(parents=True)
    (tmp_path / "reports" / "evaluation" / "metrics.json").write_text('{"tandem": {}}', encoding="utf-8")
    code, output, error = call("compare", folder=tmp_path)
    assert (code, output) == (2, "")
    assert "reports/evaluation/metrics.json is not a comparison by this version: run `dvc repro`" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "F AO", "--seed", "7"], "no run of strategy 'tandem' with seed 7 in models (trained: 0, 1)"),
        (
            ["predict", "F AO", "--strategy", "magic"],
            "no trained run of strategy 'magic' in models (trained: supervised, tandem)",
        ),
        (["predict", " ", "a\tb"], "none of 2 sources can be used: source 1 is empty"),
        (["predict", "F AO", "--column", "x"], "--column names a column of --input"),
        (["predict", "F\tAO"], "source 1, 'F\\tAO', has a tab"),
        (["predict", "F AO", "--input", "x"], "not both"),
        (["predict", "F AO", "--seed", "0", "--ensemble"], "give --seed or --ensemble, not both"),
        (["predict", "F AO", "--order", "rerank"], "models/rerank/tandem/metadata.json cannot be used (No such file"),
        (["predict", "--input", "missing.txt"], "--input missing.txt matches no file"),
        (["compare"], "no comparison in reports/evaluation/metrics.json"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(call: Call, arguments: list[str], message: str) -> None:
    code, output, error = call(*arguments)
    assert (code, output) == (2, "")
    assert message in error
    assert "Traceback" not in error


SPELLINGS = ("F AO", " F AO ", "F  AO", "F\u00a0AO", "F AO\n", "\u3000F \u2009 AO")


def test_white_space_around_and_between_symbols_decides_nothing(whole_project: Path, call: Call) -> None:
    for arguments in (["predict"], ["predict", "--order=greedy"]):
        rows = [
            row.split("\t")[1:] for row in call(*arguments, *SPELLINGS, folder=whole_project).output.split("\n")[1:-1]
        ]
        assert rows == [rows[0]] * len(SPELLINGS)


def test_unknown_symbols_are_named_and_lower_the_confidence(whole_project: Path, call: Call) -> None:
    code, output, error = call("predict", "F AO", "F AO1 R \u200b", "ZH", folder=whole_project)
    header, *rows = (line.split("\t") for line in output.splitlines())
    assert (code, header[-1]) == (0, "unknown")
    assert [row[-1] for row in rows] == ["", "AO1 U+200B", "ZH"]
    assert [float(row[4]) for row in rows][2] == 0.0 < float(rows[1][4]) < float(rows[0][4])
    assert "source 2, 'F AO1 R \\u200b', has symbols that training never saw, AO1 U+200B\n" in error
    assert "source 3, 'ZH', has symbols that training never saw, ZH\n" in error


@pytest.mark.parametrize(
    ("source", "meant"), [("f ao", "F AO"), ("FAORK", None), ("FK", "F K"), ("\uff26", "F"), ("K Z f", "K Z F")]
)
def test_another_case_width_or_spacing_is_named(call: Call, source: str, meant: str | None) -> None:
    error = call("predict", source).error
    assert "has symbols that training never saw" in error
    assert (f"do you mean '{meant}'?" in error) is (meant is not None)


def test_a_missing_list_to_choose_from_is_named_without_advice_for_prepare() -> None:
    with pytest.raises(UserError, match=r"^--among data/raw/none\.txt does not exist: correct it$"):
        targets_among(Path("data/raw/none.txt"), Symbols.CHARACTERS)


def test_a_bad_line_is_named_and_left_out_and_blank_ones_are_counted(project: Path) -> None:
    code, output, error = tandem(project, "predict", stdin=b"F AO\n\n\xff\n \t\nF\tK\nK\n")
    assert code == 0
    assert [line.split("\t")[0] for line in output.splitlines()] == ["source", "F AO", "K"]
    assert "2 blank lines were skipped" in error
    assert "standard input, line 3, '\ufffd', is not UTF-8 at its byte 1, so it is left out" in error
    assert "standard input, line 5, 'F\\tK', has a tab, line break or NUL in it, so it is left out" in error


def test_of_many_bad_lines_some_are_named_and_the_rest_is_counted(project: Path, tmp_path: Path, call: Call) -> None:
    (tmp_path / "sources").write_bytes(b"F AO\n" + b"F\tAO\n" * 99)
    code, output, error = call("predict", "--input", str(tmp_path / "sources"))
    assert (code, len(output.splitlines()), error.count("has a tab")) == (0, 2, 10)
    assert "89 more sources are left out" in error


def test_an_input_without_sources_is_an_answer_without_rows(project: Path) -> None:
    code, output, error = tandem(project, "predict", stdin=b"\n\n")
    assert (code, output.splitlines()) == (0, [HEADER])
    assert error.startswith("2 blank lines were skipped\n")


def test_columns_of_tables_are_read_without_output_too(tmp_path: Path, call: Call) -> None:
    pq.write_table(pa.table({"id": [1, 2], "source": ["F AO", "K"]}), tmp_path / "table.parquet")
    (tmp_path / "table.TSV.xz").write_bytes(lzma.compress(b"id\twords\n1\tF AO\n2\tK\n"))
    expected = call("predict", "F AO", "K")
    assert call("predict", "--input", str(tmp_path / "table.parquet")) == expected
    assert call("predict", "--input", str(tmp_path / "table.TSV.xz"), "--column", "words") == expected
    missing = call("predict", "--input", str(tmp_path / "table.parquet"), "--column", "words")
    assert "has no column 'words' (it has id, source)" in missing.error
