"""Strategies and their training: phases, batches, the loop, and the folder of a run."""
