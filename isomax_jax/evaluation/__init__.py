"""Scores and metrics of a classifier on loaded sets."""
