"""`jaxcnn convert`."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

import tyro

from jaxcnn import training, weights
from jaxcnn.cli.runs import open_run, parse_options, told_of
from jaxcnn.weights.files import known_suffix
from jaxcnn.weights.opening import open_stored
from jaxcnn.weights.runs import read_any


@dataclasses.dataclass(frozen=True)
class Convert:
    """Convert weights from or to other libraries' files, names and layouts."""

    source: tyro.conf.Positional[Path]
    """Run folder or file: .safetensors, .npz, or, with PyTorch installed, .pt, .pth, .th, .pth.tar, .ckpt, .bin."""
    out: tyro.conf.Positional[Path]
    """File to write; its ending decides the format: .safetensors, .npz, .pt, .pth or .th. Without an ending, a folder
    that is ready for the Hugging Face hub, with a model card."""
    to: (
        Literal[
            "jaxcnn",
            "torchvision",
            "timm",
            "cifar",
            "cifar_fc",
            "cifar_linear",
            "tutorial",
            "features",
            "features_flatten",
            "sequential",
            "flax",
            "pytorch",
        ]
        | None
    ) = None
    """Library whose names and layouts to write. None means jaxcnn, and for a PyTorch file those of weights.to_torch."""
    model: str | None = None
    """Name of the network, if SOURCE does not hold it; `jaxcnn models` lists the names."""
    model_options: tuple[str, ...] = ()
    """Arguments of that network, for example: --model-options num_classes=7 shortcut=B."""
    part: str | None = None
    """Part of SOURCE that holds the weights, for example model_ema; None means the trained parameters."""

    def __call__(self) -> None:
        """Prints what was read and written."""
        if not self.out.suffix and self.model is None and self.part is None and self.to is None:
            self._write_folder()
            return
        known_suffix(self.out)
        if self.out.is_dir():
            raise ValueError(f"`out` must be a file; {self.out} is a folder.")
        if self.model_options and self.model is None:
            raise ValueError("`model_options` need a `model`; got none.")
        config = None
        if self.model is not None:
            options = parse_options(self.model_options)
            sizes = {key: options.pop(key) for key in ("num_classes", "in_features") if key in options}
            config = {"name": self.model, **sizes, "options": options}
        model, config, report = open_stored(read_any(self.source), config=config, part=self.part)
        weights.save(model, self.out, config=config, scheme=self.to)
        print(f"read {self.source}: {config['name']}, {report.scheme} names, {report.counts()}")
        for line in (*report.source(), *(f"ignored: {name}" for name in report.passed_over)):
            print(f"  {line}")
        written = weights.load(model, self.out)  # which proves the file
        print(f"wrote {self.out}: {self.to or written.scheme} names, {len(written.matched)} arrays")

    def _write_folder(self) -> None:
        """Writes a network as a folder with a model card.

        The network is that of a run, a file or a name. What is known of its results is written too.
        """
        run = open_run(self.source)
        config = told_of(run)
        metrics, made = {}, run.description.get("command", "")
        result = run.folder / "evaluation.json"
        if result.is_file():
            told = json.loads(result.read_text("utf-8"))
            metrics = {key: value for key, value in told.items() if key in training.METRICS and value is not None}
        data = run.description["data"].get("name") or ""
        made = f"By `{made}`." if made else ""
        weights.save_pretrained(run.model, self.out, config=config, metrics=metrics, data=data, made=made)
        print(f"wrote {self.out}: {config['name']}, ready for `hf upload OWNER/NAME {self.out}`")
