"""The page for readers: whole, self-contained, and safe with any text."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.comparison import RunResult, compare
from pipeline.evaluation.metrics import Resampling
from pipeline.evaluation.results import AttentionMap
from pipeline.evaluation.sizes import BY_PAIRS
from pipeline.report.page import page
from pipeline.report.tables import comparison
from tests.support.made_up import HALF, MOST, SHIPPED, evaluation, report, rewrites, run, several

pytestmark = pytest.mark.usefixtures("warnings_are_errors")

STRATEGIES = ("supervised", "two_stage", "tandem")
WORDS = [f"word{number}" for number in range(30)]
VOID = {"meta", "link", "br", "img", "input", "hr"}
HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "{{ 7 * 7 }}",
    "&lt;b&gt;",
    "a\u202eb",
    "\ud800",
]
ANY_SCRIPT = ["שלום", "e\u0301\u0301\u0301", "漢字", "مرحبا بالعالم", "\u0301", " a  b "]


class Document(HTMLParser):
    """Elements, ids, text and attributes of a page; raises where a tag is not closed, or closed out of turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.in_bdi: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] == "bdi":
            self.in_bdi.append(data)

    def values(self, name: str) -> list[str]:
        return [value for found, value in self.attributes if found == name]


PARTS = [
    "results",
    "learning",
    "costs",
    "pairs",
    "length",
    "confusions",
    "attention",
    "noise",
    "examples",
    "calibration",
    "coverage",
]


def maps(*sources: str) -> list[AttentionMap]:
    return [
        AttentionMap(tuple(source), ("a", "b"), np.full((2, len(source)), 1 / len(source), np.float32))
        for source in sources
    ]


def sizes(pairs: int) -> pd.DataFrame:
    rows = [(name, pairs, 1, 0.3, 0.2, 0.4) for name in (*STRATEGIES, "tandem, ensemble")]
    return pd.DataFrame(rows, columns=BY_PAIRS)


def shown(results: list[RunResult], **changes: Any) -> tuple[str, Document]:
    text = page(report(results, **changes))
    return text, Document(text)


@pytest.fixture(scope="module")
def whole() -> str:
    """The page of a comparison that has all there is to show."""
    results = several(STRATEGIES, WORDS)
    listed = [number % 2 == 0 for number in range(len(WORDS))]
    metrics = compare(
        results,
        listed,
        list(map(len, WORDS)),
        SHIPPED,
        resampling=Resampling(resamples=100),
        ensembles=results[::2],
        controls=[run_like(results[0])],
    )
    return page(report(results, metrics, attention=maps("AHB", "x"), sizes=sizes(10)))


def run_like(result: RunResult) -> RunResult:
    return replace(result, strategy="lookup", history=pd.DataFrame(), confidences=None)


def test_every_tag_is_closed_and_no_id_comes_twice(whole: str) -> None:
    ids = Document(whole).values("id")
    assert len(ids) == len(set(ids))


def test_the_page_refers_to_nothing_outside_of_itself(whole: str) -> None:
    document = Document(whole)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(document.tags)
    assert not document.values("src")
    for name in ("href", "xlink:href"):
        assert all(value.startswith("#") for value in document.values(name))
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)", whole))
    assert "http" not in re.sub('http-equiv="', "", whole)
    assert "@import" not in whole
    assert not [name for name, _ in document.attributes if name.startswith("on")]


def test_every_reference_within_the_page_has_its_target(whole: str) -> None:
    document = Document(whole)
    wanted = {value[1:] for value in document.values("href")} | set(re.findall(r"url\(#(.*?)\)", whole))
    assert wanted <= set(document.values("id"))


def test_the_page_says_its_language_title_and_what_each_drawing_shows(whole: str) -> None:
    document = Document(whole)
    assert '<html lang="en">' in whole
    assert "<title>supervised, two_stage and tandem compared</title>" in whole
    drawings = document.tags.count("svg")
    assert drawings == 10
    assert len([label for label in document.values("aria-label") if label]) >= drawings
    assert document.tags.count("h1") == 1


def test_every_part_is_there_and_linked_in_its_order(whole: str) -> None:
    assert re.findall(r'<section id="(.*?)">', whole) == PARTS
    assert re.findall(r'<a href="#(.*?)">', whole) == PARTS


def test_what_several_samples_show_stands_below_the_verdict_and_in_the_summary() -> None:
    results, sentence = several(("supervised", "tandem"), ["a"] * 30), "On 30 test items, 3 samples of 100 pairs, <so>."
    text = " ".join("".join(shown(results, samples=sentence)[1].text).split())
    assert text.index("On 30 test items and 2 seeds, ") < text.index(sentence) < text.index("Results")
    assert "3 samples of 100 pairs, &lt;so&gt;." in comparison(evaluation(results).metrics, samples=sentence)


def test_several_samples_take_the_place_of_the_comparison_among_sizes() -> None:
    rows = [("tandem", 50, 1, 0.2, 0.1, 0.3), ("tandem", 100, 3, 0.5, 0.4, 0.6)]
    sizes = pd.DataFrame(rows, columns=BY_PAIRS)
    made = report(several(("tandem",), ["a"] * 30), pairs=100, sizes=sizes)
    assert made.by_pairs["word_accuracy"].tolist() == [0.2, 0.5]
    assert report(several(("tandem",), ["a"] * 30), pairs=50, sizes=sizes).by_pairs["pairs"].tolist() == [100, 50]


def test_the_verdict_comes_first_then_the_numbers_of_every_strategy(whole: str) -> None:
    text = " ".join("".join(Document(whole).text).split())
    # Strategy i errs on every item whose number i + 2 divides.
    order = ["On 30 test items and 2 seeds, tandem ", "50.0%", "66.7%", "73.3%", "Results", "lookup"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_listed_targets_are_shown_apart_from_others(whole: str) -> None:
    table = re.search(r'aria-label="Results by whether the target is listed">(.*?)</table>', whole, re.DOTALL)
    assert table is not None
    assert re.findall(r">((?:not )?listed) \((.*?) items\)", table[1]) == [("listed", "15"), ("not listed", "15")]
    # Every other word is listed; supervised errs on just those.
    assert re.findall(r"<td>([\d.]+) \(", table[1])[:2] == ["0.0", "100.0"]
    assert "on all 30 test items, of which 50% have a target that is listed" in " ".join(whole.split())


def test_a_strategy_has_its_colour_and_sign_in_tiles_tables_and_figures(whole: str) -> None:
    for place, sign in enumerate("●■◆"):
        assert f'style="color: var(--series-{place})" aria-hidden="true">{sign}</span> {STRATEGIES[place]}' in whole
        assert f"stroke: var(--series-{place})" in whole
    assert ">◇</span> tandem, ensemble" in whole


def test_hostile_text_stays_text() -> None:
    results = several(("<b>x</b>", "tandem"), HOSTILE * 3)
    changes: dict[str, Any] = {"noise": rewrites(*HOSTILE[:-1]), "attention": maps(*HOSTILE)}
    text, document = shown(results, **changes)
    assert not {"script", "img", "b"} & set(document.tags)
    assert not [name for name, _ in document.attributes if name.startswith("on")]
    assert {"<script>alert(1)</script>", "\"><img src=x onerror='alert(2)'>", "{{ 7 * 7 }}", "&lt;b&gt;"} <= set(
        document.in_bdi
    )
    assert "\u202e" not in text
    text.encode()


def test_text_of_any_script_keeps_to_its_place() -> None:
    _, document = shown(several(("supervised", "tandem"), ANY_SCRIPT * 3), noise=rewrites(*ANY_SCRIPT))
    assert set(ANY_SCRIPT) <= set(document.in_bdi)  # isolated: the direction of one cell is its own
    everywhere = "".join(data for data in document.text if data not in document.in_bdi)
    assert not [word for word in ("שלום", "مرحبا") if word in everywhere]


def test_a_rewrite_in_its_context_has_one_direction() -> None:
    text, _ = shown(several(("tandem",), WORDS), noise=rewrites("ب"))
    symbols = '<span class="context">^</span>ب<span class="context">ب</span>'
    assert f'<th scope="row" class="data"><bdi>{symbols}</bdi></th>' in text


def test_one_strategy_without_confidences_is_left_out_of_calibration_and_named() -> None:
    with_, without = run("tandem", 0, MOST, confidences=[0.5] * len(MOST)), run("supervised", 0, HALF)
    text, _ = shown([with_, without])
    assert "tandem 25.0. Without confidences: supervised." in text
    assert 'id="calibration"' in text


def test_without_confidences_there_is_no_part_on_them() -> None:
    text, _ = shown([run("supervised", 0, HALF), run("tandem", 0, MOST)])
    assert "calibration" not in re.findall(r'<section id="(.*?)">', text)
    assert "#calibration" not in text


def test_one_seed_is_one_seed() -> None:
    text, document = shown([run("supervised", 0, HALF), run("tandem", 0, MOST)])
    assert "every strategy was trained with 1 seed." in " ".join(text.split())
    assert "On 100 test items and 1 seed, " in "".join(document.text)


def test_strategies_that_agree_have_no_examples() -> None:
    text, document = shown([run("supervised", 0, HALF), run("tandem", 0, HALF)])
    assert "The strategies agree on every test item." in text
    assert not {"Won", "Lost"} & set(document.text)


def test_examples_that_are_only_won_have_no_table_of_lost_ones() -> None:
    _, document = shown([run("supervised", 0, HALF), run("tandem", 0, MOST)])
    assert "Won" in document.text
    assert "Lost" not in document.text


def test_a_strategy_that_makes_no_mistakes_has_no_confusions() -> None:
    text, _ = shown([run("supervised", 0, [1, 0, 1]), run("tandem", 0, [1, 1, 1])])
    assert "#confusions" not in text


def test_a_network_without_attention_has_no_maps() -> None:
    text, document = shown(several(STRATEGIES, WORDS))
    assert "#attention" not in text
    assert "Attention" not in "".join(document.text)


def test_numbers_of_pairs_are_compared_where_there_are_several() -> None:
    results = several(STRATEGIES, WORDS)
    for rows, shows in ((sizes(100).head(0), False), (sizes(100), False), (sizes(10), True)):
        text, _ = shown(results, pairs=100, sizes=rows)
        assert ('<section id="pairs">' in text) == shows
    assert "Right with 10 and with 100 pairs: supervised 30.0% and 50.0%, " in text


def test_confusions_are_means_of_one_run() -> None:
    text, _ = shown(several(("supervised", "tandem"), WORDS))
    # A dollar sign is put in once for every third of the thirty words, by both seeds.
    (row,) = re.findall(r"<tr>(?:(?!</tr>).)*<bdi>∅</bdi> → <bdi>\$</bdi>.*?</tr>", " ".join(text.split()))
    assert re.findall(r"<td>(.*?)</td>", row) == ["15", "10"]


def test_a_single_item_without_history_makes_a_page() -> None:
    text, _ = shown(several(("supervised",), ["a"], history=False)[:1])
    assert "no other was trained" in text
    assert "There are no learning curves." in text


def test_many_strategies_and_long_text_make_a_small_page() -> None:
    words = [f"{'long ' * 11}{number}" for number in range(40)]
    text, _ = shown(several(tuple(f"strategy {number}" for number in range(12)), words), attention=maps("abc"))
    assert len(text.encode()) < 2_000_000


def test_a_long_table_of_differences_is_folded_up() -> None:
    for count, is_open in ((5, True), (6, False)):
        text, _ = shown(several(tuple(f"strategy {number}" for number in range(count)), WORDS))
        assert ("<details open>" in text) == is_open


def test_what_each_ingredient_buys_is_a_table(whole: str) -> None:
    text, _ = shown(several(("supervised", "augmented", "tandem"), WORDS))
    assert "made-up pairs:<br>augmented − supervised" in text
    assert "autoencoding:<br>tandem − augmented" in text
    assert "made-up pairs:" not in whole  # of supervised, two_stage and tandem no two differ in one ingredient alone
    assert "the ensemble (of these trainings):<br>tandem, ensemble − tandem" in whole


def test_the_same_report_gives_the_same_page() -> None:
    results = several(STRATEGIES, WORDS)
    assert page(report(results)) == page(report(results))
