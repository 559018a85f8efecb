"""Trials on disk: their keys, what they share, and their results."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.params import Params
from pipeline.errors import UserError
from pipeline.runs.folders import HISTORY, TIMINGS, RunMetadata, run_folder, timings_folder
from pipeline.sweeps.trials import Place, Result, Trial, load_result, save_stop

ROWS: list[dict[str, Any]] = [
    {"step": 10, "seconds": 1.5, "dev_word_accuracy": 0.25, "dev_character_error_rate": 0.5, "loss_paired": 2.0},
    {"step": 20, "seconds": 3.0, "dev_word_accuracy": 0.125, "dev_character_error_rate": 0.75},
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "sweep")


def trial(params: Params, strategy: str = "two_stage", seed: int = 0, **changes: Any) -> Trial:
    return Trial.of(strategy, seed, {name.replace("__", "."): value for name, value in changes.items()}, params)


def test_trials_that_agree_on_their_data_share_what_is_prepared(place: Place, params: Params) -> None:
    few = trial(params, prepare__pairs=100)
    assert place.prepared(few.params) == place.prepared(trial(params, "tandem", 1, prepare__pairs=100).params)
    assert place.prepared(few.params) == place.prepared(trial(params, prepare__pairs=100, model__units=8).params)
    assert place.prepared(few.params) != place.prepared(trial(params, prepare__pairs=101).params)


def test_trials_that_agree_on_pretraining_and_seed_share_the_autoencoder(place: Place, params: Params) -> None:
    def start(trial: Trial) -> Path | None:
        return place.trial(trial.pretraining) if trial.pretraining else None

    one = start(trial(params))
    assert start(trial(params, strategies__two_stage__steps=7)) == one
    assert start(trial(params, "tandem", strategies__tandem__start="pretrained")) == one
    others: list[dict[str, Any]] = [
        {"model__units": 8},
        {"pretrain__steps": 7},
        {"noise__rate": 0.5},
        {"prepare__targets": 7},
    ]
    assert len({None, one, start(trial(params, seed=1)), *(start(trial(params, **other)) for other in others)}) == 7
    assert start(trial(params, "tandem")) is start(trial(params, "supervised")) is None


def test_the_key_of_a_trial_stands_for_all_that_it_depends_on_and_nothing_else(place: Place, params: Params) -> None:
    key = place.key(trial(params))
    for same in ("strategies.tandem.steps", "matcher.steps", "evaluate.resamples"):
        assert place.key(Trial.of("two_stage", 0, {same: 700}, params)) == key
    for other in ("strategies.two_stage.steps", "pretrain.steps", "prepare.pairs"):
        assert place.key(Trial.of("two_stage", 0, {other: 700}, params)) != key
    assert Place(place.root, "another sweep").key(trial(params)) == key


def test_other_content_of_a_raw_file_is_other_data(tmp_path: Path, params: Params) -> None:
    keys = set()
    for name, text in (("one", "a\tb\n"), ("two", "a\tc\n"), ("three", "a\tb\n")):
        raw = tmp_path / name / "data" / "raw"
        raw.mkdir(parents=True)
        (raw / "pairs.tsv").write_text(text, encoding="utf-8")
        (raw / "targets.txt").write_text("b\n", encoding="utf-8")
        own: dict[str, Any] = {
            "data__source": "files",
            "data__pairs": "data/raw/pairs.tsv",
            "data__targets": "data/raw/targets.txt",
        }
        keys.add(Place(tmp_path / name, "sweep").key(trial(params, **own, data__source_symbols="characters")))
    assert len(keys) == 2


def test_a_raw_file_that_is_missing_is_named(tmp_path: Path, params: Params) -> None:
    own: dict[str, Any] = {
        "data__source": "files",
        "data__pairs": "data/raw/gone.tsv",
        "data__targets": "data/raw/targets.txt",
    }
    with pytest.raises(UserError, match=r"gone\.tsv cannot be read"):
        Place(tmp_path, "sweep").key(trial(params, **own))


def test_a_stopped_trial_counts_with_its_best_evaluation(tmp_path: Path, params: Params) -> None:
    assert load_result(trial(params), tmp_path) is None
    save_stop(ROWS, tmp_path)
    result = load_result(trial(params), tmp_path)
    assert result
    assert (result.ending, result.best, result.rows) == ("stopped early", ROWS[0], ROWS)


def test_of_equal_accuracies_the_first_with_the_fewest_errors_is_the_best(params: Params) -> None:
    errors = [0.5, 0.25, 0.25]
    rows = [{"step": step, "dev_word_accuracy": 0.5, "dev_character_error_rate": e} for step, e in enumerate(errors)]
    assert Result("finished", rows).best["step"] == 1


def test_a_trial_that_was_stopped_and_finished_later_is_finished(tmp_path: Path, params: Params) -> None:
    save_stop(ROWS[:1], tmp_path)
    stopped = load_result(trial(params), tmp_path)
    run = run_folder("two_stage", 0, tmp_path)
    run.mkdir(parents=True)
    (run / HISTORY).write_text(
        "step,dev_word_accuracy,dev_character_error_rate\n10,0.25,0.5\n30,0.5,0.25\n", encoding="utf-8"
    )
    timings = timings_folder("two_stage", 0, tmp_path)
    timings.mkdir(parents=True)
    (timings / TIMINGS).write_text("step,seconds\n10,1.5\n30,4.5\n", encoding="utf-8")
    RunMetadata("two_stage", 0, "content", "data", 99, 30, 30, 200, 30, 0.5, 0.25).save(run)
    result = load_result(trial(params), tmp_path)
    assert result
    assert stopped
    assert (result.ending, result.best["dev_word_accuracy"], result.rows[-1]["seconds"]) == ("finished", 0.5, 4.5)
    assert result.digest != stopped.digest


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("step\nx\n", r"stopped\.csv cannot be used .*: remove it"),
        ("step\n1\n", "are damaged: remove that folder"),
        ("", "are damaged: remove that folder"),
    ],
)
def test_a_damaged_stopped_csv_is_named(tmp_path: Path, params: Params, text: str, problem: str) -> None:
    (tmp_path / "stopped.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=problem):
        load_result(trial(params), tmp_path)
