"""`jaxcnn pretrained`."""

import dataclasses
import json as json_module
from pathlib import Path
from typing import Any

from jaxcnn import data, weights
from jaxcnn.weights import PRETRAINED
from jaxcnn.weights.by_name import find
from jaxcnn.weights.twins import fill

_ALLOWED = 0.1  # percent: libraries decode JPEG a little differently


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """List published weights; check their accuracy or compare them with PyTorch."""

    names: tuple[str, ...] = ()
    """Names of weights or networks; by default all, with --check and --parity all for ImageNet."""
    check: Path | None = None
    """Folder of ImageNet's validation pictures, with one folder per class such as n01440764: measure the accuracy on
    them, and compare it with the published one. This downloads the weights."""
    parity: Path | None = None
    """Folder of pictures: compare all stages with the same network in timm or torchvision, which must be installed."""
    limit: int | None = None
    """Number of pictures for --check, spread over the classes; None means all. For --parity the default is 4."""
    batch_size: int = 64
    """Number of pictures in a batch."""
    json: bool = False
    """Print JSON with all details instead of a table."""

    def __call__(self) -> int:
        """Prints a line for each name, and returns the exit status.

        The status is 1 if a network differs from the published one, and 0 otherwise.
        """
        if self.check is not None and self.parity is not None:
            raise ValueError("Only one of `check` and `parity` may be given; got both.")
        for folder in filter(None, (self.check, self.parity)):
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder} must be a folder of pictures; it is not a folder.")
        chosen = self._chosen()
        if self.check is None and self.parity is None:
            self._list(chosen)
            return 0
        wrong = 0
        for name in chosen:  # finishes one network before it downloads the next
            line, good = self._checked(name) if self.check is not None else self._compared(name)
            print(line, flush=True)
            wrong += not good
        if wrong:
            print(f"{wrong} of {len(chosen)} differ")
        return 1 if wrong else 0

    def _chosen(self) -> list[str]:
        if not self.names:
            every = self.check is None and self.parity is None
            return [name for name, known in PRETRAINED.items() if every or known.data == "imagenet2012"]
        chosen = []
        for given in self.names:
            names = [name for name, known in PRETRAINED.items() if given in (name, known.network)]
            if not names:
                raise ValueError(f"`names` must be names or networks that `jaxcnn pretrained` lists; got {given!r}.")
            chosen += names
        return list(dict.fromkeys(chosen))

    def _list(self, chosen: list[str]) -> None:
        rows = [{"name": name, **_plain(PRETRAINED[name])} for name in chosen]
        if self.json:
            print(json_module.dumps(rows, indent=1))
            return
        wide = max(len("name"), *map(len, chosen))
        print(f"{'name':{wide}}  {'network':21}  {'data':12}  {'size':>4}  {'top-1':12}  license")
        for row in rows:
            size, start = row["preprocessing"]["size"][0], f"{row['name']:{wide}}  {row['network']:21}"
            at = f" at {row['measured']['size'][0]}" if row["measured"] else ""
            top1 = "" if row["top1"] is None else f"{row['top1']:.2f}{at}"
            print(f"{start}  {row['data']:12}  {size:4}  {top1:12}  {row['license'] or 'unknown'}")

    def _checked(self, name: str) -> tuple[str, bool]:
        model, config = weights.pretrained(name)
        assert self.check is not None
        measured = weights.accuracy_on(model, config, self.check, batch_size=self.batch_size, limit=self.limit)
        published = PRETRAINED[name].top1
        told = f"{name}: top-1 {measured.top1:.2f} %, top-5 {measured.top5:.2f} % of {measured.pictures:,} pictures"
        if published is None:
            return f"{told}; no published accuracy", True
        good = self.limit is not None or abs(measured.top1 - published) <= _ALLOWED
        return f"{told}; published {published:.2f} %{'' if good else ', which differs'}", good

    def _compared(self, name: str) -> tuple[str, bool]:
        model, config = weights.pretrained(name)
        assert self.parity is not None
        files = list(data.pictures_below(self.parity))[: self.limit or 4]
        if not files:
            raise FileNotFoundError(f"{self.parity} must hold pictures; it holds none.")
        twin, scheme = _twin(name, config)
        fill(twin, find(name).stored.arrays, scheme)  # the published file, not what we loaded from it
        comparison = weights.parity(model, twin, data.read_inputs(files, config["preprocessing"]), loaded=True)
        head = next(row for row in comparison.rows if row.stage == "head")
        told = f"{name}: logits differ by at most {head.absolute:.1e} (relative: {head.relative:.1e})"
        return (told, True) if comparison.first is None else (f"{told}\n{comparison}", False)


def _plain(known: weights.Published) -> dict[str, Any]:
    return known._asdict() | {
        "preprocessing": dataclasses.asdict(known.preprocessing),
        "measured": dict(known.measured),
    }


def _twin(name: str, config: dict[str, Any]) -> tuple[Any, str]:
    """The network of timm or torchvision, without weights."""
    library, network = name.partition("/")[0], config["name"].removesuffix("_torchvision")
    try:
        if library == "timm":
            import timm  # pyright: ignore[reportMissingImports]

            return timm.create_model(network, num_classes=config["num_classes"]), "timm"
        if library == "torchvision":
            import torchvision  # pyright: ignore[reportMissingImports]

            more = {"init_weights": False} if network == "googlenet" else {}
            return torchvision.models.get_model(network, weights=None, **more), "torchvision"
    except ImportError:
        raise ModuleNotFoundError(f"`parity` of {name} needs {library}: pip install {library}.") from None
    raise ValueError(f"`parity` needs a network of timm or torchvision; {name} is of neither.")
