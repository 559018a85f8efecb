"""Which symbols are taken for which, counted by hand."""

from dataclasses import replace

from pipeline.config.options import Symbols
from pipeline.data.scoring import score
from pipeline.evaluation.comparison import RunResult
from pipeline.evaluation.mistakes import confusions
from tests.support.made_up import run

CHARACTERS = Symbols.CHARACTERS


def wrote(strategy: str, seed: int, pairs: list[tuple[str, str]]) -> RunResult:
    """A run that wrote, for each target, what stands beside it."""
    targets, predictions = [target for target, _ in pairs], [prediction for _, prediction in pairs]
    scores = score(predictions, targets, [{target} for target in targets], CHARACTERS)
    blank = run(strategy, seed, [1] * len(pairs))
    return replace(blank, sources=targets, targets=targets, predictions=predictions, scores=scores)


def test_symbols_written_for_others_left_out_and_put_in_are_counted() -> None:
    result = wrote("tandem", 0, [("abc", "axc"), ("abc", "ac"), ("ac", "abc"), ("ab", "ax"), ("cc", "cc")])
    found = confusions([result], [{target} for target in result.targets], CHARACTERS)
    assert found.to_numpy().tolist() == [
        ["tandem", "b", "x", 2, 3],  # b stands in three of the targets
        ["tandem", "", "b", 1, 12],  # of twelve symbols in all
        ["tandem", "b", "", 1, 3],
    ]


def test_seeds_are_pooled_and_strategies_kept_apart() -> None:
    results = [wrote(name, seed, [("ab", "xb")]) for name, seed in (("tandem", 0), ("tandem", 1), ("supervised", 0))]
    found = confusions(results, [{"ab"}], CHARACTERS)
    assert found[["strategy", "count", "occurrences"]].to_numpy().tolist() == [["tandem", 2, 2], ["supervised", 1, 1]]


def test_as_many_confusions_are_counted_as_edits() -> None:
    result = wrote("tandem", 0, [("kitten", "sitting"), ("saturday", "sunday"), ("", "ab"), ("abc", "")])
    found = confusions([result], [{target} for target in result.targets], CHARACTERS)
    assert found["count"].sum() == result.scores["edits"].sum() == 3 + 3 + 2 + 3


def test_a_prediction_is_held_against_the_closest_of_what_is_accepted() -> None:
    result = wrote("tandem", 0, [("fork", "forc"), ("fork", "phorc"), ("fork", "forke")])
    found = confusions([result], [{"fork", "phork"}] * 2 + [{"fork", "forked"}], CHARACTERS)
    # Both of the last ones are one edit away: the item's own target is taken.
    assert found[["target", "written", "count"]].to_numpy().tolist() == [["k", "c", 2], ["", "e", 1]]


def test_symbols_between_spaces_are_whole() -> None:
    result = wrote("tandem", 0, [("AH B", "EH B")])
    found = confusions([result], [{"AH B"}], Symbols.SPACES)
    assert found[["target", "written"]].to_numpy().tolist() == [["AH", "EH"]]


def test_nothing_wrong_is_a_table_without_rows() -> None:
    found = confusions([wrote("tandem", 0, [("a", "a")])], [{"a"}], CHARACTERS)
    assert list(found) == ["strategy", "target", "written", "count", "occurrences"]
    assert found.empty


def test_a_symbol_that_cannot_be_written_is_the_replacement_character() -> None:
    found = confusions([wrote("tandem", 0, [("a", "\ud800"), ("\n", "b")])], [{"a"}, {"\n"}], CHARACTERS)
    assert found[["target", "written"]].to_numpy().tolist() == [["\ufffd", "b"], ["a", "\ufffd"]]
