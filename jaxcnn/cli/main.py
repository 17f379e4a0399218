"""From arguments to a command, from errors to exit statuses.

An error gives one line.
"""

import contextlib
import functools
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcnn.cli.runs import ARGUMENTS
from jaxcnn.cli.usage import refused, sentence, unknown_command
from jaxcnn.training import keep_memory


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      args: the arguments; by default those of the process.

    Returns:
      The exit status: 0, or 2 after one line on stderr for bad input, or 130 when interrupted.
    """
    if args is None:  # the process is ours
        keep_memory()
        sys.path.append("")  # networks of one's own, where `python -m` finds them too
    args = [_expanded(arg) for arg in (sys.argv[1:] if args is None else args)]
    try:
        command = _parse(args)
        ARGUMENTS.set(tuple(args))
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what fails in the background fails here too
        with warnings.catch_warnings():
            warnings.filterwarnings("always", "checkpoint .* is damaged", RuntimeWarning)
            warnings.showwarning = _say_warning
            status = command() or 0
            sys.stdout.flush()  # here, where there is a sentence for what it may raise
            return status
    except _UsageError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted.", status=130)
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
        if os.environ.get("JAXCNN_TRACEBACK"):
            raise
        return _fail(sentence(error))


def _expanded(arg: str) -> str:
    """An argument with `~` expanded behind an option's equals sign.

    Shells leave it there as it is.
    """
    option, equals, value = arg.partition("=")
    return f"{option}={os.path.expanduser(value)}" if equals and option.startswith("--") else arg


class _UsageError(Exception):
    """The arguments do not name a command and its options."""


def _parse(args: list[str]):
    """The command that the arguments describe, ready to be called."""
    import tyro

    from jaxcnn.cli.bench import Bench
    from jaxcnn.cli.check import Check
    from jaxcnn.cli.convert import Convert
    from jaxcnn.cli.demo import Demo
    from jaxcnn.cli.doctor import Doctor
    from jaxcnn.cli.eval import Eval
    from jaxcnn.cli.export import Export
    from jaxcnn.cli.features import Features
    from jaxcnn.cli.inspect import Inspect
    from jaxcnn.cli.list_runs import Runs
    from jaxcnn.cli.look import Look
    from jaxcnn.cli.models import Models
    from jaxcnn.cli.predict import Predict
    from jaxcnn.cli.pretrained import Pretrained
    from jaxcnn.cli.recipes import Recipes, recipe
    from jaxcnn.cli.sweep import Sweep, parted, training_of
    from jaxcnn.cli.train import Train

    classes = {
        "train": Train,
        "sweep": Sweep,
        "eval": Eval,
        "predict": Predict,
        "features": Features,
        "runs": Runs,
        "inspect": Inspect,
        "demo": Demo,
        "look": Look,
        "convert": Convert,
        "export": Export,
        "models": Models,
        "pretrained": Pretrained,
        "recipes": Recipes,
        "check": Check,
        "bench": Bench,
        "doctor": Doctor,
    }
    if problem := unknown_command(args, classes):
        raise _UsageError(problem)
    theirs: list[str] = []
    if args[:1] == ["sweep"]:
        own, theirs = parted(args[1:])
        args = ["sweep", *own]
    commands = {name: tyro.conf.FlagCreatePairsOff[command] for name, command in classes.items()}
    if args[:1] == ["train"]:
        # the values of a file and of a recipe are the defaults of the other options
        file, name = (_value_of(option, args) for option in ("--config", "--recipe"))
        given = {} if file is None else vars(_from_file(Path(file), Train))
        given |= {} if name is None else {"config": recipe(name).config}
        # its flags come in pairs, as a recipe may have turned them either way
        commands["train"] = functools.partial(Train, **given) if given else Train
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            command = tyro.extras.subcommand_cli_from_dict(
                commands,
                prog="jaxcnn",
                description="Convolutional networks in JAX whose every gradient is written by hand.",
                args=args or ["--help"],
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.PositionalMetavarFromFieldName),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise _UsageError(refused(args, classes[args[0]], messages.getvalue())) from None
    if isinstance(command, Sweep):
        return functools.partial(command, *training_of(theirs, command.over, lambda words: _parse(list(words))))
    return command


def _from_file(file: Path, command: type) -> Any:
    """The command that a file of options describes.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is none, or has an option that the command has not, or a wrong value.
    """
    from jaxcnn.cli.config_files import words_of

    words = words_of(file, command, lambda words: _parse(list(words)))
    try:
        return _parse(["train", *words])
    except _UsageError as error:
        told = re.sub(r"`--(?:no-)?([\w-]+)`", lambda match: f"`{match[1].replace('-', '_')}`", str(error))
        raise _UsageError(f"{file}: {told}") from None


def _value_of(option: str, args: list[str]) -> str | None:
    """The value of an option, read before all others."""
    for place, word in enumerate(args):
        if word == option and place + 1 < len(args):
            return args[place + 1]
        if word.startswith(f"{option}="):
            return word.removeprefix(f"{option}=")
    return None


def _say_warning(message: Warning | str, category: type[Warning], *where: object) -> None:
    """Prints a warning in a line like that of an error.

    JAX's own notes are printed in its own words.
    """
    del where
    print(f"jaxcnn: {message}" if category is RuntimeWarning else f"{category.__name__}: {message}", file=sys.stderr)


def _fail(message: str, status: int = 2) -> int:
    try:
        sys.stdout.flush()
    except OSError:  # what was printed is given up, or would fail once more at the very end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(f"jaxcnn: {message.rstrip('.')}.", file=sys.stderr)
    return status
