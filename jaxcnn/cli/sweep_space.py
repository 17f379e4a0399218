"""What a sweep varies: lists of values, and ranges of numbers."""

import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from jaxcnn import models
from jaxcnn.cli.config_files import OF_THE_CALL, OF_THE_SITTING
from jaxcnn.cli.train import Train
from jaxcnn.cli.usage import what_was_meant
from jaxcnn.training import TrainConfig

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(log:)?({_NUMBER})\.\.({_NUMBER})")
_DIGITS = 4  # of a drawn number: what is written is what is trained with
_NOT_VARIED = {*OF_THE_CALL, *OF_THE_SITTING, "seed", "monitor", "task", "model_options"}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Varied(NamedTuple):
    """An option that a sweep varies.

    Args:
      name: the option, with underscores.
      of_network: whether it is an argument of the network.
      values: the values of a list; empty for a range.
      low: the lower end of a range.
      high: its upper end.
      log: whether its logarithm is uniform.
      whole: whether its values are integers.
    """

    name: str
    of_network: bool = False
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> Any:
        """Returns the value at a share of the list or range.

        Args:
          share: from 0 to 1, without 1.
        """
        if self.values:
            return self.values[int(share * len(self.values))]
        low, high = self.low, self.high + self.whole  # every integer has an equal part
        return self.rounded(low * (high / low) ** share if self.log else low + share * (high - low))

    def rounded(self, value: float) -> Any:
        """Returns a number of the range with few digits.

        It is an integer if the range has integers.
        """
        if self.whole:
            return min(int(value), int(self.high))
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


def varied(over: Sequence[str], network: str, typed: Callable[[Sequence[str]], Train]) -> tuple[Varied, ...]:
    """Parses what a sweep varies.

    Args:
      over: NAME=VALUE,VALUE or NAME=LOW..HIGH or NAME=log:LOW..HIGH.
      network: the network that is trained, if it is not varied.
      typed: parses words of `jaxcnn train`.

    Raises:
      ValueError: if one has another form, an option is unknown or given twice, or a value is of the wrong kind.
    """
    found: dict[str, Varied] = {}
    pairs = [_pair(text) for text in over]
    networks = [value for name, text in pairs if name == "model" for value in _split(text)] or [network]
    taken = set().union(*(models.options_of(name) for name in networks))
    for name, text in pairs:
        if name in found:
            raise ValueError(f"`over` must name every option once; got {name} twice.")
        found[name] = _of_training(name, text, typed) if name in _KINDS else _of_network(name, text, taken)
    return tuple(found.values())


_KINDS = get_type_hints(Train) | get_type_hints(TrainConfig)


def _pair(text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not equals or not name:
        raise ValueError(f"`over` must be NAME=VALUE,VALUE or NAME=LOW..HIGH; got {text!r}.")
    return name.lstrip("-").replace("-", "_"), values


def _of_training(name: str, text: str, typed: Callable[[Sequence[str]], Train]) -> Varied:
    if name == "seed":
        raise ValueError("`over` must not name seed; give the number of `seeds` instead.")
    if name in _NOT_VARIED or name not in _KINDS:
        raise ValueError(f"`over` must name an option that changes the training; got {name}.")
    kind = _KINDS[name]
    kinds = get_args(kind) or (kind,)
    if (match := _RANGE.fullmatch(text)) and (float in kinds or int in kinds):
        return _range(name, match, whole=float not in kinds)
    if match:
        raise ValueError(f"`over` must list the values of {name}, which are no numbers; got {text!r}.")
    return Varied(name, values=_distinct(name, [_typed(name, kind, value, typed) for value in _split(text)]))


def _typed(name: str, kind: Any, text: str, typed: Callable[[Sequence[str]], Train]) -> Any:
    """The value of an option, read as `jaxcnn train` does."""
    option = "--" + name.replace("_", "-")
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError(f"`{option}` must be true or false; got {text!r}.")
        return _BOOLEANS[text.lower()]
    if name == "model":
        return text
    if get_origin(kind) is tuple:
        words = [option, *filter(None, text.split("+"))]  # several entries are joined by a plus sign
    else:
        words = [f"{option}={text}"]
    command = typed(words)
    value = getattr(command.config if hasattr(command.config, name) else command, name)
    return list(value) if isinstance(value, tuple) else value if value is None else _plain(value)


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _of_network(name: str, text: str, taken: set[str]) -> Varied:
    if name not in taken:
        meant = what_was_meant(name, [known.replace("_", "-") for known in (*_KINDS, *taken)])
        hint = meant or "`jaxcnn train --help` lists the options"
        raise ValueError(f"`over` must name options of `jaxcnn train` or of the network; got {name}: {hint}.")
    if match := _RANGE.fullmatch(text):
        whole = all(re.fullmatch(r"[-+]?\d+", end) for end in match.groups()[1:])
        return _range(name, match, whole=whole)._replace(of_network=True)
    return Varied(name, True, _distinct(name, _split(text)))


def _range(name: str, match: re.Match[str], *, whole: bool) -> Varied:
    log, (low, high) = bool(match[1]), (float(match[2]), float(match[3]))
    if not low < high < math.inf:
        raise ValueError(f"`over` must have ranges that grow; got {match[0]!r} for {name}.")
    if log and low <= 0:
        raise ValueError(f"`over` must have positive numbers in a range with log; got {match[0]!r} for {name}.")
    if whole and not (low.is_integer() and high.is_integer()):
        raise ValueError(f"`over` must have integers for {name}; got {match[0]!r}.")
    return Varied(name, False, (), low, high, log, whole)


def _distinct(name: str, values: list[Any]) -> tuple[Any, ...]:
    twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if twice is not None:
        raise ValueError(f"`over` must list different values; got {twice} twice for {name}.")
    return tuple(values)


def _split(text: str) -> list[str]:
    """Splits a list at the commas that are in no brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def grid(space: Sequence[Varied]) -> Iterator[dict[str, Any]]:
    """Yields all combinations; the last option changes fastest."""
    names = [option.name for option in space]
    for values in itertools.product(*(option.values for option in space)):
        yield dict(zip(names, values, strict=True))


def drawn(space: Sequence[Varied], seed: int, number: int) -> dict[str, Any]:
    """Draws the setting of a trial.

    It is a function of the seed and the trial's number, on every machine.
    """
    return {option.name: option.at(random.Random(f"{seed} {number} {option.name}").random()) for option in space}


def written_value(value: Any) -> str:
    """A value of a setting, as it is given to `over`."""
    if isinstance(value, list):
        return "+".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
