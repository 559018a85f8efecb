"""Loading models that were logged: from a folder, or from any address that MLflow knows."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.config.params import Order
from pipeline.errors import UserError
from pipeline.prediction.bundle import Bundle
from pipeline.prediction.portable import Recipe, _recipe
from pipeline.prediction.requests import Service
from pipeline.runs.groups import RerankMetadata
from pipeline.tracking.client import reason_of, use_project_store


def load_model(uri: str) -> Service:
    """The model in a folder, or at any address that MLflow knows; raises `UserError` where there is none.

    The modules of this package read its data; the code in its folder is not run.
    """
    with model_bundle(uri) as (bundle, max_symbols):
        return Service(Bundle.load(bundle), max_symbols)


@contextmanager
def model_bundle(uri: str) -> Iterator[tuple[Path, int]]:
    """The bundle of a model, wherever that is, and how many symbols a source may have; errors as for `load_model`."""
    with TemporaryDirectory() as place:
        try:
            use_project_store()
            import mlflow

            from pipeline.tracking.flavor import BUNDLE, MAX_SYMBOLS

            folder = Path(uri) if Path(uri).is_dir() else Path(mlflow.artifacts.download_artifacts(uri, dst_path=place))
            flavor = mlflow.models.Model.load(folder).flavors["python_function"]
            bundle = folder / flavor["artifacts"][BUNDLE]["path"]
            if not bundle.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"its {BUNDLE} lies outside of it")
            max_symbols = int(flavor["config"][MAX_SYMBOLS])
        except Exception as error:
            raise UserError(f"no model of this project can be loaded from {uri} ({reason_of(error)})") from error
        yield bundle, max_symbols


def pack_model(folder: Path, uri: str, order: Order | None, beam: int | None, n_best: int) -> Recipe:
    """Copy a logged model into a new folder; raises `UserError` where there is none."""

    with model_bundle(uri) as (bundle, max_symbols):
        shutil.copytree(bundle, folder)
    decoding = RerankMetadata.load(folder).decoding
    if order is Order.RERANK and decoding.order is not Order.RERANK:
        raise UserError(f"{uri} has no reranker, its order is {decoding.order}: ask for greedy or beam")
    return _recipe(order or decoding.order, beam or decoding.beam_width, n_best, max_symbols)
