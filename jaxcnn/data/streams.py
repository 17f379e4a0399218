"""Pictures that do not fit in memory.

They are decoded when they are needed.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.data.pictures import decode_picture
from jaxcnn.data.preprocessing import Preprocessing

STREAM_ABOVE = 2**30  # bytes of decoded pictures
_STRIDE = 64  # pictures that a thread takes at a time


class Stream(ABC):
    """A sequence of pictures of one size, decoded at every access.

    Its shape is `(N, H, W, C)`, its dtype uint8. It is indexed like the first axis of an array: by a number, a slice,
    numbers or a mask.

    Args:
      shape: `(H, W, C)` of a picture.
      sums: `(N, 2, C)`, the result of `channel_sums` for each picture, if it is known.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, shape: tuple[int, ...], sums: np.ndarray | None = None):
        """Takes the shape of a picture, and known channel sums."""
        self._picture_shape, self.sums = tuple(shape), sums

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def decode(self, place: int) -> np.ndarray:
        """Decodes one picture.

        Args:
          place: its number.

        Returns:
          `(H, W, C)` uint8.
        """

    @abstractmethod
    def pick(self, index: Any) -> "Stream":
        """Selects some of the pictures, without decoding them.

        Args:
          index: a slice, numbers of pictures, or a mask.

        Returns:
          A stream of these pictures.
        """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all pictures together, `(N, H, W, C)`."""
        return (len(self), *self._picture_shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        places = np.arange(len(self))[index]
        if places.ndim == 0:
            return self.decode(int(places))
        pictures = np.empty((len(places), *self._picture_shape), np.uint8)
        for picture, place in zip(pictures, places.tolist(), strict=True):
            picture[...] = self.decode(place)
        return pictures

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Decodes all pictures, for `np.asarray`."""
        del copy
        return self[:].astype(dtype or np.uint8, copy=False)


class PictureFiles(Stream):
    """A stream of picture files below a folder.

    Args:
      root: the folder.
      names: paths of the files below it.
      shape: `(H, W, C)` of a picture.
      image_size: as in `decode_picture`.
      sums: as in `Stream`.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str] | np.ndarray,
        shape: tuple[int, ...],
        *,
        image_size: int | Preprocessing | None = None,
        sums: np.ndarray | None = None,
    ):
        """Takes the folder, the paths below it, and a size.

        `decode_picture` brings the pictures to this size.
        """
        super().__init__(shape, sums)
        self._root, self._image_size = str(root), image_size
        # one array of bytes, not a million strings
        self._names = names if isinstance(names, np.ndarray) else np.array([os.fsencode(name) for name in names])

    def __len__(self) -> int:
        return len(self._names)

    def decode(self, place: int) -> np.ndarray:
        """Decodes one picture.

        Args:
          place: its number.

        Returns:
          `(H, W, C)` uint8.
        """
        path = os.path.join(self._root, os.fsdecode(self._names[place]))
        return fitting(decode_picture(path, path, self._image_size), self._picture_shape, path)

    def pick(self, index: Any) -> "PictureFiles":
        """Selects some of the pictures, without decoding them.

        Args:
          index: a slice, numbers of pictures, or a mask.

        Returns:
          A stream of these pictures.
        """
        sums = None if self.sums is None else self.sums[index]
        return PictureFiles(
            Path(self._root), self._names[index], self._picture_shape, image_size=self._image_size, sums=sums
        )


def fitting(pixels: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Brings a decoded picture to the shape of all pictures.

    It is `(H, W, 3)`, and keeps one channel if all are gray.

    Raises:
      SizeError: if it has another size.
    """
    if pixels.shape[:2] != shape[:2]:
        raise SizeError(name, shape, pixels.shape)
    return pixels[..., : shape[-1]]


class SizeError(ValueError):
    """A picture of another size than the others."""

    def __init__(self, name: str, wanted: Sequence[int], got: Sequence[int]):
        """Takes the picture's name and both shapes, height first."""
        super().__init__(name, tuple(wanted), tuple(got))

    def __str__(self) -> str:
        name, wanted, got = self.args
        return (
            f"{name} must be as large as the first picture, {wanted[1]}x{wanted[0]}; got {got[1]}x{got[0]} "
            "(`image_size`, --image-size, brings all to one size)."
        )


def channel_sums(images: np.ndarray) -> np.ndarray:
    """Computes each channel's exact sum and sum of squares.

    Pictures `(..., C)` uint8 give `(2, C)` int64.
    """
    counts = np.stack([np.bincount(channel, minlength=256) for channel in images.reshape(-1, images.shape[-1]).T])
    levels = np.arange(256)
    return np.stack([counts @ levels, counts @ levels**2])


class Scan(NamedTuple):
    """The result of decoding every picture once."""

    pixels: np.ndarray | None  # `(N, H, W, C)`, if they are kept
    sums: np.ndarray  # `(N, 2, C)`, the result of `channel_sums` for each picture, if the pixels are not kept
    damaged: dict[int, str]  # the errors of damaged pictures, by number; their pixels and sums are zero


def scan(
    count: int, decode: Callable[[int], np.ndarray], shape: tuple[int, ...], *, keep: bool, color: bool = False
) -> Scan:
    """Decodes every picture, with one thread per core.

    Args:
      count: number of pictures.
      decode: a function from the number of a picture to `(H, W, 3)`; raises ValueError or OSError if it is damaged.
      shape: shape of a picture. If its last entry is 3 and all pictures are gray, one channel is kept.
      keep: whether to keep the decoded pictures.
      color: keep three channels also if all pictures are gray, as a network that was trained in color needs them.

    Returns:
      The pictures or their channel sums, and the damaged ones.

    Raises:
      SizeError: if a picture has another size.
    """
    pixels = np.zeros((count, *shape), np.uint8) if keep else None
    sums = np.zeros((count, 2, shape[-1]), np.int64)
    colored = np.zeros(count, bool)
    damaged: dict[int, str] = {}

    def look(start: int) -> None:
        for place in range(start, min(start + _STRIDE, count)):
            try:
                picture = decode(place)
            except SizeError:
                raise
            except (ValueError, OSError) as error:
                damaged[place] = str(error)
                continue
            red, green, blue = (picture[..., channel] for channel in range(3))
            colored[place] = bool((red != green).any() or (red != blue).any())
            if pixels is None:
                sums[place] = channel_sums(picture)
            else:
                pixels[place] = picture

    with ThreadPoolExecutor(cores()) as pool:
        for done in [pool.submit(look, start) for start in range(0, count, _STRIDE)]:
            try:
                done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    if not colored.any() and not color:
        pixels = None if pixels is None else np.ascontiguousarray(pixels[..., :1])
        sums = sums[..., :1]
    return Scan(pixels, sums, dict(sorted(damaged.items())))


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def to_stream(stream: bool | None, count: int, shape: Sequence[int]) -> bool:
    """Whether to stream pictures.

    It is as requested, or else if they would take more than `STREAM_ABOVE` bytes.
    """
    return count * int(np.prod(shape)) > STREAM_ABOVE if stream is None else stream
