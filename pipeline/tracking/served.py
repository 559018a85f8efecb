"""What MLflow runs to load a model: a model from code, without pickles. All it does is in `pipeline.tracking.flavor`."""

from mlflow.models import set_model

from pipeline.tracking.flavor import ServedModel

set_model(ServedModel())
