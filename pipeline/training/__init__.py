"""Strategies and their training: plans, batches, updates, and the folder of a run."""
