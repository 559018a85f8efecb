"""Stage `report`: draw the report of the comparison from the files of stage `evaluate` and the timings of trainings."""

import json

from pipeline.config.params import load_params
from pipeline.errors import explain_user_errors
from pipeline.evaluation import sizes
from pipeline.evaluation.results import REPORTS, EvaluationResults
from pipeline.report.costs import Costs
from pipeline.report.page import page
from pipeline.report.report import Report, write_plots
from pipeline.report.tables import comparison, of_samples, verdict


@explain_user_errors
def main() -> None:
    """Write reports/index.html, reports/comparison.md and the figures as PNG files."""
    results = EvaluationResults.load()
    prepared = json.loads((REPORTS / "prepare.json").read_text(encoding="utf-8"))
    counts = {name: prepared[name] for name in ("pairs", "targets", "dev")}
    params, costs = load_params(), Costs.load(results.metrics)
    report = Report(results, costs, **counts, sizes=sizes.saved(params), samples=of_samples(params))
    (REPORTS / "index.html").write_text(page(report), encoding="utf-8", newline="\n")
    text = comparison(report.metrics, report.costs, report.samples)
    (REPORTS / "comparison.md").write_text(text, encoding="utf-8", newline="\n")
    write_plots(results, REPORTS)
    print(verdict(report.metrics), *filter(None, [report.samples]), sep="\n")


if __name__ == "__main__":
    main()
