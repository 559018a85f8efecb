"""What MLflow runs to load a model: a model from code, without pickles. All it does is in `pipeline.serving.flavor`."""

from mlflow.models import set_model

from pipeline.serving.flavor import ServedModel

set_model(ServedModel())
