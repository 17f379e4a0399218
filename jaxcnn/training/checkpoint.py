"""Checkpoints of everything a run needs to go on, by Orbax."""

import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.training.step import TrainState


class Checkpoints:
    """The checkpoints in a folder, numbered by step. Each is written whole or not at all.

    Args:
      folder: where they are; made if missing.
      keep: how many stay, the newest ones.
    """

    def __init__(self, folder: Path, keep: int = 2):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax reports every file that it touches
        self._ocp = ocp
        self._manager = ocp.CheckpointManager(
            folder.absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        )

    def latest(self) -> int | None:
        """The step of the newest checkpoint."""
        return self._manager.latest_step()

    def save(self, state: TrainState, position: dict[str, Any]) -> None:
        """Begins to write a checkpoint; the arrays are copied before this returns."""
        items = self._ocp.args.Composite(
            state=self._ocp.args.StandardSave(_without_keys(state)),
            position=self._ocp.args.JsonSave({"position": position, "shapes": _shapes(state)}),
        )
        self._manager.save(int(state.step), args=items)

    def restore(self, like: TrainState, step: int | None = None) -> tuple[TrainState, dict[str, Any]]:
        """Reads a checkpoint, by default the newest.

        Args:
          like: a state of the same structure; its shapes, dtypes and devices are those of the result.
          step: which checkpoint.

        Raises:
          ValueError: if there is none, or it does not fit.
        """
        step = self.latest() if step is None else step
        if step is None:
            raise ValueError(f"{self._manager.directory} must hold a checkpoint; it holds none.")
        items = self._ocp.args.Composite(position=self._ocp.args.JsonRestore())
        told = self._manager.restore(step, args=items)["position"]
        wanted = _shapes(like)
        wrong = sorted(k for k in told["shapes"].keys() | wanted.keys() if told["shapes"].get(k) != wanted.get(k))
        if wrong:
            found, asked = told["shapes"].get(wrong[0]), wanted.get(wrong[0])
            raise ValueError(
                f"checkpoint {step} in {self._manager.directory} does not fit the network; "
                f"{wrong[0]} is {found} in the one, {asked} in the other."
            )
        abstract = jax.tree.map(self._ocp.utils.to_shape_dtype_struct, _without_keys(like))
        items = self._ocp.args.Composite(state=self._ocp.args.StandardRestore(abstract))
        restored = self._manager.restore(step, args=items)
        return _with_keys(restored["state"], like), told["position"]

    def close(self) -> None:
        """Waits until everything is written."""
        self._manager.close()


def _shapes(state: TrainState) -> dict[str, list]:
    """Shape and dtype of every array, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(_without_keys(state))
    return {jax.tree_util.keystr(path): [*leaf.shape, str(leaf.dtype)] for path, leaf in leaves}


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _without_keys(state: TrainState) -> TrainState:
    """Random keys as the integers behind them, which any reader of the file understands."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state)


def _with_keys(state: TrainState, like: TrainState) -> TrainState:
    def wrap(leaf: jax.Array, model: jax.Array) -> jax.Array:
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(model)) if _is_key(model) else leaf

    return jax.tree.map(wrap, state, like)
