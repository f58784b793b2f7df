from experiments.benchmarks._report import Result
from experiments.performance import performance_table


def make(what, value, *, jax="0.12.0", device="A (2 cores)", platform="cpu", unit="s", **fields):
  common = {
    "benchmark": "heads", "case": "10 classes", "std": None, "n": 1, "target": None, "met": None,
    "git_commit": "1234567890" if jax > "0.11" else None,
    "time": f"2026-01-0{1 + (jax > '0.11')}T00:00:00+00:00",
  }  # fmt: skip
  return Result(
    what=what, value=value, unit=unit, device=device, platform=platform,
    versions={"python": "3.13.0", "jax": jax}, **common | fields,
  )  # fmt: skip


def test_a_row_a_figure_and_a_column_a_device():
  results = [
    make("IsoMax", 0.01234, std=0.0005, n=9, jax="0.10.2"),
    make("IsoMax", 0.00987, std=0.0005, n=9),
    make("IsoMax / SoftMax", 1.074, unit="x", n=9, target="<= 1.1", met=True),
    make("IsoMax / SoftMax", 1.12, unit="x", n=9, target="<= 1.1", met=False, jax="0.10.2"),
    make("compiling", 12.3, jax="0.10.2"),
    make("another benchmark's", 1.0, benchmark="metrics"),
  ]
  assert performance_table(results, benchmark="heads").splitlines() == [
    "|  | a GPU or TPU | A (2 cores), JAX 0.12.0 | A (2 cores), JAX 0.10.2 |",
    "| --- | --- | --- | --- |",
    "| **10 classes** |  |  |  |",
    "| IsoMax | not measured | 9.87 ± 0.50 ms (n 9) | 12.3 ± 0.5 ms (n 9) |",
    "| IsoMax / SoftMax | not measured | 1.07x (n 9); target <= 1.1x, met "
    "| 1.12x (n 9); target <= 1.1x, **not met** |",
    "| compiling | not measured | not measured | 12.3 s |",
    "",
    "A (2 cores), JAX 0.10.2: 2026-01-01, commit not known, python 3.13.0.",
    "A (2 cores), JAX 0.12.0: 2026-01-02, commit 1234567, python 3.13.0.",
  ]


def test_a_share_that_scatters_as_much_is_not_told_from_nothing():
  table = performance_table(
    [
      make("input", -4.3, unit="%", std=15.0, n=9),
      make("head", 13.0, unit="%", std=15.0, n=9),
    ],
    benchmark="heads",
  )
  assert [row.split(" | ")[2] for row in table.splitlines()[3:5]] == [
    "-4.30 ± 15.00 % (n 9), not told from 0 |", "13.0 ± 15.0 % (n 9) |"
  ]  # fmt: skip


def test_an_accelerator_comes_first():
  results = [
    make("IsoMax", 310.0, unit="images/s"),
    make("IsoMax", 12345.6, unit="images/s", device="H100", platform="gpu"),
  ]
  header, _, _, row, *_ = performance_table(results, benchmark="heads").splitlines()
  assert header == "|  | H100, JAX 0.12.0 | A (2 cores), JAX 0.12.0 |"
  assert row == "| IsoMax | 12,346 images/s | 310 images/s |"


def test_what_needs_no_accelerator_lacks_none():
  table = performance_table([make("IsoMax", 1.0)], benchmark="heads", accelerated=False)
  assert table.splitlines()[0] == "|  | A (2 cores), JAX 0.12.0 |"


def test_figures_have_three_digits_and_a_unit_of_their_size():
  values = {"a": 2.5, "b": 0.25, "c": 0.000321, "d": 4e-06}
  table = performance_table([make(*each) for each in values.items()], benchmark="heads")
  assert [row.split(" | ")[2] for row in table.splitlines()[3:7]] == [
    "2.50 s |", "250 ms |", "321 µs |", "4.00 µs |"
  ]  # fmt: skip


def test_nothing_measured_says_so():
  assert performance_table([], benchmark="heads") == "Not measured yet."
