"""``isomax-jax report``."""

from pathlib import Path

import tyro


def report(run_dirs: tyro.conf.Positional[tuple[Path, ...]], *, output: Path | None = None) -> int:
  """Write one self-contained HTML page of one or several runs side by side.

  Example: isomax-jax report runs/softmax runs/isomax --output both.html

  Args:
    run_dirs: Run directories; heads are shown beside each other.
    output: The page. None: report.html in the only run directory.
  """
  from isomax_jax.reporting.report import write_report

  if not run_dirs:
    raise ValueError("run_dirs must name a run directory or more, got none")
  if output is None:
    if len(run_dirs) != 1:
      raise ValueError(f"{len(run_dirs)} runs have no one place for their page: give --output")
    output = run_dirs[0] / "report.html"
  write_report(run_dirs, output)
  print(f"report: {output}")
  return 0
