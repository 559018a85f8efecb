"""Test results of runs, ensembles and controls, and their comparison."""
