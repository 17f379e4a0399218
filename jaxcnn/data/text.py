"""Sentences as sequences of words."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcnn.data.dataset import Dataset

PADDING, UNKNOWN = "<padding>", "<unknown>"
_FOLDS = 10
_TOKEN = r"[a-z0-9]+|'[a-z]+|[^\sa-z0-9]"  # a word, an ending after an apostrophe, a mark
_LABELS = {"neg": "negative", "pos": "positive"}


def read_rt_polarity(split: str, folder: Path, fold: int = 0) -> Dataset:
    """Reads the movie reviews of Pang and Lee.

    They are MR in Kim 2014, with 5,331 snippets of each class.

    Args:
      split: `"test"`, one of ten fixed, stratified folds; `"validation"`, a tenth of the other folds; or `"train"`, the
        rest.
      folder: the folder with `rt-polarity.pos` and `rt-polarity.neg`.
      fold: number of the test fold, from 0 to 9.

    Returns:
      Words `(N, L)` as indices of the training split's vocabulary, where L is the length of the longest sentence.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if the fold does not exist, or a file holds too few lines.
    """
    from sklearn.model_selection import StratifiedKFold, train_test_split

    if not 0 <= fold < _FOLDS:
        raise ValueError(f"`fold` must be from 0 to {_FOLDS - 1}; got {fold}.")
    sentences, labels = [], []
    for label, kind in enumerate(_LABELS):
        path = folder / f"rt-polarity.{kind}"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} must hold {path.name}; it does not.")
        lines = [line for line in path.read_text("cp1252", errors="replace").splitlines() if line.strip()]
        if len(lines) < 2 * _FOLDS:
            raise ValueError(f"{path} must hold a sentence a line, at least {2 * _FOLDS}; got {len(lines)}.")
        sentences += lines
        labels += [label] * len(lines)
    targets = np.array(labels, np.int32)
    learned, tested = list(StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(targets, targets))[fold]
    learned, watched = train_test_split(learned, test_size=0.1, random_state=fold, stratify=targets[learned])
    vocabulary = make_vocabulary([sentences[i] for i in learned])
    length = max(len(tokenize(sentence)) for sentence in sentences)
    chosen = {"train": learned, "validation": watched, "test": tested}[split]
    words = encode([sentences[i] for i in chosen], vocabulary, length)
    return Dataset(words, targets[chosen], tuple(_LABELS.values()), "rt-polarity", split, vocabulary)


def tokenize(sentence: str) -> list[str]:
    """Splits a sentence into words and punctuation, in lower case.

    It uses scikit-learn's analyzer.
    """
    return _analyzer()(sentence)


def make_vocabulary(sentences: Sequence[str], most: int | None = None) -> tuple[str, ...]:
    """Makes the vocabulary of sentences.

    Args:
      sentences: the texts.
      most: keep only this number of words, the most frequent ones.

    Returns:
      The padding word, the unknown word, then the words of the sentences in alphabetical order.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(token_pattern=_TOKEN, max_features=most)
    return PADDING, UNKNOWN, *sorted(vectorizer.fit(sentences).vocabulary_)


def encode(sentences: Sequence[str], vocabulary: Sequence[str], length: int) -> np.ndarray:
    """Converts sentences to indices of a vocabulary.

    Args:
      sentences: the texts.
      vocabulary: the words, as `make_vocabulary` returns them.
      length: number of words per sentence; longer sentences are cut, shorter ones filled with 0.

    Returns:
      `(N, length)` int32.
    """
    index = {word: number for number, word in enumerate(vocabulary)}
    words = np.zeros((len(sentences), length), np.int32)
    for row, sentence in zip(words, sentences, strict=True):
        tokens = [index.get(token, 1) for token in tokenize(sentence)][:length]
        row[: len(tokens)] = tokens
    return words


@functools.cache
def _analyzer():
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(token_pattern=_TOKEN).build_analyzer()
