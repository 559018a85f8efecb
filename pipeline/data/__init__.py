"""Alphabets, stored strings and prepared data: all that the modelling packages know of a corpus."""
