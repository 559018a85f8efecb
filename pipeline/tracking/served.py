"""What MLflow runs to load a model: a model from code, without pickles. All it does is `flavor`'s."""

from mlflow.models import set_model

from pipeline.tracking.flavor import ServedModel

set_model(ServedModel())
