"""Float64 NumPy oracles, written from the formulas: no shared code with the library, no JAX.

Arrays of any real dtype come in and are taken at their exact values. A ``*_gradient`` takes the
arguments of the function it belongs to and the cotangent of its value, and returns the cotangents
of its arrays.
"""

import numpy as np


def _float64(*arrays):
  return tuple(np.asarray(array).astype(np.float64) for array in arrays)


def distances(features, prototypes):
  """Return ``‖f - p_j‖`` of ``[..., D]`` and ``[C, D]``, by direct difference."""
  features, prototypes = _float64(features, prototypes)
  differences = (row - prototypes for row in _rows(features))
  rows = [np.sqrt(np.einsum("cd,cd->c", difference, difference)) for difference in differences]
  return np.reshape(rows, (*features.shape[:-1], prototypes.shape[0]))


def distances_gradient(features, prototypes, cotangent):
  """Return the cotangents of features and prototypes; zero where a distance is zero."""
  features, prototypes, cotangent = _float64(features, prototypes, cotangent)
  of_features, of_prototypes = [], np.zeros_like(prototypes)
  for row, of_row in zip(_rows(features), _rows(cotangent), strict=True):
    difference = row - prototypes
    d = np.sqrt(np.einsum("cd,cd->c", difference, difference))
    weights = np.divide(of_row, d, where=d > 0, out=np.zeros_like(d))
    of_features.append(weights @ difference)
    of_prototypes -= weights[:, None] * difference
  return np.reshape(of_features, features.shape), of_prototypes


def isomax_logits(features, prototypes):
  return -distances(features, prototypes)


def isomax_logits_gradient(features, prototypes, cotangent):
  return distances_gradient(features, prototypes, -np.asarray(cotangent))


def isomax_plus_logits(features, prototypes, distance_scale):
  return -abs(float(distance_scale)) * distances(normalize(features), normalize(prototypes))


def isomax_plus_logits_gradient(features, prototypes, distance_scale, cotangent):
  return _scaled_gradient(features, prototypes, distance_scale, -_float64(cotangent)[0])


def dismax_logits(features, prototypes, distance_scale):
  d = -isomax_plus_logits(features, prototypes, distance_scale) / np.sqrt(2)
  return -(d + d.mean(-1, keepdims=True))


def dismax_logits_gradient(features, prototypes, distance_scale, cotangent):
  (cotangent,) = _float64(cotangent)
  of_d = -(cotangent + cotangent.mean(-1, keepdims=True))
  return _scaled_gradient(features, prototypes, distance_scale, of_d / np.sqrt(2))


def normalize(vectors):
  """Return ``v / ‖v‖`` of the last axis; zero for zero."""
  (vectors,) = _float64(vectors)
  norm = np.sqrt(np.square(vectors).sum(-1, keepdims=True))
  return np.divide(vectors, norm, where=norm > 0, out=np.zeros_like(vectors))


def softmax(logits):
  (logits,) = _float64(logits)
  weights = np.exp(logits - logits.max(-1, keepdims=True))
  return weights / weights.sum(-1, keepdims=True)


def scaled_cross_entropy(logits, labels, *, entropic_scale):
  """Return ``log(1 + Σ_{j≠y} exp(Es (L_j - L_y)))``, which keeps the digits of tiny losses."""
  gaps, _ = _gaps_to_label(logits, labels, entropic_scale)
  return np.logaddexp(0, np.logaddexp.reduce(gaps, axis=-1, initial=-np.inf))


def scaled_cross_entropy_gradient(logits, labels, cotangent, *, entropic_scale):
  """Return ``g Es (p - e_y)``, with ``p_y - 1`` as the sum of the others."""
  gaps, is_label = _gaps_to_label(logits, labels, entropic_scale)
  loss = np.logaddexp(0, np.logaddexp.reduce(gaps, axis=-1, initial=-np.inf))
  p = np.exp(gaps - loss[..., None])
  p = np.where(is_label, -p.sum(-1, keepdims=True), p)
  return entropic_scale * p * np.asarray(cotangent, np.float64)[..., None]


def outlier_exposure(logits, *, entropic_scale):
  (logits,) = _float64(logits)
  scaled = entropic_scale * logits
  return np.logaddexp.reduce(scaled, axis=-1) - scaled.mean(-1)


def outlier_exposure_gradient(logits, cotangent, *, entropic_scale):
  (logits,) = _float64(logits)
  p = softmax(entropic_scale * logits)
  return entropic_scale * (p - 1 / logits.shape[-1]) * np.asarray(cotangent)[..., None]


def maximum_probability(logits):
  return softmax(logits).max(-1)


def maximum_probability_gradient(logits, cotangent):
  p, first = softmax(logits), _is_maximum(logits)
  others = np.where(first, 0, p).sum(-1, keepdims=True)
  return p.max(-1, keepdims=True) * np.where(first, others, -p) * np.asarray(cotangent)[..., None]


def log_odds(logits):
  """Return ``-log Σ_{j≠m} exp(L_j - L_m)``, ``m`` being the first largest; inf for one class."""
  (logits,) = _float64(logits)
  gaps = np.where(_is_maximum(logits), -np.inf, logits - logits.max(-1, keepdims=True))
  return -np.logaddexp.reduce(gaps, axis=-1)


def log_odds_gradient(logits, cotangent):
  (logits,) = _float64(logits)
  first = _is_maximum(logits)
  others = np.where(first, 0, softmax(logits))
  total = others.sum(-1, keepdims=True)
  others = np.divide(others, total, where=total > 0, out=np.zeros_like(others))
  return np.where(first, others.sum(-1, keepdims=True), -others) * np.asarray(cotangent)[..., None]


def entropic_score(logits):
  """Return ``Σ p log p`` with ``log p`` of the largest class by ``log1p`` and 0 log 0 = 0."""
  p, log_p = _probabilities(logits)
  return np.where(p > 0, p * np.where(p > 0, log_p, 0), 0).sum(-1)


def entropic_score_gradient(logits, cotangent):
  p, log_p = _probabilities(logits)
  score = entropic_score(logits)[..., None]
  return np.where(p > 0, p * (np.where(p > 0, log_p, 0) - score), 0) * _column(cotangent)


def max_logit(logits):
  return _float64(logits)[0].max(-1)


def max_logit_gradient(logits, cotangent):
  return _is_maximum(logits) * _column(cotangent)


def energy(logits, *, temperature=1.0):
  return temperature * np.logaddexp.reduce(_float64(logits)[0] / temperature, axis=-1)


def energy_gradient(logits, cotangent, *, temperature=1.0):
  return softmax(_float64(logits)[0] / temperature) * _column(cotangent)


def mmles(logits):
  return max_logit(logits) + _float64(logits)[0].mean(-1) + entropic_score(logits)


def mmles_gradient(logits, cotangent):
  of_mean = np.broadcast_to(_column(cotangent) / np.shape(logits)[-1], np.shape(logits))
  return (
    max_logit_gradient(logits, cotangent) + of_mean + entropic_score_gradient(logits, cotangent)
  )


def directional_derivative(function, points, directions, *, step=1e-4):
  """Return the central difference of ``function(*points)`` along the directions, fourth order."""
  points, directions = _float64(*points), _float64(*directions)

  def at(multiple):
    return function(*(x + multiple * step * v for x, v in zip(points, directions, strict=True)))

  near = np.asarray(at(1)) - np.asarray(at(-1))
  far = np.asarray(at(2)) - np.asarray(at(-2))
  return (8 * near - far) / (12 * step)


def convolution(images, kernel, *, stride, padding):
  """Return the cross-correlation of ``[B, H, W, I]`` with ``[h, w, I, O]``, zero-padded."""
  images, kernel = _float64(images, kernel)
  images = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(images, kernel.shape[:2], axis=(1, 2))
  return np.einsum("bxyihw,hwio->bxyo", windows[:, ::stride, ::stride], kernel)


def batch_norm(images, scale, bias, mean, var, *, epsilon=1e-5):
  """Return ``scale (x - mean) / sqrt(var + epsilon) + bias`` by channel."""
  images, scale, bias, mean, var = _float64(images, scale, bias, mean, var)
  return (images - mean) / np.sqrt(var + epsilon) * scale + bias


def _rows(array):
  return array.reshape(int(np.prod(array.shape[:-1])), array.shape[-1])


def _column(cotangent):
  return np.asarray(cotangent, np.float64)[..., None]


def _scaled_gradient(features, prototypes, distance_scale, of_scaled):
  """Return the cotangents through ``|s| ‖f/‖f‖ - p/‖p‖‖``, given that of the scaled distance."""
  s = float(distance_scale)
  d = distances(normalize(features), normalize(prototypes))
  of_f, of_p = distances_gradient(normalize(features), normalize(prototypes), abs(s) * of_scaled)
  return (
    _through_norm(features, of_f),
    _through_norm(prototypes, of_p),
    np.sign(s) * (of_scaled * d).sum(),
  )


def _through_norm(vectors, cotangent):
  (vectors,) = _float64(vectors)
  unit = normalize(vectors)
  norm = np.sqrt(np.square(vectors).sum(-1, keepdims=True))
  tangential = cotangent - unit * (unit * cotangent).sum(-1, keepdims=True)
  return np.divide(tangential, norm, where=norm > 0, out=np.zeros_like(tangential))


def _gaps_to_label(logits, labels, entropic_scale):
  """Return ``Es (L_j - L_y)``, -inf at the label, and where the label is."""
  scaled = entropic_scale * _float64(logits)[0]
  is_label = np.arange(scaled.shape[-1]) == np.asarray(labels)[..., None]
  of_label = np.where(is_label, scaled, 0).sum(-1, keepdims=True)
  return np.where(is_label, -np.inf, scaled - of_label), is_label


def _is_maximum(logits):
  logits = np.asarray(logits)
  return np.arange(logits.shape[-1]) == logits.argmax(-1)[..., None]


def _probabilities(logits):
  (logits,) = _float64(logits)
  gaps, first = logits - logits.max(-1, keepdims=True), _is_maximum(logits)
  others = np.where(first, 0, np.exp(gaps)).sum(-1, keepdims=True)
  log_p = gaps - np.log1p(others)
  return np.exp(log_p), log_p
