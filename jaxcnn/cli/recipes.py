"""`jaxcnn recipes`."""

import dataclasses
import json

import tyro

from jaxcnn import training


@dataclasses.dataclass(frozen=True)
class Recipes:
    """List the recipes for `train --recipe`, or print one as JSON."""

    name: tyro.conf.Positional[str | None] = None
    """Recipe to print; None lists all."""

    def __call__(self) -> None:
        """Prints a line for every recipe, or one recipe's values."""
        if self.name is not None:
            print(json.dumps(dataclasses.asdict(recipe(self.name).config), indent=2))
            return
        for name, (_, network, source) in sorted(training.RECIPES.items()):
            print(f"{name}: {network}\n  {source}")


def recipe(name: str) -> training.Recipe:
    """A recipe by its name.

    Raises:
      ValueError: if there is none.
    """
    if name not in training.RECIPES:
        raise ValueError(f"`recipe` must be one of {', '.join(sorted(training.RECIPES))}; got {name!r}.")
    return training.RECIPES[name]
