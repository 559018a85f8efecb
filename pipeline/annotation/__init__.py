"""Pairs that people write: which sources to annotate next, and how corrections come into the project."""
