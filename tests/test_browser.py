"""What a user sees in the MLflow UI, in headless Chromium. The screenshots stay in test-output/."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import PATIENCE, PROJECT
from tests.support.servers import tandem_ui
from tests.support.stored import STRATEGIES, newest_comparison

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = PROJECT / "test-output"
MILLISECONDS = 1000 * PATIENCE
expect.set_options(timeout=MILLISECONDS)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def address(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of the clone's runs, as `tandem ui` names it."""
    log = tmp_path_factory.mktemp("ui") / "server.log"
    with tandem_ui(clone, log):
        said = next(line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("open "))
        yield said.split()[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=MILLISECONDS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1600, "height": 1000})
    opened.set_default_timeout(MILLISECONDS)
    opened.goto(address)
    yield opened
    opened.close()


def shoot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.wait_for_timeout(1500)  # animations
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_the_first_page_shows_all_children_with_their_accuracies(page: Page, clone: Path) -> None:
    expect(page.locator(".ag-row").filter(has_text=newest_comparison(clone).info.run_name).first).to_be_visible()
    for strategy in STRATEGIES:
        expect(page.locator(".ag-row").filter(has_text=f"{strategy}-seed0").first).to_be_visible()
    for column in ("tandem.strategy", "tandem.seed", "test_word_accuracy"):
        expect(page.get_by_role("columnheader", name=column).first).to_be_visible()
    expect(page.get_by_role("columnheader", name=re.compile("^dev_")).first).to_be_visible()
    shoot(page, "runs")


def test_two_children_of_a_comparison_can_be_compared_with_their_curves(page: Page, clone: Path) -> None:
    expect(page.locator(".ag-row").filter(has_text="tandem-seed0").first).to_be_visible()
    for child in ("two_stage-seed0", "tandem-seed0"):
        page.locator(".ag-row").filter(has_text=child).first.locator(".ag-checkbox-input").check(force=True)
    page.get_by_role("button", name=re.compile("^Compare")).click()
    expect(page.get_by_text("Comparing 2 Runs")).to_be_visible()
    shoot(page, "compare")
    page.get_by_role("link", name="dev_word_accuracy", exact=True).first.click()
    for child in ("two_stage-seed0", "tandem-seed0"):
        expect(page.get_by_text(f"{child} (dev_word_accuracy)").first).to_be_visible()
    expect(page.locator(".scatterlayer .trace")).not_to_have_count(0)
    shoot(page, "curves")


def test_the_comparison_shows_its_verdict_and_its_report(page: Page, clone: Path, address: str) -> None:
    run_page = f"{address.split('?')[0]}/{newest_comparison(clone).info.run_id}"
    page.goto(run_page)
    expect(page.get_by_text(re.compile("test items and 2 seeds")).first).to_be_visible()
    shoot(page, "comparison")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Report", exact=True).click()
    page = opened.value
    report = page.frame_locator("iframe").first
    expect(report.get_by_role("heading", level=1)).to_be_visible()
    expect(report.get_by_text("two_stage").first).to_be_visible()
    shoot(page, "report")
