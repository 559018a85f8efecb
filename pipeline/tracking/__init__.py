"""Runs in MLflow: the way to a store, and what is kept of a run there."""
