"""The command line: one file a subcommand, each a few lines over :mod:`isomax_jax.runs`."""
