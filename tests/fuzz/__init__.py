"""Fuzzing, by hand: see README.md."""
