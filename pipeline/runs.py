"""One training run: from prepared data and the plans of a strategy to a run folder.

A run folder (models/STRATEGY/SEED) is the record of a run and all that `tandem predict` needs: network, alphabets,
history.csv with a row per look at the development data, and run.json with what the run spent and reached.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from pipeline import scoring
from pipeline.alphabet import save_alphabets
from pipeline.config import Params
from pipeline.errors import UserError
from pipeline.network import Network, save_network
from pipeline.plans import Task, phases
from pipeline.prepared import Prepared
from pipeline.records import HISTORY, MODELS, SECONDS, Record, Row, run_folder, save_record
from pipeline.search import decode, greedy_search
from pipeline.store import StringStore
from pipeline.strategies import start
from pipeline.streams import streams
from pipeline.training import DevScore, Progress, train
from pipeline.usage import Usage


class DevEvaluation:
    """Greedy decoding of the development data: of its sources, or for an autoencoder of its targets."""

    def __init__(self, network: Network, prepared: Prepared, task: Task) -> None:
        self._symbols = prepared.target_alphabet.kind
        self._alphabet = prepared.target_alphabet
        self._targets = [example.target for example in prepared.dev]
        if task is Task.AUTOENCODE:
            model, strings, alphabet = network.autoencoder, self._targets, prepared.target_alphabet
            self._accepted = [frozenset([target]) for target in self._targets]
        else:
            model, strings = network.predictor, [example.source for example in prepared.dev]
            alphabet = prepared.source_alphabet
            self._accepted = [example.accepted for example in prepared.dev]
        # Running text repeats itself: each source is decoded once.
        places = {string: place for place, string in enumerate(dict.fromkeys(strings))}
        self._sources = StringStore.of(list(places), alphabet)
        self._places = [places[string] for string in strings]
        self._search = greedy_search([model], network.sizes.longest_output)

    def __call__(self) -> DevScore:
        """Decode and score with the weights as they are now."""
        written = decode(self._search, self._sources).ids[:, 0]
        decoded = [self._alphabet.decode(row) for row in written]
        predictions = [decoded[place] for place in self._places]
        scores = scoring.score(predictions, self._targets, self._accepted, self._symbols)
        return DevScore(scoring.accuracy(scores), scoring.error_rate(scores))


def run_training(strategy: str, params: Params, prepared: Prepared, seed: int, models: Path = MODELS) -> Iterator[Row]:
    """Train a strategy, or `pretrain`; gives each row of history.csv as it comes, and in the end the run folder stands.

    Whoever calls it has to iterate to the end.
    """
    folder = run_folder(strategy, seed, models)
    network = start(strategy, params, prepared, seed, models)
    plans = phases(strategy, params)
    evaluation = DevEvaluation(network, prepared, plans[0].counted)
    looks: list[Row] = []
    progress, usage, spent = Progress(), Usage(), (0, 0.0)
    for plan in plans:
        for _ in train(network, plan, streams(plan, prepared, params, seed), params.training, evaluation, progress):
            if progress.look:
                symbols, seconds = progress.symbols - spent[0], progress.seconds - spent[1]
                spent = progress.symbols, progress.seconds
                speed = {SECONDS: round(progress.seconds, 3), "symbols_per_second": round(symbols / seconds, 1)}
                looks.append({**progress.look.row(), **speed, **usage.row()})
                yield looks[-1]
    if progress.best is None:
        raise UserError(f"{strategy} made no update")
    record = Record(
        strategy=strategy,
        seed=seed,
        data=prepared.digest,
        parameters=network.count_params(),
        updates=progress.update,
        batches=progress.batches,
        symbols=progress.symbols,
        seconds=round(progress.seconds, 3),
        best_update=progress.best_update,
        dev_word_accuracy=progress.best.word_accuracy,
        dev_character_error_rate=progress.best.character_error_rate,
    )
    save_network(network, folder)
    save_alphabets(folder, prepared.source_alphabet, prepared.target_alphabet)
    pd.DataFrame(looks).to_csv(folder / HISTORY, index=False, lineterminator="\n")
    save_record(record, folder)
