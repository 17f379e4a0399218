"""`jaxcnn train`."""

import dataclasses
import functools
import json
import re
import shlex
import signal
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxcnn import data, inspect, models, training
from jaxcnn.cli.beginning import as_fed, began_with, begin_with, lowered
from jaxcnn.cli.config_files import arguments_of, written
from jaxcnn.cli.overlaps import overlaps
from jaxcnn.cli.progress import observing, watching
from jaxcnn.cli.rates import print_rates
from jaxcnn.cli.runs import ARGUMENTS, Run, open_run, parse_options, record_evaluation, sized, told
from jaxcnn.cli.stopping import StopRequested
from jaxcnn.data import Dataset, Division
from jaxcnn.models.importing import is_own
from jaxcnn.ops import native
from jaxcnn.training import TrainConfig, files
from jaxcnn.training.checkpoint import newest_step, written_in
from jaxcnn.weights.runs import build


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a network, and write a run folder and a report."""

    model: tyro.conf.Positional[str] = "lenet5"
    """Name of a network that `jaxcnn models` lists; or MODULE:FUNCTION, your own function that makes a network."""
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File of options: .json, .yaml or .toml, or the config.json of a run. Other options override it."""
    print_config: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print all options as JSON, which `--config` can read, and do not train."""
    find_lr: tyro.conf.FlagCreatePairsOff[bool] = False
    """Find a learning rate: 120 steps in which it grows from 1e-5 to 10 (Smith 2017). Print the losses and a
    suggested rate, draw them in find-lr-MODEL-DATA.png, and do not train."""
    data: str = "digits"
    """Data set: digits, mnist, fashion_mnist, cifar10, cifar100, imagenet2012, imagenette, mnist1d, fsdd, rt-polarity,
    faces, scenes, scene_masks, rotated_digits;
    or tfds:NAME, folder:PATH, masks:PATH, npz:PATH, idx:PATH. The default, digits, needs no files."""
    data_dir: Path | None = None
    """Folder of the data set's files; None means $JAXCNN_DATA_DIR."""
    image_size: int | None = None
    """Height and width that all pictures are resized to; None leaves them as they are."""
    stream: bool | None = None
    """Read examples when they are needed, not all at the start; None does so if they do not fit into memory."""
    workers: int | None = None
    """Number of processes that read examples with `--stream`; None chooses by the cores."""
    skip_corrupt: tyro.conf.FlagCreatePairsOff[bool] = False
    """Train without the damaged pictures, and print at the end how many there were."""
    allow_empty: tyro.conf.FlagCreatePairsOff[bool] = False
    """Accept a data set in which some class has no training picture; the network cannot learn that class."""
    validation: float = 0.0
    """Share of the training examples to hold out for validation, if the data set has no validation split."""
    split: tuple[float, ...] = ()
    """Shares of training, validation and test examples, for data without splits; for example: --split 0.7 0.15 0.15.
    Each class is divided so. Without it, a folder without folders of splits is divided by 0.8 0.1 0.1."""
    split_group: str | None = None
    """With `--split`: regular expression; pictures whose paths have the same match stay in the same split."""
    split_seed: int = 0
    """With `--split`: seed of the draw."""
    out: Path | None = None
    """Run folder; None means runs/MODEL-DATA-seedSEED, with a number if that exists."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue the run in the run folder from its newest checkpoint."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """With `--resume`: continue even if the configuration has changed."""
    recipe: str | None = None
    """Name of a recipe, which sets the options below; other options override it. `jaxcnn recipes` lists them."""
    init: Path | None = None
    """Run folder, file or name of weights to start from; its network must be the same as MODEL.
    If the classes differ, the network gets a new last layer. Pictures are prepared as for these weights."""
    pretrained: tyro.conf.FlagCreatePairsOff[bool] = False
    """Start from MODEL's published weights, the first that `jaxcnn pretrained` lists for it. All layers except the last
    train at a tenth of the learning rate, unless you give `--layer-rates`."""
    model_options: tuple[str, ...] = ()
    """Arguments of the network, for example: --model-options pool=average activation=tanh."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the computation; the parameters stay in float32."""
    views: training.Views = "one"
    """What the final test averages over: the picture; it and its mirror image; small shifts of both too."""
    parallel: Literal["jit", "fsdp", "pmap"] = "jit"
    """How several devices share a step. jit: the compiler splits the batch; fsdp: the parameters too; pmap: by hand."""
    model_devices: int = 1
    """Number of devices over which the output channels of every layer are split."""
    coordinator: str | None = None
    """For a run of several processes: HOST:PORT of process 0, or auto to ask the cluster."""
    processes: int | None = None
    """Number of processes; needed with HOST:PORT."""
    process: int | None = None
    """Number of this process, from 0; needed with HOST:PORT."""
    log: tuple[Literal["csv", "tensorboard", "wandb"], ...] = ()
    """Other forms of the log, besides metrics.jsonl."""
    profile: int | None = None
    """Number of steps to profile; the trace is written to profile/ in the run folder."""
    compilation_cache: str | None = None
    """Folder that keeps compiled programs for later starts; auto is a folder in your cache, off keeps none.
    None means auto on accelerators and off on a CPU."""
    config: TrainConfig = TrainConfig()

    def __call__(self) -> int:
        """Trains, evaluates on the test split, writes the report."""
        if self.find_lr and self.resume:
            raise ValueError("`find_lr` looks for the rate of a new run; it cannot be given with `resume`.")
        if self.print_config:
            print(json.dumps(written(self), indent=2))
            return 0
        stop = StopRequested()
        return 0 if self.run(stop) or stop.signal != signal.SIGINT else 130

    def run(self, stop: StopRequested) -> bool:
        """Trains until the end or a stop, then evaluates.

        Args:
          stop: what is asked after every step whether to stop; it sees every row of the log.

        Returns:
          Whether the training came to its end.
        """
        training.initialize(self.coordinator, self.processes, self.process)
        training.keep_compiled(self.compilation_cache)
        layout = training.Layout(self.parallel, self.model_devices)
        source = self._source()
        division = self._division()
        train, held_out, test = self._examples(source, division)
        options = self._options(source)
        config = self._config(source)
        folder = self._folder()
        size = sized(config, train.images.shape[1:])
        config = training.settled(config, train)
        task = training.task_for(config, train)
        model = build(self.model, task.outputs(train.classes), train.features, size, options, config.seed)
        models.summary(model, (1, *size))  # refuses images that do not fit, before anything is written
        scaling, beginning = (None, "") if source is None else begin_with(source, model, train, config.seed, task)
        if self.find_lr:
            picture = Path(f"find-lr-{self._base()}.png")
            print_rates(model, train, config, picture, scaling=scaling, layout=layout)
            return True
        details = {
            "model": {"name": self.model, "options": options},
            **({} if division is None else {"division": dataclasses.asdict(division)}),
            **({} if source is None else began_with(source, as_fed(source, self.data, self.image_size))),
            "command": shlex.join(["jaxcnn", *ARGUMENTS.get()]),
            "arguments": arguments_of(self),
            "versions": {name: metadata.version(name) for name in ("jaxcnn", "jax", "flax", "optax")},
        }
        say = print if training.is_first() else _nothing
        with stop:  # from the first line on: libraries may lose an exception, not what is noted
            what = "" if task.name == "classification" else f" for {task.name}"
            on = f"{len(train.labels):,} {self.data} examples"
            say(f"training {self.model} on {on}{what}, {layout}; run folder {folder}")
            if training.is_first():
                for note in self._notes((train, held_out, test), beginning):
                    say(note)
            total = config.epochs * data.steps_per_epoch(len(train.labels), config.batch_size)
            writing = functools.partial(files.writing, last_good=lambda: written_in(folder))
            with observing(total, newest_step(folder) if self.resume else 0) as observer:
                observe, asked = watching(observer, stop, functools.partial(writing, "the standard output", "a line"))
                result = training.fit(
                    model,
                    train,
                    held_out,
                    config,
                    folder=folder,
                    resume=self.resume,
                    force=self.force,
                    details=details,
                    observer=observe,
                    should_stop=asked,
                    layout=layout,
                    sinks=self.log,
                    profile=self.profile,
                    workers=self.workers,
                    scaling=scaling,
                )
        if result.interrupted:
            say(f"stopped at step {result.steps} with a checkpoint; go on with: {_resume_command(details, folder)}")
            return False
        augmentation = training.make_augmentation(config, test, result.scaling)
        evaluation = training.evaluate(
            model, test, result.scaling, task=task, views=self.views, augmentation=augmentation, layout=layout
        )
        first = training.is_first()
        training.leave()
        if not first:
            return True
        if result.best_step not in (None, result.steps) and (config.patience or config.restore_best):
            print(f"the run ends with the best epoch's parameters, of step {result.best_step} of {result.steps}")
        with writing(folder / "evaluation.json", "the result"):
            record_evaluation(folder, test.split, evaluation)
        with writing(folder / "report.html", "the report"):
            report = inspect.write_report(folder, model, test, result.scaling, augmentation=augmentation)
        print(f"test {told(evaluation)}")
        _print_skipped(train, test)
        print(f"report {report}")
        return True

    def _source(self) -> Run | None:
        """The network to start from."""
        if not self.pretrained:
            return None if self.init is None else open_run(self.init)
        if self.init is not None:
            raise ValueError(f"Only one of `pretrained` and `init` may be given; got both, with `init` {self.init}.")
        if is_own(self.model):
            raise ValueError(f"`pretrained` needs a network with published weights; {self.model} is your own.")
        return open_run(Path(self.model))

    def _config(self, source: Run | None) -> TrainConfig:
        """The configuration, with lower rates below published weights' last layer."""
        if source is None or not self.pretrained or self.config.layer_rates:
            return self.config
        return dataclasses.replace(self.config, layer_rates=lowered(source.model))

    def _notes(self, splits: tuple[Dataset, Dataset, Dataset], beginning: str) -> Iterator[str]:
        """What there is to say of the examples before the training."""
        train, held_out, test = splits
        if slower := native.missing():
            yield f"training is slower than it could be, without jaxcnn's C++ backend: {slower}"
        if beginning:
            yield beginning
        yield from dict.fromkeys(note for examples in splits for note in examples.notes)
        yield from overlaps(train, [test] if held_out is test else [held_out, test])
        left = _left_out(len(train.labels), self.config.batch_size)
        if left and self.config.sampling == "uniform":
            yield left
        if self.config.sampling == "balanced" and self.config.class_weights == ("balanced",):
            yield "rare classes are drawn more often and weigh more: one of the two usually suffices"

    def _division(self) -> Division | None:
        """How to divide data without splits."""
        if self.split:
            return Division(self.split, self.split_seed, self.split_group)
        if self.split_group is not None or self.split_seed:
            raise ValueError("`split_group` and `split_seed` need `split`, which is not given.")
        return None

    def _examples(self, source: Run | None, division: Division | None) -> tuple[Dataset, Dataset, Dataset]:
        """Training, held-out and test examples.

        Without a validation split, the test examples are the held-out ones.
        """
        fed = self.image_size if source is None else as_fed(source, self.data, self.image_size)
        options = {"stream": self.stream, "image_size": fed, "skip_corrupt": self.skip_corrupt}
        options |= {"allow_empty": self.allow_empty, "task": self.config.task, "division": division}
        names = data.splits(self.data, self.data_dir, division=division)
        loaded = {name: data.load(self.data, name, self.data_dir, **options) for name in names}
        train, held_out = loaded["train"], loaded.get("validation")
        test = loaded.get("test", held_out)  # where labels of the test split are not public, as ImageNet's
        if test is None:
            raise ValueError(f"`data` must have a test or a validation split; {self.data} has {', '.join(names)}.")
        if self.validation:
            if held_out is not None:
                raise ValueError(
                    f"`validation` must be 0 for {self.data}, which has a split for it; got {self.validation}."
                )
            train, held_out = train.split_off(self.validation)
        if held_out is None and (self.config.patience is not None or self.config.restore_best):
            raise ValueError(
                f"`patience` and `restore_best` need a validation split, which {self.data} has not; set `validation`."
            )
        return train, test if held_out is None else held_out, test

    def _options(self, source: Run | None) -> dict[str, Any]:
        options = parse_options(self.model_options)
        if source is not None and self.pretrained:  # as these weights need them, for instance VGG's average of 7x7
            options = {**source.description["model"]["options"], **options}
        if self.dtype != "float32":
            if "dtype" not in models.options_of(self.model):
                raise ValueError(f"`dtype` must be float32 for {self.model}; got {self.dtype}.")
            options["dtype"] = self.dtype
        return options

    def _base(self) -> str:
        """Makes a file name from the names of network and data."""
        kind, _, place = self.data.partition(":")
        parts = filter(None, [self.model, kind, Path(place).name])
        return re.sub(r"[^\w.-]+", "-", "-".join(parts))

    def _folder(self) -> Path:
        if self.out is not None:
            if self.resume and not (self.out / "config.json").exists():
                raise ValueError(f"`resume` needs the folder of a run; {self.out} is none.")
            return self.out
        base = f"{self._base()}-seed{self.config.seed}"
        taken = 0
        while _numbered(base, taken + 1).exists():
            taken += 1
        if self.resume and not taken:
            raise ValueError(f"`resume` needs the folder of a run; {_numbered(base, 1)} is none.")
        return _numbered(base, taken if self.resume else taken + 1)


def _left_out(count: int, batch_size: int) -> str:
    """Describes the examples that no whole batch holds.

    The text is empty if all batches are whole.
    """
    batches, left = divmod(count, batch_size)
    whole = f"{batches:,} {'batch' if batches == 1 else 'batches'} of {batch_size}"
    rest = "example, another each time, is" if left == 1 else "examples, different ones each time, are"
    return f"each epoch trains {whole}; {left} {rest} left out of it" if left else ""


def _nothing(*_: object) -> None:
    """What processes other than the first say."""


def _numbered(base: str, number: int) -> Path:
    return Path("runs") / (base if number == 1 else f"{base}-{number}")


def _resume_command(details: dict[str, Any], folder: Path) -> str:
    words = [word for word in shlex.split(details["command"]) if word != "--resume"]
    out = [] if "--out" in words else ["--out", str(folder)]
    return shlex.join([*words, *out, "--resume"])


def _print_skipped(train: Dataset, test: Dataset) -> None:
    for kind, skipped in (("training", train.skipped), ("test", test.skipped)):
        if skipped:
            print(f"{len(skipped)} damaged {kind} pictures were left out, the first is {skipped[0]}")
