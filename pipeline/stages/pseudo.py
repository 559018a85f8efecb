"""Stage `own`, before training: `python -m pipeline.stages.pseudo STRATEGY` writes what its task `pseudo` learns from.

The teacher of the strategy, all its seeds together, predicts the sources that have no target. Strategies without that
task need nothing: their folder stays empty.
"""

import argparse

from pipeline.config.params import load_params
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import UserError, explain_user_errors
from pipeline.graph import stage_depends_on
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.pseudo import sources_to_predict, write_pseudo_pairs
from pipeline.runs.folders import MODELS, pseudo_file
from pipeline.runs.groups import RERANKERS, RunGroup


@explain_user_errors
def main() -> None:
    """Write models/pseudo/STRATEGY/pairs.tsv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("strategy")
    name = parser.parse_args().strategy
    params, prepared, path = load_params(), Prepared.open(PREPARED), pseudo_file(name)
    if name not in params.strategies:
        raise UserError(f"params.yaml has no strategy {name}, only {', '.join(params.strategies)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if (teacher := params.strategies[name].teacher) is None:
        return
    for folder in (MODELS / teacher, RERANKERS / teacher):
        if not stage_depends_on(name, folder.as_posix()):
            raise UserError(
                f"strategies.{name} learns from {teacher}, but its stage in dvc.yaml does not depend on {folder}: add "
                "that line to its `deps`"
            )
    predictor = Predictor.of_runs(RunGroup.choose(teacher, ensemble=params.decoding.ensemble))
    sources = sources_to_predict(prepared, params.prepare.seed)
    pairs = write_pseudo_pairs(path, predictor, sources, params.strategies[name].confidence)
    print(f"{name}: {teacher} predicts {len(sources):,} sources, and is sure enough of {pairs:,} for pseudo-pairs")


if __name__ == "__main__":
    main()
