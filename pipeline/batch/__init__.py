"""Prediction of files, whatever their size, here or on a Ray cluster."""
