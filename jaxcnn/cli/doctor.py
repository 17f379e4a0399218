"""`jaxcnn doctor`."""

import dataclasses
import platform
from importlib import metadata

_REQUIRED = ("jaxcnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn", "matplotlib")
_OPTIONAL = {
    "torch": ("torch", "PyTorch, for its files of weights, and as a peer in tests and benchmarks"),
    "huggingface_hub": ("hub", "trained networks by name"),
    "pytest": ("test", "the tests"),
    "tensorboardX": ("tensorboard", "a run's log for TensorBoard"),
    "optuna": ("sweep", "sweeps whose settings are chosen from results"),
    "wandb": ("wandb", "a run's log for Weights & Biases"),
}


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Show installed packages, optional packages, and available devices."""

    def __call__(self) -> None:
        """Prints the findings."""
        import os

        import jax

        from jaxcnn.ops import native

        print(f"Python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores")
        for name in _REQUIRED:
            print(f"  {name:18s} {_version(name) or 'missing: pip install ' + name}")
        print(f"devices of the default backend, {jax.default_backend()}:")
        for device in jax.devices():
            print(f"  {device.id}  {device.device_kind}")
        print(f"fast convolutions, pools and norms on CPU: {native.reason()}")
        print("optional:")
        for name, (extra, use) in _OPTIONAL.items():
            version = _version(name) or f"missing: pip install 'jaxcnn[{extra}]'"
            print(f"  {name:18s} {version}  ({use})")
        if jax.default_backend() == "cpu":
            print("  accelerator        none in use: pip install 'jaxcnn[cuda]' or 'jaxcnn[tpu]' where there is one")
            _print_choices()


def _print_choices() -> None:
    """How `method="auto"` computes each kind of operation here."""
    from rich.console import Console
    from rich.table import Table

    from jaxcnn.ops import choices, native

    def cell(kind: str, part: str) -> str:
        method = choices.fastest(kind, part, native.active())
        ratio = choices.ratios(kind, part).get(method)
        return method if ratio is None else f"{method} {ratio:.2g}"

    table = Table("convolution", *choices.PARTS.values(), title="method='auto' here; speed against XLA's own")
    for kind in choices.KINDS:
        table.add_row(kind, *(cell(kind, part) for part in choices.PARTS))
    Console().print(table)
    table = Table("besides", choices.WHOLE)
    for kind in (*choices.POOL_KINDS, choices.NORM):
        table.add_row(kind, cell(kind, choices.WHOLE))
    Console().print(table)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
