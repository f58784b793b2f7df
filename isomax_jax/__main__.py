"""``python -m isomax_jax``: the command ``isomax-jax`` by another name."""

from isomax_jax.cli.main import main

if __name__ == "__main__":
  main()
