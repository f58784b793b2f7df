"""Whole jobs: data, network, training and evaluation put together in a run directory."""
