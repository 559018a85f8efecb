"""The page to try a model, in headless Chromium with real keys. The screenshots stay in test-output/."""

import re
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from pipeline.config.options import Symbols
from pipeline.config.params import Decoding, Order
from pipeline.data.alphabet import save_alphabets
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.model.inference import TrainedModel
from pipeline.model.network import Network, Sizes, save_network
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.requests import Service
from pipeline.reranking.features import FeatureExtractor
from pipeline.serving.application import HOST, application
from pipeline.serving.corrections import CorrectionFile
from pipeline.tracking.models import load_model
from tests.conftest import PATIENCE, PROJECT, small_model
from tests.serving.test_protocol import listening
from tests.support.small_project import TRUSTS_PAIRS, save_small_model

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = PROJECT / "test-output"
MILLISECONDS = 1000 * PATIENCE
PHONE = ViewportSize(width=390, height=844)

NO_CHROMIUM = "Chromium is not installed (Debian: apt-get install chromium)"


def in_chromium(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.slow(pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)(test))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return load_model(str(save_small_model(tmp_path_factory.mktemp("project"))))


@pytest.fixture(scope="module")
def arabic(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A model from Arabic without the points to Arabic with them, which trusts its pairs."""
    folder = tmp_path_factory.mktemp("arabic")
    train = [Example("شمس", "شَمس"), Example("قمر", "قَمَر")]
    corpus = Corpus(train, train[:1], train[1:], ["شَمس"], 0, None, "made up")
    write_prepared(folder / "prepared", corpus, Symbols.CHARACTERS, Symbols.CHARACTERS)
    prepared = Prepared.open(folder / "prepared")
    save_network(Network(small_model(), Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), 6)), folder)
    save_alphabets(folder, prepared.source_alphabet, prepared.target_alphabet)
    decoding = Decoding(order=Order.RERANK, beam_width=4, neighbours=2, ensemble=False, seed=0)
    features = FeatureExtractor.learn(prepared, held_out=False)
    return Service(Predictor(TrainedModel.load(folder), decoding, features, TRUSTS_PAIRS))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=MILLISECONDS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a phone; what its console says of its script or policy is an error."""
    opened = browser.new_page(viewport=PHONE, accept_downloads=True)
    opened.set_default_timeout(MILLISECONDS)
    expect.set_options(timeout=MILLISECONDS)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    yield opened
    opened.close()
    refused = ("Failed to load resource", "Access to fetch")  # by the server, as it should
    assert [text for text in said if not text.startswith(refused)] == []


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    with listening(application(service)) as port:
        yield f"http://{HOST}:{port}/"


def shoot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def ask(page: Page, address: str, *sources: str) -> None:
    page.goto(address)
    page.get_by_label("Sources").press_sequentially("\n".join(sources))
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_have_text(re.compile(f"^Predictions for {len(sources)} source"))


def test_the_policy_allows_the_pages_own_script_and_style_and_its_own_server_alone(address: str) -> None:
    with urllib.request.urlopen(address, timeout=PATIENCE) as response:
        text, policy = response.read().decode(), response.headers["Content-Security-Policy"]
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert set(allowed) - {"script-src", "style-src"} == {
        *("default-src", "connect-src", "base-uri", "form-action", "frame-ancestors")
    }
    assert {value for name, value in allowed.items() if name not in ("connect-src", "script-src", "style-src")} == {
        "'none'"
    }
    assert allowed["connect-src"] == "'self'"
    assert all(re.fullmatch(r"'sha256-[\w+/]{43}='", allowed[name]) for name in ("script-src", "style-src"))
    assert not re.search(r"""\b(src|href|action|on\w+|style)\s*=\s*["']""", text.split("<script>")[0])
    assert "://" not in text


@in_chromium
def test_with_the_keyboard_alone_a_source_is_predicted_corrected_and_downloaded(page: Page, address: str) -> None:
    ask(page, address, "F AO", "K AO")
    first = page.get_by_role("article", name="F AO")
    expect(first.get_by_role("radio").first).to_be_checked()
    expect(first.get_by_role("radio", name=re.compile("^for .*100% in the list of targets"))).to_be_checked()
    assert first.get_by_role("meter").first.evaluate("meter => meter.value") > 0.99
    other = page.get_by_role("article", name="K AO").get_by_role("radio").first
    expect(other).to_have_accessible_name(re.compile("^kor .* not in the list of targets"))
    expect(first.get_by_role("img")).to_have_attribute("aria-label", "f from F, o from AO, r from nothing")
    for _ in range(4):  # over the symbols, the button and the number of predictions
        page.keyboard.press("Tab")
    expect(first.get_by_role("radio").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    second = first.get_by_role("radio").nth(1)
    expect(second).to_be_checked()
    expect(first.get_by_label("Right target")).not_to_have_value("for")
    page.keyboard.press("Tab")
    expect(first.get_by_label("Right target")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type(" four  score ")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Saved: F AO → four score")
    shoot(page, "page")
    download = page.get_by_role("button", name="Download as TSV")
    while not download.evaluate("button => button === document.activeElement"):
        page.keyboard.press("Tab")
    with page.expect_download() as event:
        page.keyboard.press("Enter")
    assert event.value.path().read_text(encoding="utf-8") == "F AO\tfour score\n"
    assert event.value.suggested_filename == "corrections.tsv"


@in_chromium
def test_nothing_is_asked_of_anyone_else_and_nothing_is_wider_than_a_phone(page: Page, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ask(page, address, "F AO R K F", "F" + "AO" * 200)
    assert {url.split("?")[0] for url in asked} <= {address, f"{address}invocations", f"{address}favicon.ico"}
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == PHONE["width"]


@in_chromium
def test_an_unknown_symbol_is_marked_and_markup_is_text(page: Page, address: str) -> None:
    ask(page, address, "F ZH <img/src=x>", "\N{CAT FACE}")
    expect(page.locator("mark")).to_have_text(["ZH", "<img/src=x>", "\N{CAT FACE}"])
    expect(page.get_by_text("Training never saw: ZH <img/src=x>")).to_be_visible()
    assert page.locator("img").count() == 0


@in_chromium
def test_what_the_server_refuses_is_said_with_its_reason(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("Sources").press_sequentially("F\n" + "F " * 6)
    page.get_by_role("button", name="Predict").press("Enter")
    expect(page.get_by_role("alert")).to_have_text("source 2 has 6 symbols, at most 5 are possible")


@in_chromium
def test_scripts_from_right_to_left_are_written_and_aligned_so(page: Page, arabic: Service) -> None:
    with listening(application(arabic)) as port:
        ask(page, f"http://{HOST}:{port}/", "شمس", "قمر")
        first = page.get_by_role("article", name="شمس")
        columns = first.get_by_role("img").locator("> span")
        expect(columns).to_have_text(["شش", "\u25ccَ", "مم", "سس"])
        places = [box["x"] for box in (one.bounding_box() for one in columns.all()) if box]
        assert len(places) == 4
        assert places == sorted(places, reverse=True)
        for field in (page.get_by_label("Sources"), first.get_by_label("Right target")):
            assert field.evaluate("field => getComputedStyle(field).direction") == "rtl"
        shoot(page, "page-arabic")


@in_chromium
def test_with_a_file_each_correction_is_in_it_at_once_and_one_that_fails_is_said(
    page: Page, service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "mine.tsv"
    with listening(application(service, CorrectionFile(file))) as port:
        ask(page, f"http://{HOST}:{port}/", "F AO")
        target = page.get_by_label("Right target")
        target.fill("four")
        target.press("Enter")
        expect(page.get_by_role("status")).to_have_text("Saved to mine.tsv: F AO → four")
        assert file.read_text(encoding="utf-8") == "F AO\tfour\n"
        target.fill("f" * 6)
        target.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(re.compile("has 6 symbols, at most 5 are possible$"))
        assert file.read_text(encoding="utf-8") == "F AO\tfour\n"


@in_chromium
def test_a_page_of_another_site_cannot_correct(page: Page, service: Service, tmp_path: Path) -> None:
    file = tmp_path / "mine.tsv"
    with listening(application(service, CorrectionFile(file))) as port, listening(application(service)) as other:
        page.goto(f"http://{HOST}:{other}/ping")  # without the policy of a page of ours
        correction = '{"corrections": [{"source": "F", "target": "f"}]}'
        for mode, kind in (("cors", "application/json"), ("no-cors", "text/plain"), ("cors", "text/plain")):
            page.evaluate(
                "([url, mode, kind, body]) => "
                "fetch(url, { method: 'POST', mode, body, headers: { 'Content-Type': kind } }).catch(() => 0)",
                [f"http://{HOST}:{port}/corrections", mode, kind, correction],
            )
        assert file.read_bytes() == b""
