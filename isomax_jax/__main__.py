"""``python -m isomax_jax``, the same as the command ``isomax-jax``."""

from isomax_jax.cli.main import main

if __name__ == "__main__":
  main()
