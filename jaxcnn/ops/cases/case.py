"""One place at which an op is proven, and inputs that suit it."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jaxcnn import ops

AT_A_PLACE = ("differences", "reference", "adjoint", "value", "second_order")
AT_A_KINK = ("reference", "value")  # where differences mean nothing


@dataclasses.dataclass(frozen=True)
class Case:
    """One call of `check.check_vjp`."""

    op: str
    label: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]


random = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(np.float32)


def apart(*shape: int) -> np.ndarray:
    """Values no two of which are nearer than 0.05, nor any nearer to 0 or 1 than 0.02: away from every kink."""
    count = int(np.prod(shape))
    return ((random.permutation(count).reshape(shape) - count // 2) * 0.05 + 0.02).astype(np.float32)


def case(op: str, options: dict[str, Any], args: tuple, *, function=None, reference=None, **proof: Any) -> Case:
    bound = function or partial(getattr(ops, op), **options)
    if reference is None:
        reference = partial(bound, rule="autodiff")
    label = ", ".join(f"{key}={value}" for key, value in options.items()) or "plain"
    return Case(op, label, bound, args, {"reference": reference, **proof})
