"""The 1,000 classes of ImageNet in words.

The table also holds all kinds of things above them in WordNet.
"""

import dataclasses
import difflib
import functools
from collections import Counter
from importlib import resources

import numpy as np

_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class ClassTree:
    """Classes and the kinds of things that they belong to.

    Args:
      ids: WordNet ids of the classes, as `"n02123045"`, in the order of a network's outputs.
      words: words of every class and kind by id, the usual one first.
      parents: ids of the kinds just above every class and kind.
    """

    ids: tuple[str, ...]
    """WordNet ids of the classes, as `"n02123045"`, in the order of a network's outputs."""
    words: dict[str, tuple[str, ...]]
    """Words of every class and kind by id, the usual one first."""
    parents: dict[str, tuple[str, ...]]
    """Ids of the kinds just above every class and kind."""

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """One word for every class.

        Where two classes have the same word, their kind is added: `"crane (wading bird)"`.
        """
        counts = Counter(self.words[key][0] for key in self.ids)

        def name(key: str) -> str:
            first, kind = self.words[key][0], self.words[self.parents[key][0]][0]
            return first if counts[first] == 1 else f"{first} ({kind})"

        return tuple(map(name, self.ids))

    def places(self, kind: str) -> np.ndarray:
        """Finds the classes that a word covers.

        The sum of their probabilities is the probability of the word.

        Args:
          kind: a WordNet id, or a word for a class or for anything above one: `"tabby"`, `"dog"`, `"vehicle"`. Where a
            word means several things, the classes of all of them are found.

        Returns:
          The numbers of the classes, increasing.

        Raises:
          ValueError: if no class is of that kind; the message names similar words.
        """
        wanted = kind.strip().lower().replace("_", " ")
        meant = {key for key, words in self.words.items() if wanted == key or wanted in map(str.lower, words)}
        if not meant:
            known = {word.lower() for words in self.words.values() for word in words}
            near = difflib.get_close_matches(wanted, sorted(known), n=3)
            raise ValueError(
                f"`kind` must be a class of ImageNet or a more general word in WordNet{_such_as(near)}; got {kind!r}."
            )
        return np.array([place for place, key in enumerate(self.ids) if meant & self._above(key)], np.int32)

    def _above(self, key: str) -> set[str]:
        """An id with all that are above it."""
        above, waiting = {key}, [key]
        while waiting:
            for parent in self.parents[waiting.pop()]:
                if parent not in above:
                    above.add(parent)
                    waiting.append(parent)
        return above


def _such_as(near: list[str]) -> str:
    return f", as {' or '.join(map(repr, near))}" if near else ""


@functools.cache
def imagenet_classes() -> ClassTree:
    """Returns the classes of ImageNet (ILSVRC 2012).

    Networks number them from 0 to 999.

    Returns:
      The classes and everything above them, from WordNet 3.0 (Princeton University); the file in the package holds
      WordNet's license.

    Examples:
      >>> from jaxcnn import data
      >>> tree = data.imagenet_classes()
      >>> tree.names[281], tree.ids[281], len(tree.places("dog"))
      ('tabby', 'n02123045', 118)
    """
    text = resources.files("jaxcnn.data").joinpath("imagenet_classes.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return ClassTree(
        tuple(key for key, _, _ in rows[:_CLASSES]),
        {key: tuple(words.split(", ")) for key, words, _ in rows},
        {key: tuple(parents.split()) for key, _, parents in rows},
    )
