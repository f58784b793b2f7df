"""From a trained network to records, decisions, figures and a report.

`plots` and `report` are imported by name: they need Matplotlib, the rest does not.
"""

from isomax_jax.evaluation.records import Record as Record
from isomax_jax.evaluation.records import Summary as Summary
from isomax_jax.evaluation.records import append_records as append_records
from isomax_jax.evaluation.records import read_records as read_records
from isomax_jax.evaluation.records import summarize as summarize
from isomax_jax.evaluation.runs import Run as Run
from isomax_jax.evaluation.runs import read_run as read_run
