"""A case at which an op's rule is proven: its inputs."""

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
    """The arguments of one call of `check.check_vjp`.

    Args:
      op: name of the op.
      label: the configuration in words.
      function: the op with this configuration.
      args: its arrays.
      options: further arguments of `check_vjp`.
    """

    op: str
    label: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]


random = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    """Draws standard normal values in float32."""
    return random.normal(size=shape).astype(np.float32)


def apart(*shape: int) -> np.ndarray:
    """Draws values away from every kink.

    They differ by at least 0.05, and from 0 and 1 by at least 0.02.
    """
    count = int(np.prod(shape))
    return ((random.permutation(count).reshape(shape) - count // 2) * 0.05 + 0.02).astype(np.float32)


def case(op: str, options: dict[str, Any], args: tuple, *, function=None, reference=None, **proof: Any) -> Case:
    """Makes a case of the op with these options.

    By default it is compared with its plain form, `rule="autodiff"`.
    """
    bound = function or partial(getattr(ops, op), **options)
    if reference is None:
        reference = partial(bound, rule="autodiff")
    label = ", ".join(f"{key}={value}" for key, value in options.items()) or "plain"
    return Case(op, label, bound, args, {"reference": reference, **proof})
