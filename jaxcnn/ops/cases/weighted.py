"""Cases with masks and weights, which are arrays among the options."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np

from jaxcnn import ops
from jaxcnn.ops.cases.case import Case, apart, case, normal


def weighted_cases() -> Iterator[Case]:
    """Yields the cases with masks and weights."""
    masked = (
        normal(4, 5, 4, 2),
        normal(3, 2, 2, 2),
        np.where(np.arange(24).reshape(3, 2, 2, 2) % 3, normal(3, 2, 2, 2), 0),
    )
    yield case("conv", {"mask": "given"}, masked, function=_masked_conv, batched=(0,), multilinear=(0, 1, 2))
    parameters, positive = (normal(6), normal(6)), np.linspace(0.25, 3.0, 6, dtype=np.float32)
    mask = np.arange(24).reshape(4, 6) % 5 > 0  # the channels have 4 and 3 cells that count
    yield case("batch_norm", {"mask": "given"}, (normal(4, 6), *parameters, mask), function=_masked_norm)
    yield case(
        "batch_norm_relu",
        {"mask": "given"},
        (normal(4, 6), *parameters, mask, normal(4, 6)),
        function=_masked_norm_relu,
    )
    flat, probabilities = apart(4, 6), np.abs(normal(4, 6))
    yield case(
        "binary_cross_entropy",
        {"pos_weight": "per class"},
        (flat, probabilities, positive),
        function=_weighted_binary,
        batched=(0, 1),
    )
    for reduction, spread in (("none", (0, 1)), ("mean", ())):
        options = {"label_smoothing": 0.1, "ignore_index": 1, "reduction": reduction}
        yield case(
            "softmax_cross_entropy",
            {"class_weights": "given", **options},
            (flat, jnp.arange(4), positive),
            function=partial(_weighted_classes, **options),
            batched=spread,
        )


def _masked_conv(inputs, kernel, mask, rule: Literal["hand", "autodiff"] = "hand"):
    return ops.conv(inputs, kernel, mask=mask, rule=rule)


def _masked_norm(x, scale, bias, mask, rule: Literal["hand", "autodiff"] = "hand"):
    return ops.batch_norm(x, scale, bias, mask=mask, rule=rule)


def _masked_norm_relu(x, scale, bias, mask, shortcut, rule: Literal["hand", "autodiff"] = "hand"):
    return ops.batch_norm_relu(x, scale, bias, shortcut, mask=mask, rule=rule)


def _weighted_binary(logits, targets, pos_weight, rule: Literal["hand", "autodiff"] = "hand"):
    return ops.binary_cross_entropy(logits, targets, pos_weight=pos_weight, rule=rule)


def _weighted_classes(logits, labels, class_weights, **options):
    return ops.softmax_cross_entropy(logits, labels, class_weights=class_weights, **options)
