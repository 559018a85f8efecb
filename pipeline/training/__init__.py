"""Strategies and their training: plans, batches, steps, and the folder of a run."""
