"""The options of `jaxcnn train` in a file.

The file is JSON, YAML, TOML, or the `config.json` of a run.
"""

import dataclasses
import json
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from jaxcnn.cli.usage import what_was_meant
from jaxcnn.training import TrainConfig

_ENDINGS = (".json", ".yaml", ".yml", ".toml")
# these say what to do, not how to train
OF_THE_CALL = ("config", "config_file", "print_config", "find_lr", "resume", "force")
_SETTLED = ("task", "loss", "monitor")  # which a training takes from the data where they are not given
OF_THE_SITTING = ("out", "coordinator", "processes", "process", "profile", "recipe")  # not of another run


def words_of(file: Path, command: type, parse: Callable[[Sequence[str]], Any]) -> list[str]:
    """What a file says, as words of the command line.

    Args:
      file: a file with the options by name; or the `config.json` of a run.
      command: the class of `jaxcnn train`.
      parse: makes an instance of it from words, for the command of an older run.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it cannot be read, or has a key that is no option, or a value of the wrong kind.
    """
    options = _read(file)
    if isinstance(options.get("training"), dict) and isinstance(options.get("data"), dict):
        options = _of_run(options, file, parse)
    kinds = get_type_hints(command) | get_type_hints(TrainConfig)
    known = [name for name in kinds if name not in OF_THE_CALL]
    words, positional, usual = [], [], command()
    for key, value in options.items():
        name = str(key).replace("-", "_")
        if name not in known:
            meant = what_was_meant(name, known)
            hint = meant.replace("-", "_") if meant else "`jaxcnn train --print-config` prints them all"
            raise ValueError(f"`{key}` in {file} is not an option of `jaxcnn train`; {hint}.")
        if name == "model":
            positional = [] if value is None else [str(value)]
        elif value is not None or getattr(usual, name, "") is not None:  # where nothing is usual, nothing is said
            words += _words(name, value, kinds[name], file)
    return positional + words


def written(command: Any, *, of_the_sitting: bool = True) -> dict[str, Any]:
    """Returns the options of a `jaxcnn train` command as plain values.

    The keys are the names of the options, those of `TrainConfig` among them.
    """
    left = OF_THE_CALL if of_the_sitting else (*OF_THE_CALL, *OF_THE_SITTING)
    values = {field.name: getattr(command, field.name) for field in dataclasses.fields(command)}
    config = values["config"]
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in values.items() if key not in left}
    return plain | dataclasses.asdict(config)


def arguments_of(command: Any) -> dict[str, Any]:
    """Returns the options outside `TrainConfig` that differ from their defaults.

    A run notes these besides its `TrainConfig`.
    """
    usual, own = (written(some, of_the_sitting=False) for some in (type(command)(), command))
    ours = {field.name for field in dataclasses.fields(TrainConfig)}
    left = ours - set(_SETTLED) | {"model", "model_options", "dtype", "init"}  # which a run notes at other places
    return {key: value for key, value in own.items() if key not in left and value != usual[key]}


def command_of(command: type, values: Mapping[str, Any]) -> Any:
    """Makes a command from plain values, as `written` returns them.

    Args:
      command: the class of `jaxcnn train`.
      values: by name of an option, its value; options that are missing have their defaults.

    Raises:
      ValueError: if a value is out of range.
    """
    kinds, ours = get_type_hints(command), {field.name for field in dataclasses.fields(TrainConfig)}
    config = TrainConfig(**{key: value for key, value in values.items() if key in ours})
    own = {key: value for key, value in values.items() if key not in ours}
    for key, value in own.items():
        if isinstance(value, list):
            own[key] = tuple(value)
        elif isinstance(value, str) and Path in get_args(kinds[key]):
            own[key] = Path(value)
    return command(**own, config=config)


def command_line(command: Any) -> list[str]:
    """Returns the words that make a command, behind `jaxcnn train`.

    Only options that differ from their defaults are among them.
    """
    usual, own = (written(some) for some in (type(command)(), command))
    kinds = get_type_hints(type(command)) | get_type_hints(TrainConfig)
    words = [command.model]
    for key, value in own.items():
        if key not in ("model", "out") and value != usual[key]:
            words += _words(key, list(value) if isinstance(value, tuple) else value, kinds[key], Path("options"))
    return words if command.out is None else [*words, "--out", str(command.out)]


def _read(file: Path) -> dict[str, Any]:
    ending = file.suffix.lower()
    if ending not in _ENDINGS:
        raise ValueError(f"`config` must end in {', '.join(_ENDINGS)}; got {file}.")
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"`config` must be a file that exists; got {file}.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} must be UTF-8; {error.reason} at byte {error.start + 1}.") from None
    try:
        options = _parsed(text, ending)
    except (ValueError, RecursionError) as error:
        kind = "YAML" if ending in (".yaml", ".yml") else ending[1:].upper()
        raise ValueError(f"{file} must be {kind}; {' '.join(str(error).split()).rstrip('.')}.") from None
    if not isinstance(options, dict):
        raise ValueError(f"{file} must hold options by name; got {type(options).__name__}.")
    return options


def _parsed(text: str, ending: str) -> Any:
    if ending == ".json":
        return json.loads(text, object_pairs_hook=_unique)
    if ending == ".toml":
        return tomllib.loads(text)
    try:
        import yaml
    except ImportError:
        raise ModuleNotFoundError("`config` in YAML needs PyYAML: pip install pyyaml (or write TOML).") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses two values for one key: `json` takes the last."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return values


def _of_run(description: dict[str, Any], file: Path, parse: Callable[[Sequence[str]], Any]) -> dict[str, Any]:
    """Returns the options with which a run was made.

    A run that is older than `arguments` tells them by its command.
    """
    given = description.get("arguments")
    if given is None:
        given = {}
        if command := description.get("command"):
            _, _, *words = shlex.split(command)
            given = arguments_of(parse(["train", *words]))
    network = description.get("model")
    if not isinstance(network, dict) or "name" not in network:
        raise ValueError(f"{file} must have the name of its network, which `jaxcnn train` notes; it has none.")
    options = dict(network.get("options", {}))
    kind = {"dtype": options.pop("dtype")} if isinstance(options.get("dtype"), str) else {}
    told = {"model": network["name"], "model_options": options, "data": description["data"].get("name"), **kind}
    begun = {"init": description["init"]} if "init" in description and not given.get("pretrained") else {}
    settled = _SETTLED if "arguments" in description else ()  # older runs had no task, and every loss was given
    training = {key: value for key, value in description["training"].items() if key not in settled}
    return told | begun | training | given


def _words(name: str, value: Any, kind: Any, file: Path) -> Iterator[str]:
    """An option with its value as the command line has them."""
    option = "--" + name.replace("_", "-")
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"`{name}` in {file} must be true or false; got {value!r}.")
        if value:
            yield option
        elif name in {field.name for field in dataclasses.fields(TrainConfig)}:  # these flags have an opposite
            yield "--no-" + option[2:]
        return
    if get_origin(kind) is not tuple:
        if isinstance(value, list | dict):
            raise ValueError(f"`{name}` in {file} must be one value; got {value!r}.")
        yield f"{option}={value}"
        return
    if isinstance(value, Mapping):  # of options of a network
        value = [f"{key}={some}" for key, some in value.items()]
    entries = [str(entry) for entry in (value if isinstance(value, list) else [value])]
    if value is None or any(isinstance(entry, list | dict) for entry in (value if isinstance(value, list) else [])):
        raise ValueError(f"`{name}` in {file} must be a list of words or numbers; got {value!r}.")
    yield option
    yield from entries
