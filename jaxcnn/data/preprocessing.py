"""How pictures become the inputs of a trained network.

They are resized, cut and scaled, as timm and torchvision do it.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from jaxcnn.data.pixels import fit_shorter

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How pictures become the inputs of a trained network.

    The shorter side is resized, with antialiasing; the middle is cut out; bytes are scaled to
    `(value / 255 - mean) / std`. The pixels are those of torchvision's `Resize` and `CenterCrop` on Pillow's pictures,
    which timm uses too.

    Args:
      size: height and width of the network's input.
      resize: length in pixels to which the shorter side is resized first. timm's `crop_pct` is a share of it: it is
        `size` divided by `crop_pct`, rounded down.
      interpolation: `"nearest"`, `"bilinear"`, `"bicubic"` or `"lanczos"`.
      mean: one number per channel.
      std: one number per channel.

    Raises:
      ValueError: if a value is out of range.
    """

    size: tuple[int, int]
    """Height and width of the network's input."""
    resize: int
    """Length in pixels to which the shorter side is resized first."""
    interpolation: Interpolation = "bilinear"
    """`"nearest"`, `"bilinear"`, `"bicubic"` or `"lanczos"`."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """One number per channel."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """One number per channel."""

    def __post_init__(self):
        """Checks every value.

        Raises:
          ValueError: if a value is out of range.
        """
        for name in ("size", "mean", "std"):  # JSON has lists only
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"`size` must be a height and a width in pixels; got {self.size}.")
        if self.resize < max(self.size):
            raise ValueError(f"`resize` must be at least the size that is cut out, {self.size}; got {self.resize}.")
        if self.interpolation not in get_args(Interpolation):
            known = ", ".join(get_args(Interpolation))
            raise ValueError(f"`interpolation` must be one of {known}; got {self.interpolation!r}.")
        if len(self.mean) != len(self.std) or not all(value > 0 for value in self.std):
            raise ValueError(f"`std` must be positive, one for each mean; got {self.std} for {self.mean}.")

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> "Preprocessing":
        """Reads the description of a preprocessing.

        The configuration of a run or a file holds such a description.

        Args:
          described: the fields by name, as `dataclasses.asdict` writes them.

        Returns:
          The preprocessing.

        Raises:
          ValueError: if a field is missing or unknown, or a value is out of range.
        """
        try:
            return cls(**described)
        except TypeError:
            names = ", ".join(field.name for field in dataclasses.fields(cls))
            raise ValueError(f"`preprocessing` must have {names}; got {', '.join(described)}.") from None

    def with_size(self, size: int, crop: float | None = None) -> "Preprocessing":
        """Returns the same for inputs of another size.

        Args:
          size: height and width.
          crop: share of the resized side that is cut out, as timm's `crop_pct`; by default the present one.

        Returns:
          A copy with this size.
        """
        share = max(self.size) / self.resize if crop is None else crop
        return dataclasses.replace(self, size=(size, size), resize=math.floor(size / share + 1e-6))

    def scale(self, pixels: np.ndarray) -> np.ndarray:
        """Scales bytes to the inputs of the network.

        An input is `(value / 255 - mean) / std`.

        Args:
          pixels: `(..., C)` uint8.

        Returns:
          `(..., C)` float32.
        """
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return (pixels.astype(np.float32) / np.float32(255) - mean) / std

    def fit(self, image: Any) -> np.ndarray:
        """Resizes a picture and cuts out its middle.

        Args:
          image: a Pillow picture, in gray or color.

        Returns:
          `(H, W, C)` uint8, with `size` as height and width.
        """
        down, across = self.size
        return np.asarray(fit_shorter(image, down, across, self.resize, self.interpolation)).reshape(down, across, -1)


def in_color(image_size: int | Preprocessing | None) -> bool:
    """Whether pictures are prepared for a network trained in color."""
    return isinstance(image_size, Preprocessing) and len(image_size.mean) == 3
