"""What can be measured: rows by name, and who takes part in each."""

import fnmatch
from collections.abc import Callable, Sequence
from typing import NamedTuple

from experiments.benchmarks.contestants import Contestant
from experiments.benchmarks.networks import Task

OURS = ("jaxcnn", "jaxcnn-onednn")
PEERS = ("flax", "keras", "equinox", "torch-nchw", "torch-channels-last", "torch-compile")
LAYOUTS = ("torch-nchw", "torch-channels-last")


class Row(NamedTuple):
    """One comparison."""

    name: str
    build: Callable[[str], Contestant]  # by contestant; raises LeftOut
    contestants: tuple[str, ...]
    rounds: int | None = None  # where it is not that of the run
    warm_up: bool = True
    quick: bool = False  # part of the selection of `--quick`
    gpu: bool = False  # needs one
    task: Task | None = None  # of a training step


def all_rows() -> dict[str, Row]:
    """Every row, by name."""
    from experiments.benchmarks import layouts, newcomer, ops, steps

    rows = [*ops.rows(), *layouts.rows(), *steps.rows(), *newcomer.rows()]
    return {row.name: row for row in rows}


def chosen_rows(patterns: Sequence[str], quick: bool) -> list[Row]:
    """The rows whose names, or parts between slashes, match a pattern; by default all, or the quick ones.

    Raises:
      ValueError: if a pattern matches nothing.
    """
    rows = all_rows()
    if not patterns:
        return [row for row in rows.values() if row.quick or not quick]
    found = {}
    for pattern in patterns:
        hits = {name: row for name, row in rows.items() if _matches(name, pattern)}
        if not hits:
            raise ValueError(f"`rows` must match names that `--list` prints; got {pattern!r}.")
        found |= hits
    return [row for name, row in rows.items() if name in found]


def _matches(name: str, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(part, pattern) for part in (name, *name.split("/")))


def chosen_contestants(row: Row, peers: Sequence[str]) -> list[str]:
    """Who takes part: ours always; of the peers those that are named, or whose family is, `torch` for all its forms.

    Raises:
      ValueError: if a name is unknown.
    """
    known = {*PEERS, *(peer.partition("-")[0] for peer in PEERS)}
    for peer in peers:
        if peer not in known:
            raise ValueError(f"`peers` must be of {', '.join(sorted(known))}; got {peer!r}.")
    wanted = peers or PEERS
    return [name for name in row.contestants if name in OURS or name in wanted or name.partition("-")[0] in wanted]
