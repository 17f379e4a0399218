"""All rows of the benchmark, and the choice of some by name."""

import fnmatch
from collections.abc import Sequence

from experiments.benchmarks import layouts, newcomer, ops, steps
from experiments.benchmarks.rows import OURS, PEERS, Row


def all_rows() -> dict[str, Row]:
    """Every row, by name."""
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
