"""The MLflow model: strings in, a table of ranked predictions out, in Python or over HTTP.

A saved model is a folder that needs no other: a bundle, this file, the modules of this package that prediction needs,
and exact versions of the packages that they import. To load it, MLflow runs the modules in the folder, and so the code
of whoever logged the model. There are no pickles: `models.load_model`, and so `tandem serve`, reads the same folder and
runs none of its code.
"""

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
from mlflow.models import Model, ModelSignature, set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from pipeline.errors import UserError
from pipeline.prediction.bundle import BUNDLE
from pipeline.prediction.inputs import sources_in
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.requests import Prediction, Service, defaults
from pipeline.runs.groups import RerankMetadata

# What the modules of a saved model import. mlflow-skinny is MLflow without its own store and user interface.
PACKAGES = ("mlflow-skinny", "joblib", "keras", "numpy", "pandas", "pydantic", "RapidFuzz", "ruamel.yaml", "tensorflow")
TYPES = {str: DataType.string, int: DataType.long, float: DataType.double, bool: DataType.boolean}
OUTPUTS = {name: TYPES[kind] for name, kind in Prediction.__annotations__.items()}


class ServedModel(PythonModel):
    """A service as MLflow calls it; later requests reuse what an earlier one compiled."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle among the model's artifacts."""
        self._service = Service(Predictor.load(Path(context.artifacts[BUNDLE])))

    # With this type hint MLflow passes on whatever it is given. With list[str] its server would refuse DataFrames, and
    # of several columns it would silently pass on the first.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict for all sources together: a table with the columns `OUTPUTS` and what else `Service` answers.

        model_input: also what else `sources_in` takes. An invalid request raises MlflowException with a reason, status
        400 over HTTP.
        """
        try:
            rows = self._service.answer(self._service.parse(sources_in(model_input), params or {}))
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return pd.DataFrame(rows, columns=list(rows[0] if rows else OUTPUTS))


def save_model(folder: Path, bundle: Path, example: str, model: Model) -> None:
    """Write a bundle as an MLflow model into a new folder.

    example: a source that shows what sources look like. model: its identity in MLflow; its description is added here.
    """
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # it logs that it checks the example
    params = defaults(RerankMetadata.load(bundle).decoding).items()
    # No schema of inputs: MLflow would drop all columns but the first before the model sees them.
    signature = ModelSignature(
        outputs=Schema([ColSpec(kind, name) for name, kind in OUTPUTS.items()]),
        params=ParamSchema(
            [ParamSpec(name, TYPES[int if value is None else type(value)], value) for name, value in params]
        ),
    )
    with TemporaryDirectory() as place:
        mlflow.pyfunc.save_model(
            folder,
            python_model=__file__,
            artifacts={BUNDLE: str(bundle)},
            code_paths=[str(_copied_modules(Path(place)))],
            pip_requirements=[f"{name}=={version(name)}" for name in PACKAGES],
            mlflow_model=model,
            signature=signature,
            input_example=[example],
        )


def _copied_modules(folder: Path) -> Path:
    """The modules of this package that a loaded model imports, copied below `folder`."""
    package = Path(__file__).parents[1]
    finder = ModuleFinder(path=[str(package.parent)])
    finder.run_script(__file__)
    for name in finder.modules:
        if name.split(".")[0] == package.name:
            place = Path(*name.split("."))
            module = place / "__init__.py" if (package.parent / place).is_dir() else place.with_suffix(".py")
            (folder / module).parent.mkdir(parents=True, exist_ok=True)
            copyfile(package.parent / module, folder / module)
    return folder / package.name


if __name__ != "pipeline.tracking.flavor":  # MLflow runs this file to load a model
    set_model(ServedModel())
