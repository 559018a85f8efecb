"""The MLflow model: strings in, a table of ranked predictions out, in Python or over HTTP.

A saved model is a folder that needs no other: a bundle, the modules of this package that prediction takes, and exact
versions of the packages that they import. To load it, MLflow runs the modules in the folder, and so the code of whoever
logged the model. There are no pickles: `pipeline.registry.load_model` reads the same folder and runs none of its code.
"""

import json
import logging
from importlib.metadata import version
from modulefinder import ModuleFinder
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from pipeline.alphabet import split
from pipeline.bundle import Bundle
from pipeline.config import Decoding, Order
from pipeline.errors import UserError
from pipeline.rerankers import RerankRecord
from pipeline.sources import check_sources

BUNDLE = "bundle"  # the one artifact
MAX_SYMBOLS = "max_symbols"  # the one setting: `prepare.max_symbols` of the data that the model was trained on
WIDEST = 100  # n_best and beam
MOST_BEGINNINGS = 100_000  # strings of a request times beam: some ten seconds on two cores

# What the modules of a saved model import. mlflow-skinny is MLflow without its own store and user interface.
REQUIREMENTS = (
    "mlflow-skinny",
    "joblib",
    "keras",
    "numpy",
    "pandas",
    "pydantic",
    "RapidFuzz",
    "ruamel.yaml",
    "scikit-learn",
    "scipy",
    "tensorflow",
    "threadpoolctl",
)

OUTPUTS = {
    "source": DataType.string,
    "rank": DataType.long,
    "prediction": DataType.string,
    "log_probability": DataType.double,
    "confidence": DataType.double,
}


class ServedModel(PythonModel):
    """A bundle as MLflow calls it. What was compiled for one request serves the next."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle among the model's artifacts."""
        self._bundle = Bundle.load(Path(context.artifacts[BUNDLE]))
        self._max_symbols = int(context.model_config[MAX_SYMBOLS])

    # MLflow checks the input by its type hint: a number or null among the strings is an error and not made a string.
    def predict(self, context: Any, model_input: list[str], params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict for all sources together: a table with the columns `OUTPUTS`, the best of each source first.

        params: `n_best`, how many rows each source gets, fewer where the search found fewer; `beam`; `order`: greedy,
        beam or rerank. By default it is one row, as the model was evaluated. What cannot be used raises
        MlflowException with a sentence, status 400 over HTTP.
        """
        given = defaults(self._bundle.decoding) | (params or {})
        try:
            n_best, beam, order = _width("n_best", given), _width("beam", given), _order(given)
            self._check(model_input, n_best if order is Order.GREEDY else max(n_best, beam))
            found = self._bundle.chooser(n_best, beam, order).choose(model_input)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        rows = [
            (source, rank, choice.text, choice.log_probability, choice.confidence)
            for source, choices in zip(model_input, found, strict=True)
            for rank, choice in enumerate(choices[:n_best], start=1)
        ]
        return pd.DataFrame(rows, columns=list(OUTPUTS))

    def _check(self, sources: list[str], beam: int) -> None:
        most = MOST_BEGINNINGS // beam
        if len(sources) > most:
            raise UserError(f"{len(sources):,} strings are too many for one request: with beam {beam} at most {most:,}")
        check_sources(sources)
        kind = self._bundle.model.source_alphabet.kind
        for number, source in enumerate(sources, start=1):
            if (symbols := len(split(source, kind))) > self._max_symbols:
                raise UserError(f"source {number} has {symbols:,} symbols, at most {self._max_symbols} are possible")


def defaults(decoding: Decoding) -> dict[str, Any]:
    """The parameters of a request that gives none."""
    return {"n_best": 1, "beam": decoding.beam, "order": decoding.order.value}


def save_model(folder: Path, bundle: Path, max_symbols: int, example: str, model: Model) -> None:
    """Write a bundle as an MLflow model into a new folder.

    example: a source that shows what sources look like. model: who it is in MLflow; gets what else is known of it.
    """
    # It tells that it cannot learn from a type hint what is said of the output below.
    logging.getLogger("mlflow.models.signature").setLevel(logging.WARNING)
    with TemporaryDirectory() as place:
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={BUNDLE: str(bundle)},
            model_config={MAX_SYMBOLS: max_symbols},
            code_paths=[str(_copied_modules(Path(place)))],
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            mlflow_model=model,
        )
    # Given an example and a type hint, MLflow would load the model and predict to learn what is said here.
    model.signature.outputs = Schema([ColSpec(kind, name) for name, kind in OUTPUTS.items()])
    model.signature.params = ParamSchema(
        [
            ParamSpec(name, DataType.string if isinstance(value, str) else DataType.long, value)
            for name, value in defaults(RerankRecord.load(bundle).decoding).items()
        ]
    )
    files = {"artifact_path": "input_example.json", "serving_input_path": "serving_input_example.json"}
    model.saved_input_example_info = {**files, "type": "json_object"}
    (folder / files["artifact_path"]).write_text(json.dumps([example]), encoding="utf-8")
    (folder / files["serving_input_path"]).write_text(json.dumps({"inputs": [example]}), encoding="utf-8")
    model.save(folder / "MLmodel")


def _copied_modules(folder: Path) -> Path:
    """The modules of this package that a loaded model imports, copied below `folder`."""
    package = Path(__file__).parent
    finder = ModuleFinder(path=[str(package.parent)])
    finder.run_script(str(package / "served.py"))
    names = [name.removeprefix(f"{package.name}.") for name in finder.modules if name.startswith(f"{package.name}.")]
    (folder / package.name).mkdir()
    for name in ["__init__", *names]:
        copyfile(package / f"{name}.py", folder / package.name / f"{name}.py")
    return folder / package.name


def _width(name: str, given: dict[str, Any]) -> int:
    value = given[name]
    if not isinstance(value, int) or not 1 <= value <= WIDEST:
        raise UserError(f"{name} is {value!r}, but must be a whole number from 1 to {WIDEST}")
    return value


def _order(given: dict[str, Any]) -> Order:
    if given["order"] not in list(Order):
        raise UserError(f"order is {given['order']!r}, but must be one of {', '.join(Order)}")
    return Order(given["order"])
