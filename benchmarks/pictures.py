"""The pictures in docs/pictures: the report, two runs side by side in MLflow, the learning curves, the page to try.

`python -m benchmarks.pictures`, in a project after `dvc repro`, takes them with headless Chromium. It needs the extra
`test` (playwright).
"""

import io
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from benchmarks.commands import served
from benchmarks.timing import parser_of
from pipeline.config.params import load_params
from pipeline.errors import UserError, explain_user_errors
from pipeline.tracking.client import use_project_store

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REPORT, CURVES = Path("reports/index.html"), Path("reports/learning_curves.png")
SOURCES = ("F AO R K", "B AA K S")  # to try
COMPARED = ("two_stage", "tandem")  # in MLflow
WIDTH = 900  # pixels of every picture
LARGEST = 150_000  # bytes
PATIENCE = 180_000  # milliseconds: the UI loads its parts when they are first needed
ANIMATIONS = 2_000  # milliseconds


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Take all pictures."""
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    options = parser.parse_args(arguments)
    for path in (REPORT, CURVES):
        if not path.is_file():
            raise UserError(f"no {path}: run `dvc repro` first")
    options.out.mkdir(parents=True, exist_ok=True)
    runs = pd.concat([_newest_run(strategy) for strategy in COMPARED])
    with _browser() as browser:
        _save(_report(browser), options.out / "report.png")
        with served("ui", ping="/health") as (port, _):
            _save(_comparison(browser, f"http://127.0.0.1:{port}", runs), options.out / "compare.png")
        with served("serve", ping="/ping") as (port, _):
            _save(_page(browser, f"http://127.0.0.1:{port}"), options.out / "page.png")
    _save(CURVES.read_bytes(), options.out / "curves.png")


def _report(browser: Browser) -> bytes:
    """The top of the report page as PNG."""
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.goto(REPORT.absolute().as_uri())
    return page.screenshot()


def _page(browser: Browser, address: str) -> bytes:
    """The page to try a model, with predictions for `SOURCES`, as PNG."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_label("Sources").fill("\n".join(SOURCES))
    page.get_by_label("Predictions for each").fill("3")
    page.get_by_role("button", name="Predict").click()
    page.get_by_role("article").last.wait_for()
    return page.screenshot(full_page=True)


def _comparison(browser: Browser, address: str, runs: pd.DataFrame) -> bytes:
    """MLflow's page with the curves of dev word accuracy of some runs, as PNG."""
    page = browser.new_page(viewport={"width": 1100, "height": 700})
    page.set_default_timeout(PATIENCE)
    experiments = json.dumps(runs["experiment_id"].unique().tolist())
    query = f"runs={json.dumps(runs['run_id'].tolist())}&experiments={experiments}"
    metric = 'metric="dev_word_accuracy"&plot_metric_keys=["dev_word_accuracy"]&plot_layout={"autosize":true}'
    page.goto(f"{address}/#/metric?{query}&{metric}&x_axis=step&y_axis_scale=linear&line_smoothness=1&show_point=true")
    page.locator(".scatterlayer .trace").first.wait_for()
    for panel in ("Close", "Toggle sidebar"):  # what is beside the page
        if (button := page.get_by_role("button", name=panel, exact=True)).count():
            button.first.click()
    page.wait_for_timeout(ANIMATIONS)
    return page.screenshot()


def _newest_run(strategy: str) -> pd.DataFrame:
    """The newest run of the first seed of a strategy, as `mlflow.search_runs` gives it."""
    use_project_store()
    import mlflow

    params = load_params()
    tags = {"kind": "run", "strategy": strategy, "seed": params.seeds[0]}
    wanted = " AND ".join(f"tags.`tandem.{name}` = '{value}'" for name, value in tags.items())
    runs = mlflow.search_runs(experiment_names=[params.tracking.experiment], filter_string=wanted, max_results=1)
    if len(runs) == 0:
        raise UserError(f"MLflow has no run of {strategy} with seed {params.seeds[0]}: run `tandem publish`")
    return pd.DataFrame(runs)


def _save(picture: bytes, path: Path) -> None:
    """Write a PNG of `WIDTH` pixels, with as many colours as fit into `LARGEST` bytes."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    for colours in (256, 64, 16):
        image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            break
    print(f"{path}: {image.width} x {image.height}, {path.stat().st_size:,} bytes", flush=True)


@contextmanager
def _browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise UserError("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


if __name__ == "__main__":
    main()
