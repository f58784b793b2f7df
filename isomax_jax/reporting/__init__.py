"""Records of results, and the figures and reports made of them.

:mod:`~isomax_jax.reporting.figures` and :mod:`~isomax_jax.reporting.report` are imported by name:
they need Matplotlib and Jinja2, the rest does not.
"""

from isomax_jax.reporting.records import Record as Record
from isomax_jax.reporting.records import Summary as Summary
from isomax_jax.reporting.records import append_records as append_records
from isomax_jax.reporting.records import read_records as read_records
from isomax_jax.reporting.records import summarize as summarize
from isomax_jax.reporting.records import write_records as write_records
from isomax_jax.reporting.results import Results as Results
from isomax_jax.reporting.results import read_results as read_results
