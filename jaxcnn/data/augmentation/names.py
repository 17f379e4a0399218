"""The augmentations by name, and their syntax in a configuration."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from jaxcnn.data.augmentation import colors, mixing, moves, warps
from jaxcnn.data.augmentation.examples import Examples
from jaxcnn.data.augmentation.rand_augment import rand_augment


class _Number(NamedTuple):
    meaning: str
    default: float
    low: float
    high: float
    whole: bool = False

    def read(self, text: str) -> float:
        value = float(text)
        if not self.low <= value <= self.high or (self.whole and value % 1):
            raise ValueError
        return int(value) if self.whole else value

    def rule(self) -> str:
        return f"{'a whole number' if self.whole else 'a number'} from {self.low:g} to {self.high:g}"


class _Word(NamedTuple):
    meaning: str
    default: str
    words: tuple[str, ...]

    def read(self, text: str) -> str:
        if text not in self.words:
            raise ValueError
        return text

    def rule(self) -> str:
        return " or ".join(self.words)


class _Name(NamedTuple):
    description: str
    change: Callable[..., Examples]
    values: tuple[_Number | _Word, ...] = ()
    mixes: bool = False  # several examples, and their targets
    blends: bool = False  # pixels of several examples, so that none has a class of its own
    spare: int | None = None  # how much smaller than the picture the first value must be
    colors: bool = False  # needs gray or red, green and blue


def _pixels(default: int) -> _Number:
    return _Number("pixels", default, 1, 4096, whole=True)


_NAMES = {
    "affine": _Name(
        "rotation up to 10 degrees, shear 0.1, scale 1 +- 0.1, translation by 0.1 of the sides, in this order",
        warps.affine,
        (
            _Number("degrees", 10, 0, 180),
            _Number("shear", 0.1, 0, 2),
            _Number("scale", 0.1, 0, 0.9),
            _Number("translate", 0.1, 0, 1),
        ),
    ),
    "alternating_flip": _Name(
        "left and right exchanged in every other epoch, for a random half in the first", moves.alternating_flip
    ),
    "color_jitter": _Name(
        "brightness, contrast and saturation by 1 +- 0.4; the second value turns the hue, up to 0.5 (0)",
        colors.color_jitter,
        (_Number("strength", 0.4, 0, 1), _Number("hue", 0, 0, 0.5)),
        colors=True,
    ),
    "crop": _Name(
        "a random part of 224x224, in its own size",
        moves.crop,
        (_pixels(224),),
        spare=0,
    ),
    "cutmix": _Name(
        "a box of the neighbor pasted in, its share from Beta(1, 1)",
        mixing.cutmix,
        (_Number("alpha", 1, 0.001, 1000),),
        mixes=True,
    ),
    "cutout": _Name("a square of 8 pixels in the fill's color", moves.cutout, (_pixels(8),), spare=0),
    "elastic": _Name(
        "an elastic deformation of strength 34 and smoothness 4 pixels, as for digits",
        warps.elastic,
        (_Number("alpha", 34, 0, 10_000), _Number("sigma", 4, 0.1, 1000)),
    ),
    "flip": _Name("left and right exchanged, for every other picture by chance", moves.flip),
    "mixup": _Name(
        "the neighbor added, with a share from Beta(0.2, 0.2)",
        mixing.mixup,
        (_Number("alpha", 0.2, 0.001, 1000),),
        mixes=True,
        blends=True,
    ),
    "pad_crop": _Name(
        "padding by 4 pixels and a random crop of the old size; the second value is fill or reflect (fill)",
        moves.pad_crop,
        (_pixels(4), _Word("border", "fill", ("fill", "reflect"))),
        spare=1,
    ),
    "rand_augment": _Name(
        "2 of fourteen operations drawn by chance, of magnitude 9 out of 10",
        rand_augment,
        (_Number("operations", 2, 1, 14, whole=True), _Number("magnitude", 9, 0, 10)),
        colors=True,
    ),
    "random_resized_crop": _Name(
        "a random part, resized to 224x224; the second value is its least share of the area (0.08)",
        moves.random_resized_crop,
        (_pixels(224), _Number("least", 0.08, 0.001, 1)),
        spare=0,
    ),
    "shift": _Name("a move by up to 2 whole pixels along each axis", moves.shift, (_pixels(2),), spare=1),
}

AUGMENTATIONS: Mapping[str, str] = MappingProxyType({name: entry.description for name, entry in _NAMES.items()})


class Change(NamedTuple):
    """One augmentation with its values."""

    spec: str
    name: str
    values: tuple[float | str, ...]

    def __call__(self, examples: Examples) -> Examples:
        """Applies the augmentation."""
        return _NAMES[self.name].change(examples, *self.values)

    @property
    def of_colors(self) -> bool:
        """Whether it changes colors, which needs values from black to white."""
        return _NAMES[self.name].colors

    @property
    def blends(self) -> bool:
        """Whether it blends pixels, so that they have no class."""
        return _NAMES[self.name].blends

    def resized(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Computes the shape `(H, W, C)` after it.

        Raises:
          ValueError: if it does not suit such pictures.
        """
        height, width, channels = shape
        entry = _NAMES[self.name]
        if entry.spare is not None and int(self.values[0]) + entry.spare > min(height, width):
            raise ValueError(f"`{self.spec}` must fit into the picture; got pictures of {height}x{width}.")
        if entry.colors and channels not in (1, 3):
            raise ValueError(f"`{self.spec}` needs pictures of 1 or 3 channels; got {channels}.")
        if self.name in ("crop", "random_resized_crop"):
            return (int(self.values[0]), int(self.values[0]), channels)
        return shape


def parse(specs: tuple[str, ...]) -> tuple[Change, ...]:
    """Parses the augmentations that a configuration names, in order.

    Raises:
      ValueError: if one is unknown, has a value out of range, or follows a mixture.
    """
    changes = tuple(_parse(spec) for spec in specs)
    mixture = None
    for change in changes:
        if _NAMES[change.name].mixes:
            mixture = change
        elif mixture:
            raise ValueError(
                f"`{mixture.spec}` must follow all changes of single pictures; got '{change.spec}' after it."
            )
    return changes


def _parse(spec: str) -> Change:
    name, equals, text = spec.partition("=")
    if name not in _NAMES:
        raise ValueError(f"an augmentation must be one of {', '.join(_NAMES)}; got '{spec}'.")
    places = _NAMES[name].values
    given = text.split(",") if equals else []
    if len(given) > len(places):
        raise ValueError(f"`{name}` takes {_count(len(places))}; got '{spec}'.")
    values: list[float | str] = [place.default for place in places]
    for position, (place, part) in enumerate(zip(places, given, strict=False)):
        try:
            values[position] = place.read(part.strip())
        except ValueError:
            raise ValueError(f"`{place.meaning}` of `{name}` must be {place.rule()}; got '{spec}'.") from None
    return Change(spec, name, tuple(values))


def _count(values: int) -> str:
    return {0: "no value", 1: "at most 1 value"}.get(values, f"at most {values} values")
