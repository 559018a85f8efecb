"""What MLflow runs to load a model: a model from code, without pickles. All it does is in `pipeline.serving`."""

from mlflow.models import set_model

from pipeline.serving import ServedModel

set_model(ServedModel())
