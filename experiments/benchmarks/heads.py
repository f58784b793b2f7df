"""Time the IsoMax head and its loss, forward and backward, against their peers, in one run.

Peers, of the same size: the affine SoftMax head with Optax's cross-entropy, and the authors'
formulation in PyTorch: direct distances, then softmax, then logarithm. Peak memory is what the
compiler plans (temporaries and results), accuracy is against direct differences in float64.
Features lie far from the prototypes, as at the start of a training, or a thousandth beside one.
Ratios are medians over rounds of the ratio within a round, in which every contender has one turn,
in random order; "first" is a call before them. At the end, on small problems, the two forms that
distances have, and whether the one that the library takes costs little at most.

Run with ``python -m experiments.benchmarks.heads``. Where PyTorch, of the ``bench`` extra, is not
installed, the authors' form is left out.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import _report, _timing
from experiments.benchmarks._peers import find_torch_device
from isomax_jax.losses import _distances, isomax_logits, pairwise_distance, scaled_cross_entropy

BATCH, WIDTH = 1024, 512
ENTROPIC_SCALE = 10.0
REPEATS = {10: 600, 100: 600, 1_000: 120, 21_841: 9}
# Seconds that a call of the authors' form may take, as judged by the last number of classes.
PATIENCE = 60.0
AUTHORS = "PyTorch, the authors' form"
# Losses and gradients that one dispatch takes where the forms of the distance are compared.
DISPATCH = 100
# Rows, classes and features at which they are compared.
SMALL = ((1, 10, 512), (64, 2, 64), (64, 10, 512), (64, 100, 512), (512, 10, 512))


class Problem(NamedTuple):
  """One batch: features far from every prototype, features beside their own, and the rest."""

  far: jax.Array
  near: jax.Array
  prototypes: jax.Array
  labels: jax.Array


def main(arguments: Sequence[str] | None = None) -> None:
  """Print a table for each number of classes, with the ratios and their targets."""
  packages = ("jax", "jaxlib", "optax", "torch")
  report, _ = _report.parse("heads", __doc__, packages, arguments)
  print(f"head and loss, forward and backward, batch {BATCH:,}, {WIDTH} features, float32")
  torch_device = find_torch_device(AUTHORS)
  seconds_a_class = 0.0
  for classes, repeats in REPEATS.items():
    case = f"{classes:,} classes"
    problem = draw(classes)
    compare_with_softmax(report, case, problem, repeats=repeats)
    report_accuracy(problem)
    if torch_device is None:
      continue
    if seconds_a_class * classes > PATIENCE:
      print(f"{AUTHORS}: not run, as it would take over {PATIENCE:.0f} s a call")
    else:
      seconds = compare_with_authors(
        report, case, problem, repeats=min(repeats, 3), device=torch_device
      )
      seconds_a_class = seconds / classes
  compare_forms(report)


def compare_forms(report: _report.Report, *, repeats: int = 1500) -> None:
  """Time the loss, forward and backward, with distances by direct difference and by a product.

  Many times a dispatch, where no call and no waking of a core is in the time, and once by itself.
  The library must take the form that is faster, or one that costs little: the direct form has no
  loop, which accelerators wait for, and every distance has all its digits.
  """
  forms = {"direct": _distances._direct, "product": _distances._by_product}
  platform = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
  print("\nforms of the distance; the library's is to take 1.5 times the other's time at most")
  for rows, classes, width in SMALL:
    problem = draw(classes, width)
    arguments = problem.far[:rows], problem.prototypes, problem.labels[:rows]
    library = _distances._choose_forms(*(array.shape for array in arguments[:2]))
    by_direct = getattr(library, platform, library.cuda) is _distances._direct
    for function, many, turns in ((_steps_by, DISPATCH, repeats // 25), (_step_by, 1, repeats)):
      steps = {
        name: functools.partial(jax.jit(function(form)).lower(*arguments).compile(), *arguments)
        for name, form in forms.items()
      }
      timings = _timing.measure(steps, repeats=turns)
      case = f"batch {rows}, {classes} classes, {width} features, {many} a dispatch"
      report.timings(case, timings)
      direct, product = timings.values()
      ratios = direct.seconds / product.seconds
      report.ratio(case, "direct / product", ratios)
      if many > 1:
        taken, ratios = ("direct", ratios) if by_direct else ("product", 1 / ratios)
        report.ratio(case, f"{taken}, which the library takes, / the other", ratios, at_most=1.5)


def _step_by(form: Callable[..., jax.Array]) -> Callable[..., Any]:
  """Return the function that takes the loss and its gradients, with distances by one form."""
  forms = _distances._Forms(*[form] * len(_distances._Forms._fields))

  def loss(features: jax.Array, prototypes: jax.Array, labels: jax.Array) -> jax.Array:
    logits = -_distances._distances(lambda *shapes: forms, features, prototypes)
    return scaled_cross_entropy(logits, labels, entropic_scale=ENTROPIC_SCALE).mean()

  return jax.value_and_grad(loss, (0, 1))


def _steps_by(form: Callable[..., jax.Array]) -> Callable[..., Any]:
  """Return the function that descends the loss, ``DISPATCH`` times, with distances by one form."""
  loss_and_gradients = _step_by(form)

  def descend(features: jax.Array, prototypes: jax.Array, labels: jax.Array) -> Any:
    def step(vectors, _):
      loss, gradients = loss_and_gradients(*vectors, labels)
      return jax.tree.map(lambda old, slope: old - 1e-3 * slope, vectors, gradients), loss

    return jax.lax.scan(step, (features, prototypes), length=DISPATCH)

  return descend


def compare_with_softmax(
  report: _report.Report, case: str, problem: Problem, *, repeats: int
) -> None:
  """Time IsoMax and SoftMax in turns, and set their compilers' memory plans side by side."""
  classes, _ = problem.prototypes.shape
  kernel, bias = problem.prototypes.T.copy(), jnp.zeros(classes)
  isomax = (problem.prototypes, problem.labels)
  contenders = {
    "SoftMax": (softmax_loss, (problem.far, kernel, bias, problem.labels), (0, 1, 2)),
    "IsoMax": (isomax_loss, (problem.far, *isomax), (0, 1)),
    "IsoMax, features beside prototypes": (isomax_loss, (problem.near, *isomax), (0, 1)),
  }
  steps, megabytes, compiling = {}, {}, {}
  for name, (loss, arguments, moving) in contenders.items():
    start = time.perf_counter()
    compiled = jax.jit(jax.value_and_grad(loss, moving)).lower(*arguments).compile()
    compiling[name] = time.perf_counter() - start
    steps[name] = functools.partial(compiled, *arguments)
    plan = compiled.memory_analysis()
    megabytes[name] = (plan.temp_size_in_bytes + plan.output_size_in_bytes) / 1e6
  timings = _timing.measure(steps, repeats=repeats)
  report.timings(case, timings)
  print("compiled in " + ", ".join(f"{s:.2f} s ({name})" for name, s in compiling.items()))

  softmax, isomax, near = timings.values()
  ratios = isomax.seconds / softmax.seconds
  if classes < 100:
    # A call of so few classes waits for its dispatch, which a ratio would say nothing about.
    milliseconds = 1e3 * isomax.median
    met = milliseconds < 1
    print(f"IsoMax: {milliseconds:.2f} ms, target < 1 ms {'met' if met else 'NOT met'}")
    report.keep(case, "median of IsoMax", "ms", milliseconds, target="< 1", met=met)
  report.ratio(case, "IsoMax / SoftMax", ratios, at_most=None if classes < 100 else 1.1)
  report.ratio(case, "IsoMax, features beside prototypes / SoftMax", near.seconds / softmax.seconds)
  print(f"memory: IsoMax {megabytes['IsoMax']:.1f} MB, SoftMax {megabytes['SoftMax']:.1f} MB")
  memory = megabytes["IsoMax"] / megabytes["SoftMax"]
  report.ratio(case, "memory of IsoMax / of SoftMax", memory, at_most=1.2)


def compare_with_authors(
  report: _report.Report, case: str, problem: Problem, *, repeats: int, device: str
) -> float:
  """Time the authors' form against IsoMax in turns; return the seconds of one call."""
  isomax = jax.jit(jax.value_and_grad(isomax_loss, (0, 1)))
  contenders = {
    "IsoMax": lambda: isomax(problem.far, problem.prototypes, problem.labels),
    AUTHORS: authors_step(problem, device=device),
  }
  timings = _timing.measure(contenders, repeats=repeats)
  report.timings(f"{case}, beside PyTorch", timings)
  ours, theirs = timings.values()
  at_least = 10 if problem.prototypes.shape[0] == 1_000 else None
  ratios = theirs.seconds / ours.seconds
  report.ratio(case, "the authors' form in PyTorch / IsoMax", ratios, at_least=at_least)
  return theirs.median


def report_accuracy(problem: Problem, *, rows: int = 32) -> None:
  """Print how far distances are from direct differences in float64."""
  prototypes = np.float64(problem.prototypes)
  for name, features in (("far from", problem.far), ("beside", problem.near)):
    distances = np.float64(jax.jit(pairwise_distance)(features, problem.prototypes)[:rows])
    exact = np.array([np.linalg.norm(f - prototypes, axis=-1) for f in np.float64(features[:rows])])
    error = np.max(np.abs(distances / exact - 1))
    met = "met" if error <= 1e-5 else "NOT met"
    print(f"largest relative error {name} prototypes: {error:.1e}, target <= 1e-5 {met}")


def isomax_loss(features: jax.Array, prototypes: jax.Array, labels: jax.Array) -> jax.Array:
  """Return the mean loss of an IsoMax head."""
  logits = isomax_logits(features, prototypes)
  return scaled_cross_entropy(logits, labels, entropic_scale=ENTROPIC_SCALE).mean()


def softmax_loss(
  features: jax.Array, kernel: jax.Array, bias: jax.Array, labels: jax.Array
) -> jax.Array:
  """Return the mean loss of an affine head."""
  logits = features @ kernel + bias
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def authors_step(problem: Problem, *, device: str) -> Callable[[], Any]:
  """Return the authors' forward and backward pass: ``cdist`` in full, softmax, then logarithm."""
  import torch

  features = torch.tensor(np.asarray(problem.far), requires_grad=True, device=device)
  prototypes = torch.tensor(np.asarray(problem.prototypes), requires_grad=True, device=device)
  rows = torch.arange(BATCH, device=device)
  labels = torch.tensor(np.asarray(problem.labels), dtype=torch.long, device=device)

  def step() -> float:
    features.grad = prototypes.grad = None
    mode = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(features, prototypes, p=2.0, compute_mode=mode)
    probabilities = torch.softmax(-ENTROPIC_SCALE * distances, dim=1)
    loss = (-torch.log(probabilities[rows, labels])).mean()
    loss.backward()
    if device == "cuda":
      torch.cuda.synchronize()
    return loss.item()

  return step


def draw(classes: int, width: int = WIDTH) -> Problem:
  """Draw rectified features, as a network's average pooling gives them, and prototypes."""
  generator = np.random.default_rng(classes)
  labels = generator.integers(0, classes, BATCH)
  far = np.maximum(generator.normal(size=(BATCH, width)), 0)
  prototypes = 0.5 * np.abs(generator.normal(size=(classes, width)))
  near = prototypes[labels] + 1e-3 * generator.normal(size=(BATCH, width))
  arrays = (jnp.asarray(array, jnp.float32) for array in (far, near, prototypes))
  return Problem(*arrays, labels=jnp.asarray(labels, jnp.int32))


if __name__ == "__main__":
  main()
