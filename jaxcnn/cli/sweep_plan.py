"""The plan of a sweep, and its file `sweep.json`."""

import contextlib
import dataclasses
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.cli.config_files import command_of, written
from jaxcnn.cli.sweep_space import Varied, drawn, grid, written_value
from jaxcnn.cli.train import Train
from jaxcnn.training import write_atomically
from jaxcnn.training.lock import FolderInUseError, FolderLock

FILE = "sweep.json"
_LONGEST = 120  # characters of a folder's name that tell its setting
_GROW = {"trials": "a sweep with drawn settings", "seeds": "a sweep"}  # what may be more when it goes on


class Trial(NamedTuple):
    """One training of a sweep.

    Args:
      number: number of its setting.
      setting: by name, the value of every option that is varied.
      seed: seed of the training.
      folder: its run folder.
    """

    number: int
    setting: dict[str, Any]
    seed: int
    folder: Path

    @property
    def title(self) -> str:
        """Its setting and seed in words."""
        return f"{told(self.setting)}, seed {self.seed}" if self.setting else f"seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep trains.

    Args:
      base: the options that all trials have, as `config_files.written` gives them.
      space: the options that are varied.
      seeds: number of trainings with each setting.
      search: how settings are chosen.
      trials: number of settings.
      search_seed: seed of the choice.
      halving: of the trials, one of so many goes on at each rung; None for all.
    """

    base: dict[str, Any]
    space: tuple[Varied, ...]
    seeds: int = 1
    search: str = "grid"
    trials: int = 1
    search_seed: int = 0
    halving: int | None = None

    def settings(self, decided: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the settings that are known, by their numbers.

        Args:
          decided: by number, the settings that were chosen from results.
        """
        if self.search == "grid":
            return list(grid(self.space))
        if self.search == "random":
            return [drawn(self.space, self.search_seed, number) for number in range(self.trials)]
        return [decided[str(number)] for number in range(len(decided))]

    def trial(self, out: Path, number: int, setting: dict[str, Any], repetition: int) -> Trial:
        """Returns one training of a setting.

        Args:
          out: folder of the sweep.
          number: number of the setting.
          setting: the setting.
          repetition: which of the seeds, from 0.
        """
        seed = self.base["seed"] + repetition
        words = ",".join(f"{name}={written_value(value)}" for name, value in _spelled(setting))
        words = re.sub(r"[^\w.,=+-]+", "-", re.sub(r",?[()\[\]{}'\" ]", "", words))
        name = "-".join(filter(None, [f"{number:03d}", words[:_LONGEST].strip("-,"), f"seed{seed}"]))
        return Trial(number, setting, seed, out / name)

    def command(self, trial: Trial) -> Train:
        """Returns the command that trains a trial.

        Raises:
          ValueError: if the values of its options do not fit together.
        """
        values: dict[str, Any] = {**self.base, "seed": trial.seed, "out": str(trial.folder)}
        of_network = {option.name for option in self.space if option.of_network}
        for name, value in trial.setting.items():
            if name in of_network:
                kept = [pair for pair in values["model_options"] if pair.partition("=")[0].replace("-", "_") != name]
                values["model_options"] = [*kept, f"{name}={value}"]
            else:
                values[name] = value
        resumes = (trial.folder / "config.json").exists()
        return dataclasses.replace(command_of(Train, values), resume=resumes)

    def epochs(self, trial: Trial) -> int:
        """Returns the number of epochs that a trial has."""
        return int(trial.setting.get("epochs", self.base["epochs"]))

    @property
    def all_epochs(self) -> int:
        """About how many epochs the whole sweep trains."""
        if any(option.name == "epochs" and self.search != "optuna" for option in self.space):
            return self.seeds * sum(int(setting["epochs"]) for setting in self.settings({}))
        count, before, total = self.trials, 0, 0
        for rung in [*self.rungs, self.base["epochs"]]:
            total += count * (rung - before)
            count, before = math.ceil(count / (self.halving or 1)), rung
        return self.seeds * total

    @property
    def rungs(self) -> list[int]:
        """The epochs after which the worse trials are stopped."""
        if self.halving is None:
            return []
        epochs = self.base["epochs"]
        count = math.ceil(math.log(self.trials) / math.log(self.halving) - 1e-9) if self.trials > 1 else 0
        found = {math.ceil(epochs / self.halving**power) for power in range(1, count + 1)}
        return sorted(epoch for epoch in found if epoch < epochs)

    def as_json(self) -> dict[str, Any]:
        """Returns the plan as plain values."""
        plain = dataclasses.asdict(self)
        plain["space"] = [option._asdict() for option in self.space]
        return json.loads(json.dumps(plain))

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Plan":
        """Makes a plan from plain values."""
        space = tuple(Varied(**{**option, "values": tuple(option["values"])}) for option in plain["space"])
        return cls(**{**plain, "space": space})


def _spelled(setting: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name.replace("_", "-"), value) for name, value in setting.items())


def told(setting: Mapping[str, Any]) -> str:
    """A setting in words."""
    return " ".join(f"{name}={written_value(value)}" for name, value in _spelled(setting))


def read(out: Path) -> dict[str, Any]:
    """Reads the file of a sweep.

    Args:
      out: folder of the sweep.

    Returns:
      Its content, with `plan` and `settings`.

    Raises:
      FileNotFoundError: if the folder is not that of a sweep.
      ValueError: if the file is damaged.
    """
    file = out / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        Plan.of(content["plan"])
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{out} must be the folder of a sweep; it has no {FILE}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} must be what `jaxcnn sweep` wrote; {error}.") from None
    return content


def begin(out: Path, plan: Plan) -> Plan:
    """Writes a plan into its folder, or finds it there.

    A sweep that goes on may have more seeds, and more trials if these are drawn.

    Args:
      out: the folder; created if missing.
      plan: the plan.

    Returns:
      The plan to follow.

    Raises:
      ValueError: if the folder holds another sweep, or something else.
    """
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        if not (out / FILE).exists():
            others = sorted(path.name for path in out.iterdir() if not path.name.startswith((".", FILE)))
            if others:
                raise ValueError(f"`out` must be a new folder, or that of a sweep; {out} holds {others[0]}.")
            _write(out, {"plan": plan.as_json(), "settings": {}})
            return plan
        content = read(out)
        before, now = content["plan"], plan.as_json()
        _check_same(out, before, now)
        content["plan"] = before | {name: max(before[name], now[name]) for name in _GROW}
        _write(out, content)
        return Plan.of(content["plan"])


def _check_same(out: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuses to go on with another sweep.

    The message names what differs.
    """
    usual = json.loads(json.dumps(written(Train())))  # of options that are newer than the sweep
    olds, news = ({**plan["base"], **{k: v for k, v in plan.items() if k != "base"}} for plan in (before, now))
    for name in dict.fromkeys([*olds, *news]):
        old, new = (some.get(name, usual.get(name)) for some in (olds, news))
        grows = name == "seeds" or (name == "trials" and now["search"] != "grid")
        if name in _GROW and grows and now["halving"] is None:
            continue
        if old != new:
            if name == "space":
                old, new = ("; ".join(_varied(option) for option in some) for some in (old, new))
            raise ValueError(
                f"`out` must be a new folder for another sweep; in {out} {name} was {old}, now it is {new}."
            )


def _varied(option: Mapping[str, Any]) -> str:
    if option["values"]:
        return f"{option['name']}={','.join(map(written_value, option['values']))}"
    return f"{option['name']}={'log:' * option['log']}{option['low']:g}..{option['high']:g}"


def _write(out: Path, content: Mapping[str, Any]) -> None:
    write_atomically(out / FILE, json.dumps(content, indent=1) + "\n")


def update(out: Path, **parts: Any) -> None:
    """Replaces parts of the file of a sweep; needs `alone`."""
    _write(out, read(out) | parts)


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Waits until no other process changes the file of a sweep."""
    while True:
        try:
            lock = FolderLock(out, ".sweep")
            break
        except FolderInUseError:
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.release()
