"""`jaxcnn look`."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from jaxcnn import data, training
from jaxcnn.cli.oddities import file_sizes, oddities
from jaxcnn.cli.runs import check_place
from jaxcnn.data import Dataset
from jaxcnn.data.streams import SizeError
from jaxcnn.inspect.pages.data_page import write_data_page

_MOST = 40  # classes that are all printed
_SIDE = 64  # to which pictures of different sizes are brought, to be shown and compared


@dataclasses.dataclass(frozen=True)
class Look:
    """Look at a data set: classes, sizes, oddities; write a page."""

    data: tyro.conf.Positional[str]
    """Data set, as for `jaxcnn train --data`; for example folder:PATH."""
    data_dir: Path | None = None
    """Folder of the data set's files; None means $JAXCNN_DATA_DIR."""
    image_size: int | None = None
    """Height and width that pictures are resized to; None resizes only pictures of different sizes."""
    augment: tuple[str, ...] = ()
    """Random changes to show, as for `jaxcnn train`; for example: pad_crop=4 flip."""
    out: Path | None = None
    """HTML file to write; None means look-DATA.html."""

    def __call__(self) -> None:
        """Prints the classes and facts, and writes the page with pictures."""
        check_place(self.out, (".html", ".htm"))
        splits, sized = self._splits()
        train = splits["train"]
        augmentation = None
        if self.augment:
            config = training.TrainConfig(augment=self.augment)
            augmentation = training.make_augmentation(config, train, data.measure_scaling(train))
        sizes = file_sizes(splits)
        facts = [*dict.fromkeys(note for part in splits.values() for note in part.notes), *_facts(train, sizes, sized)]
        print(*(_values if train.task == "regression" else _counts)(splits), *facts, sep="\n")
        odd = list(oddities(splits, sizes))
        print("unusual:" if odd else "nothing unusual", *(f"  {sentence}" for sentence in odd), sep="\n")
        name = re.sub(r"[^\w.-]+", "-", self.data).strip("-")
        out = self.out or Path(f"look-{name}.html")
        print(f"page {write_data_page(out, splits, odd, facts=facts, augmentation=augmentation)}")

    def _splits(self) -> tuple[dict[str, Dataset], bool]:
        """Loads all splits without damaged pictures.

        The second value tells whether the sizes of the pictures differ, so that they are resized.
        """
        names = data.splits(self.data, self.data_dir)
        is_folder = self.data.startswith(("folder:", "masks:"))
        lenient: dict[str, Any] = {"skip_corrupt": True, "allow_empty": self.data.startswith("folder:")}

        def load(side: int | None) -> dict[str, Dataset]:
            splits = {name: data.load(self.data, name, self.data_dir, image_size=side, **lenient) for name in names}
            shapes = {part.images.shape[1:3] for part in splits.values()} if is_folder else set()
            if len(shapes) > 1 and side is None:
                raise SizeError(self.data, *sorted(shapes))
            return splits

        try:
            return load(self.image_size), False
        except SizeError:
            return load(_SIDE), True


def _facts(train: Dataset, sizes: Mapping[str, tuple[int, int]], sized: bool) -> Iterator[str]:
    shape = "x".join(map(str, train.images.shape[1:]))
    kind = "bytes" if train.images.dtype == np.uint8 else str(train.images.dtype)
    how = ", resized to be compared; train with `--image-size`" if sized else ""
    yield f"an example is {shape}, {kind}{how}"
    if sizes:
        every = Counter(sizes.values())
        common = ", ".join(f"{width}x{height} ({count:,})" for (width, height), count in every.most_common(3))
        more = f" and {len(every) - 3:,} more" if len(every) > 3 else ""
        yield f"sizes of the files, width by height: {common}{more}"


def _counts(splits: Mapping[str, Dataset]) -> Iterator[str]:
    """Lists each class with its numbers of examples.

    For masks these are the examples with a pixel of it. If there are many classes, only the rarest are listed.
    """
    train = splits["train"]
    counts = np.stack([part.counts() for part in splits.values()], -1)
    several = train.task == "multi_label"
    places, title = np.arange(len(train.classes)), "label" if several else "class"
    if len(places) > _MOST:
        places = np.argsort(counts[:, 0], kind="stable")[: _MOST // 2]
        title = f"rarest {len(places)} of {len(train.classes):,} {'labels' if several else 'classes'}"
    width = max(len(title), *(len(train.classes[place]) for place in places))
    yield "  ".join([f"{title:<{width}}", *(f"{name:>10}" for name in splits)])
    sizes = [len(part.labels) for part in splits.values()]
    for name, row in [*((train.classes[place], counts[place]) for place in places), ("all", sizes)]:
        yield "  ".join([f"{name:<{width}}", *(f"{count:>10,}" for count in row)])


def _values(splits: Mapping[str, Dataset]) -> Iterator[str]:
    """Lists each value's range and mean in each split."""
    names = next(iter(splits.values())).classes
    width, wide = max(len("value"), *map(len, names)), max(len("split"), *map(len, splits))
    titles = (f"{title:>10}" for title in ("examples", "smallest", "mean", "largest"))
    yield "  ".join([f"{'value':<{width}}", f"{'split':<{wide}}", *titles])
    for column, name in enumerate(names):
        for split, part in splits.items():
            values = np.asarray(part.labels).reshape(len(part.labels), -1)[:, column]
            numbers = (f"{number:>10.4g}" for number in (values.min(), values.mean(), values.max()))
            yield "  ".join([f"{name:<{width}}", f"{split:<{wide}}", f"{len(values):>10,}", *numbers])
