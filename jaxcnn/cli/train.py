"""`jaxcnn train`."""

import ast
import dataclasses
import shlex
import signal
from importlib import metadata
from pathlib import Path
from typing import Any

import tyro

from jaxcnn import data, inspect, models, training
from jaxcnn.cli.progress import observing
from jaxcnn.cli.runs import ARGUMENTS, build, held_out_split, record_evaluation
from jaxcnn.training import TrainConfig


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a network, and leave a run folder with a report to look at."""

    model: tyro.conf.Positional[str] = "lenet5"
    """Network, by its name in `jaxcnn models`."""
    data: str = "digits"
    """Data set: digits (embedded, needs no files), mnist, folder:PATH, fsdd, rt-polarity."""
    data_dir: Path | None = None
    """Folder of the data set's files; default $JAXCNN_DATA_DIR."""
    out: Path | None = None
    """Run folder; default runs/MODEL-DATA-seedSEED, numbered if it is taken."""
    resume: bool = False
    """Go on with the run in the run folder."""
    model_options: tuple[str, ...] = ()
    """Arguments of the network, as in: --model-options pool=average activation=tanh."""
    config: TrainConfig = TrainConfig()

    def __call__(self) -> int:
        """Trains, evaluates on the test split, writes the report."""
        train, held_out, test = (
            data.load(self.data, split, self.data_dir) for split in ("train", held_out_split(self.data), "test")
        )
        options = _parse_options(self.model_options)
        folder = self._folder()
        shape = train.images.shape[1:]
        model = build(self.model, len(train.classes), train.features, shape, options, self.config.seed)
        models.summary(model, (1, *shape))  # refuses images that do not fit, before anything is written
        details = {
            "model": {"name": self.model, "options": options},
            "command": shlex.join(["jaxcnn", *ARGUMENTS.get()]),
            "versions": {name: metadata.version(name) for name in ("jaxcnn", "jax", "flax", "optax")},
        }
        print(f"training {self.model} on {len(train.labels):,} {self.data} images; run folder {folder}")
        total = self.config.epochs * data.steps_per_epoch(len(train.labels), self.config.batch_size)
        with _StopRequested() as stop, observing(total) as observer:
            result = training.fit(
                model,
                train,
                held_out,
                self.config,
                folder=folder,
                resume=self.resume,
                details=details,
                observer=observer,
                should_stop=stop,
            )
        if result.interrupted:
            print(f"stopped at step {result.steps} with a checkpoint; go on with: {_resume_command(details, folder)}")
            return 130 if stop.signal == signal.SIGINT else 0
        found = training.evaluate(model, test, result.scaling, loss=self.config.loss)
        record_evaluation(folder, test.split, found)
        report = inspect.write_report(folder, model, test, result.scaling)
        right = round(found.accuracy * found.count)
        print(f"test accuracy {100 * found.accuracy:.2f} % ({right} of {found.count}), test loss {found.loss:.4f}")
        print(f"report {report}")
        return 0

    def _folder(self) -> Path:
        if self.out is not None:
            if self.resume and not (self.out / "config.json").exists():
                raise ValueError(f"`resume` needs the folder of a run; {self.out} is none.")
            return self.out
        base = f"{self.model}-{self.data}-seed{self.config.seed}"
        taken = 0
        while _numbered(base, taken + 1).exists():
            taken += 1
        if self.resume and not taken:
            raise ValueError(f"`resume` needs the folder of a run; {_numbered(base, 1)} is none.")
        return _numbered(base, taken if self.resume else taken + 1)


def _numbered(base: str, number: int) -> Path:
    return Path("runs") / (base if number == 1 else f"{base}-{number}")


def _parse_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`name=value` pairs, values read as Python literals where they are."""
    options = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"`model_options` must be NAME=VALUE; got {pair!r}.")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        options[name.replace("-", "_")] = value
    return options


def _resume_command(details: dict[str, Any], folder: Path) -> str:
    words = [word for word in shlex.split(details["command"]) if word != "--resume"]
    out = [] if "--out" in words else ["--out", str(folder)]
    return shlex.join([*words, *out, "--resume"])


class _StopRequested:
    """True once SIGINT or SIGTERM has come; a second SIGINT interrupts at once."""

    def __init__(self):
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> "_StopRequested":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
