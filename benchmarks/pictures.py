"""The pictures in docs/pictures: the report, two runs side by side in MLflow, and the learning curves.

`python -m benchmarks.pictures`, in a project after `dvc repro`, takes them with headless Chromium. It needs the extra
`test` (playwright).
"""

import argparse
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from pipeline.errors import UserError, explain_user_errors

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REPORT, CURVES = Path("reports/index.html"), Path("reports/learning_curves.png")
WIDTH = 900  # pixels of every picture
LARGEST = 150_000  # bytes
START_SECONDS = 120  # until the UI answers
PATIENCE = 180_000  # milliseconds: the UI loads its parts when they are first needed
ANIMATIONS = 2_000  # milliseconds


@explain_user_errors
def main(arguments: list[str] | None = None) -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--strategies", nargs=2, default=["two_stage", "tandem"], help="the runs to compare in MLflow")
    parser.add_argument("--seed", default="0", help="of these runs")
    options = parser.parse_args(arguments)
    for path in (REPORT, CURVES):
        if not path.is_file():
            raise UserError(f"no {path}: run `dvc repro` first")
    options.out.mkdir(parents=True, exist_ok=True)
    with _browser() as browser:
        _save(_report(browser), options.out / "report.png")
        with _mlflow() as (address, experiment):
            runs = [_run(address, experiment, strategy, options.seed) for strategy in options.strategies]
            _save(_comparison(browser, address, experiment, runs), options.out / "compare.png")
    _save(CURVES.read_bytes(), options.out / "curves.png")


def _report(browser: Browser) -> bytes:
    """The top of the report page as PNG."""
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.goto(REPORT.absolute().as_uri())
    return page.screenshot()


def _comparison(browser: Browser, address: str, experiment: str, runs: list[str]) -> bytes:
    """MLflow's page with the curves of dev word accuracy of some runs, as PNG."""
    page = browser.new_page(viewport={"width": 1100, "height": 700})
    page.set_default_timeout(PATIENCE)
    query = f"runs={json.dumps(runs)}&experiments={json.dumps([experiment])}"
    metric = 'metric="dev_word_accuracy"&plot_metric_keys=["dev_word_accuracy"]&plot_layout={"autosize":true}'
    page.goto(f"{address}/#/metric?{query}&{metric}&x_axis=step&y_axis_scale=linear&line_smoothness=1&show_point=true")
    page.locator(".scatterlayer .trace").first.wait_for()
    for panel in ("Close", "Toggle sidebar"):  # what is beside the page
        if (button := page.get_by_role("button", name=panel, exact=True)).count():
            button.first.click()
    page.wait_for_timeout(ANIMATIONS)
    return page.screenshot()


def _run(address: str, experiment: str, strategy: str, seed: str) -> str:
    """The id of the newest run of a strategy and seed; raises `UserError` if MLflow has none."""
    wanted = f"tags.`tandem.kind` = 'run' AND tags.`tandem.strategy` = '{strategy}' AND tags.`tandem.seed` = '{seed}'"
    body = {"experiment_ids": [experiment], "filter": wanted, "order_by": ["start_time DESC"], "max_results": 1}
    request = urllib.request.Request(  # noqa: S310 -- on this machine
        f"{address}/api/2.0/mlflow/runs/search", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        found: list[dict[str, Any]] = json.load(answer).get("runs", [])
    if not found:
        raise UserError(f"MLflow has no run of {strategy} with seed {seed}: run `tandem publish`")
    return str(found[0]["info"]["run_id"])


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


@contextmanager
def _mlflow() -> Iterator[tuple[str, str]]:
    """The address of `tandem ui` while it runs, and the id of the experiment that it opens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with TemporaryDirectory() as place, (Path(place) / "log").open("w+b") as log:
        command = [sys.executable, "-m", "pipeline.cli", "ui", "--port", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(f"{address}/health"):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise UserError(f"tandem ui does not answer: {Path(log.name).read_text(encoding='utf-8')}")
                time.sleep(0.5)
            opened = re.search(r"experiments/(\d+)/runs", Path(log.name).read_text(encoding="utf-8"))
            if opened is None:
                raise UserError("MLflow has no runs of this project: run `tandem publish`")
            yield address, opened[1]
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)  # the session that was started for it
                server.wait(timeout=30)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 -- on this machine
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
