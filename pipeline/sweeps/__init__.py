"""Sweeps over parameters on Ray Tune: trials, their results and their ranking."""
