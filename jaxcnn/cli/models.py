"""`jaxcnn models`."""

import dataclasses
import inspect
import math

import jax
from flax import nnx

from jaxcnn import models


@dataclasses.dataclass(frozen=True)
class Models:
    """List the networks: name, parameters, and what each is."""

    def __call__(self) -> None:
        """Prints the table."""
        from rich.console import Console
        from rich.table import Table

        table = Table("name", "parameters", "what it is", box=None)
        for name in sorted(models.MODELS):
            abstract = nnx.eval_shape(lambda name=name: models.create(name, rngs=nnx.Rngs(0)))
            leaves = jax.tree.leaves(nnx.state(abstract, nnx.Param))
            about = (inspect.getdoc(models.MODELS[name]) or "").splitlines()[0]
            table.add_row(name, f"{sum(math.prod(leaf.shape) for leaf in leaves):,}", about)
        Console(soft_wrap=True).print(table)
