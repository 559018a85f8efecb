"""Test results of runs, ensembles and controls, and what their comparison says."""
