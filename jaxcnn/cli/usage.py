"""Explains words that are not a command with its options.

It says what was perhaps meant.
"""

import dataclasses
import difflib
import errno
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcnn.weights.files import SUFFIXES

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NUMBERS = {"invalid literal for int() with base 10": "an integer", "could not convert string to float": "a number"}


def unknown_command(args: Sequence[str], commands: Iterable[str]) -> str | None:
    """What is wrong with a first word that is no command."""
    commands = list(commands)
    if not args or args[0] in commands or args[0] in ("-h", "--help"):
        return None
    kind = "an option" if args[0].startswith("-") else "a command"
    rest = what_was_meant(args[0], commands) or f"the commands are {', '.join(commands)}"
    return f"`{args[0]}` is not {kind} of `jaxcnn`; {rest}."


def refused(args: Sequence[str], command: type, box: str) -> str:
    """What is wrong with the words after a command's name.

    Args:
      args: all words.
      command: the command's class, whose fields are its options.
      box: tyro's message, in a frame.
    """
    name = f"`jaxcnn {args[0]}`"
    error, *hints = _parts(box)
    if match := re.match(r"Unrecognized options: (.*)", error):
        words = match[1].split(", ")
        unknown = next((word for word in words if word.startswith("-")), None)
        if unknown is None:
            return f"{name} cannot use the word `{words[0]}`; `jaxcnn {args[0]} --help` lists those that it takes."
        unknown = unknown.partition("=")[0]
        perhaps = what_was_meant(unknown, _options(command))
        return f"`{unknown}` is not an option of {name}; {perhaps or f'`jaxcnn {args[0]} --help` lists them'}."
    if error.startswith("Missing from"):
        lacking = [word for word, needed in _options(command).items() if needed and re.search(_word(word), error)]
        instead = f"see `jaxcnn {args[0]} --help`"
        if args[0] == "export" and Path(args[-1]).suffix in SUFFIXES:
            instead = f"to write weights, as in {args[-1]}, use `jaxcnn convert`"
        return f"{name} needs {' and '.join(lacking)}; {instead}."
    if match := re.match(r"Missing value for argument '(.*?)'", error):
        return f"`{match[1]}` needs a value; got none."
    if match := re.match(r"invalid choice '(.*)' for argument '(.*?)'\. Expected one of \((.*?),?\)", error):
        choices = re.findall(r"'(.*?)'", match[3])
        meant = difflib.get_close_matches(match[1], choices, 1)
        perhaps = f"; perhaps you meant '{meant[0]}'" if meant else ""
        return f"`{match[2]}` must be one of {match[3]}; got '{match[1]}'{perhaps}."
    if match := re.match(r"Error parsing (\S+): (.*?): ('.*')", error):
        if match[2] in _NUMBERS:
            return f"`{match[1]}` must be {_NUMBERS[match[2]]}; got {match[3]}."
    if match := re.match(r"Error parsing (\S+): Could not find valid parse for arguments: \[(.*)\]", error):
        return f"`{match[1]}` must have values of its kind; got {match[2]}."
    error = re.sub(r"^Error parsing \S*\.config: ", "", error)  # the configuration's own sentence
    return error.rstrip(".") + "."


def what_was_meant(word: str, known: Iterable[str]) -> str | None:
    """What was perhaps meant by a word.

    Letters may be left out or exchanged; it may be a part of a known word, or its initials.
    """
    known = [other for other in known if other.startswith("--") == word.startswith("--")]
    bare = word.lstrip("-").replace("_", "-")
    alike = difflib.get_close_matches(bare, [other.lstrip("-") for other in known], 1, 0.7)
    parts = [other for other in known if bare in other.lstrip("-").split("-")]
    initials = [other for other in known if "".join(part[0] for part in other.lstrip("-").split("-")) == bare]
    begun = [other for other in known if len(bare) > 2 and other.lstrip("-").startswith(bare)]
    for candidates in ([other for other in known if other.lstrip("-") in alike], initials, begun, parts):
        if candidates:
            return f"perhaps you meant `{candidates[0]}`"
    return None


def _options(command: Any) -> Mapping[str, bool]:
    """A command's fields as its help spells them, needed or not."""
    words: dict[str, bool] = {}
    for field in dataclasses.fields(command):
        if dataclasses.is_dataclass(field.default):
            words |= _options(field.default)
            continue
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        positional = "Positional" in str(field.type)
        renamed = [mark.name for mark in getattr(field.type, "__metadata__", ()) if hasattr(mark, "metavar")]
        option = "--" + (*renamed, field.name)[0].replace("_", "-")
        words[field.name.upper() if positional else option] = needed
        if field.default is True:
            words["--no-" + option[2:]] = False
    return words


def _word(word: str) -> str:
    return rf"(?<!\S){re.escape(word)}(?!\S)"


def _parts(box: str) -> list[str]:
    """What stands in tyro's frame, each part in one line."""
    parts: list[list[str]] = [[]]
    for line in box.splitlines():
        text = line.strip("│╭╮╰╯ ")
        if text and set(text) <= {"─", "-"}:
            parts.append([])
        elif text and not text.startswith("─"):
            parts[-1].append(text)
    if "╭" not in box:  # a stream without box characters: the title stands alone
        parts = parts[1:]
    return [" ".join(part) for part in parts if part] or [" ".join(box.split())]


def sentence(error: BaseException) -> str:
    """An error in one sentence, without JAX's notes on its tracebacks."""
    if isinstance(error, OSError):
        name = error.filename or ("the standard output" if error.errno in _FULL else "")  # files are named
        return f"{name}: {error.strerror}." if name and error.strerror else str(error)
    text = " ".join(str(error).partition("\n-----")[0].split())
    if isinstance(error, ValueError | TypeError | RuntimeError | ImportError):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
