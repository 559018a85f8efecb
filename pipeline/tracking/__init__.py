"""All that knows MLflow: the store, runs, publication, and models."""
