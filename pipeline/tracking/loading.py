"""Loading models that were logged: from a folder, or from any address that MLflow knows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.errors import UserError
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.requests import Service
from pipeline.tracking.client import reason_of, use_project_store


def load_model(uri: str) -> Service:
    """The model in a folder, or at any address that MLflow knows; raises `UserError` where there is none.

    The modules of this package read its data; the code in its folder is not run.
    """
    with model_bundle(uri) as bundle:
        return Service(Predictor.load(bundle))


@contextmanager
def model_bundle(uri: str) -> Iterator[Path]:
    """The folder with the bundle of a model, wherever that is; errors as for `load_model`."""
    with TemporaryDirectory() as place:
        try:
            use_project_store()
            import mlflow

            from pipeline.tracking.flavor import BUNDLE

            folder = Path(uri) if Path(uri).is_dir() else Path(mlflow.artifacts.download_artifacts(uri, dst_path=place))
            flavor = mlflow.models.Model.load(folder).flavors["python_function"]
            bundle = folder / flavor["artifacts"][BUNDLE]["path"]
            if not bundle.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"its {BUNDLE} lies outside of it")
        except Exception as error:
            raise UserError(f"no model of this project can be loaded from {uri} ({reason_of(error)})") from error
        yield bundle
