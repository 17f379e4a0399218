"""Divides data without splits, by class or by group."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Division:
    """How to divide examples into splits.

    The same examples are always divided in the same way.

    Args:
      shares: shares of training, validation and test examples, with the sum 1; that of validation may be 0.
      seed: seed of the draw.
      group: regular expression that is searched in the path of each picture, below the folder of the data set. Pictures
        with the same match stay in the same split: the match of the first group in parentheses, if there is one.

    Raises:
      ValueError: if a share is out of range, or `group` is not a regular expression.

    Example:
      >>> from jaxcnn import data
      >>> parts = data.Division((0.5, 0.0, 0.5)).parts([0, 0, 1, 1, 1, 1])
      >>> [int((parts == split).sum()) for split in (0, 1, 2)]
      [3, 0, 3]
    """

    shares: tuple[float, ...]
    seed: int = 0
    group: str | None = None

    def __post_init__(self):
        """Checks every value.

        Raises:
          ValueError: if one is out of range.
        """
        object.__setattr__(self, "shares", tuple(map(float, self.shares)))  # JSON has lists only
        legal = len(self.shares) == 3 and all(share >= 0 for share in self.shares) and abs(sum(self.shares) - 1) < 1e-6
        if not legal or not self.shares[0] or not self.shares[2]:
            told = " ".join(f"{share:g}" for share in self.shares)
            raise ValueError(
                f"`split` must be three shares with the sum 1, of training, validation and test; got {told}."
            )
        if self.seed < 0:
            raise ValueError(f"`split_seed` must not be negative; got {self.seed}.")
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                raise ValueError(f"`split_group` must be a regular expression; {error}.") from None

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that have a share."""
        return tuple(name for name, share in zip(SPLITS, self.shares, strict=True) if share)

    def number(self, split: str) -> int:
        """Returns the number of a split, as `parts` has it."""
        return SPLITS.index(split)

    def parts(self, labels: Sequence[int] | np.ndarray, files: Sequence[str] | None = None) -> np.ndarray:
        """Divides examples.

        Args:
          labels: `(N,)` numbers of classes, of which each is divided by the shares; targets of other tasks count as one
            class.
          files: `(N,)` paths for `group`.

        Returns:
          `(N,)` numbers of the splits: 0 for training, 1 for validation, 2 for test.

        Raises:
          ValueError: if a split would be empty, there are no paths for `group`, or it matches none.
        """
        labels = np.asarray(labels)
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            labels = np.zeros(len(labels), int)
        groups = None if self.group is None else self._groups(files)
        parts = self._by_class(labels) if groups is None else self._by_group(labels, groups)
        for place, name in enumerate(SPLITS):
            if self.shares[place] and not (parts == place).any():
                of = f"{len(labels)} examples" if groups is None else f"{groups.max() + 1} groups"
                raise ValueError(f"`split` must put examples into every split; got none for {name}, of {of}.")
        return parts

    def told(self, parts: np.ndarray, files: Sequence[str] | None = None) -> str:
        """Says how examples were divided.

        Args:
          parts: what `parts` returned.
          files: what it was given.
        """
        percent = ", ".join(f"{100 * share:g}" for share in self.shares if share)
        percent = " and ".join(percent.rsplit(", ", 1))
        counts = ", ".join(f"{int((parts == SPLITS.index(name)).sum()):,} for {name}" for name in self.splits)
        if self.group is None:
            return f"drawn from each class, {percent} %, seed {self.seed}: {counts}"
        groups = self._groups(files)
        alone = self._unmatched(files)
        rest = f"; {alone:,} pictures match nothing, and are groups of their own" if alone else ""
        kept = f"{groups.max() + 1:,} groups by {self.group!r} kept together"
        return f"divided by {percent} %, seed {self.seed}, {kept}: {counts}{rest}"

    def _by_class(self, labels: np.ndarray) -> np.ndarray:
        parts = np.zeros(len(labels), int)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            order = np.random.RandomState(self.seed).permutation(len(members))  # a frozen stream
            edges = np.round(np.cumsum([0.0, *self.shares]) * len(members)).astype(int)
            for place in range(len(SPLITS)):
                parts[members[order[edges[place] : edges[place + 1]]]] = place
        return parts

    def _by_group(self, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Divides by group.

        Each group goes to the split that lacks its classes most, large groups first.
        """
        _, labels = np.unique(labels, return_inverse=True)
        counts = np.zeros((groups.max() + 1, labels.max() + 1))
        np.add.at(counts, (groups, labels), 1)
        totals = counts.sum(0)
        lacking = np.outer(self.shares, totals)
        possible = np.flatnonzero(np.array(self.shares) > 0)
        order = np.random.RandomState(self.seed).permutation(len(counts))
        chosen = np.zeros(len(counts), int)
        for group in order[np.argsort(-counts[order].sum(1), kind="stable")]:
            gains = (counts[group] * lacking[possible] / totals**2).sum(1)
            chosen[group] = possible[int(np.argmax(gains))]
            lacking[chosen[group]] -= counts[group]
        return chosen[groups]

    def _keys(self, files: Sequence[str] | None) -> list[str | None]:
        if files is None:
            raise ValueError(f"`split_group` needs pictures in files; got {self.group!r} for data without.")
        found = [re.search(self.group or "", name) for name in files]
        return [None if match is None else match[1] if match.re.groups else match[0] for match in found]

    def _groups(self, files: Sequence[str] | None) -> np.ndarray:
        """The number of each picture's group."""
        keys = self._keys(files)
        if files is not None and all(key is None for key in keys):
            example = f", for example {files[0]}" if len(files) else ""
            raise ValueError(f"`split_group` must match paths of pictures; {self.group!r} matches none{example}.")
        numbers: dict[str | int, int] = {}
        return np.array(
            [numbers.setdefault(place if key is None else key, len(numbers)) for place, key in enumerate(keys)]
        )

    def _unmatched(self, files: Sequence[str] | None) -> int:
        return sum(key is None for key in self._keys(files))
