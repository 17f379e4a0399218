"""Faces in photographs: a small network that slides, trained with its own false alarms.

Hypothesis:
  A network of 61,000 parameters, trained on 80 faces of 25x25 pixels, finds the face in a photograph that it has not
  seen, if it slides over the photograph at all sizes. Most of its false alarms vanish when it learns from its false
  alarms in other pictures (Rowley et al. 1998), and when a box must be confirmed by neighboring windows.

Proxy:
  `data.load("faces")` for faces, and photographs that come with scikit-image. Rowley et al. had 1,050 faces for
  training, and 130 photographs with 507 faces for testing; here one photograph has a face, and three have none.

Protocol:
  LeNet-5 with windows of 32x32 and one output. It learns 80 faces (resized to 32x32, with flips, small rotations,
  sizes, moves and shades), 80 other pictures of `faces`, and 2,000 windows drawn from 14 pictures without faces:
  textures, coins, text, galaxies, tissue, a motorcycle. Then three times: it slides over the 14 pictures, its false
  alarms above 0.2 join the examples (at most 100 a picture), and a new network learns all of them. AdamW 2e-3, cosine,
  64 a step, 8 epochs. Sizes of the pyramid are 2^(1/8) apart, the threshold is 0.9, and boxes overlap by at most 0.2.
  With 2, 4 or 8 votes, so many windows above the threshold must overlap a box by more than that. The true face was
  drawn by hand; it is found if a box overlaps it by at least 0.5 (intersection over union). Rounds, threshold and
  sizes were set after a look at these four photographs with seed 0; the other seeds are new.

Expected:
  The face is found with every seed. Mining halves the false alarms in new photographs, or better; with 4 votes there is
  at most one in a photograph without a face. One pass gives the logits of all windows, to 1e-4, at least 5 times as
  fast as window by window.

Result:
  None yet: not run in full.

Command:
  python -m experiments.face_detection --seeds 0 1 2

Cost:
  About 3 minutes a seed.
"""

import argparse
import sys
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.patches import Rectangle
from PIL import Image

from experiments.benchmarks.timing import alternate
from experiments.form import Claim, Document, Experiment, Tables, mean, number, say
from jaxcnn import data, inspect, models, ops, training

SIDE, STEP, THRESHOLD, OVERLAP, VOTES, ROUNDS = 32, 2**0.125, 0.9, 0.2, (2, 4, 8), 3
FACE = np.array([[168.0, 64.0, 280.0, 176.0]])  # of the astronaut, from brow to chin, as in the faces of the data set
WITHOUT_FACES = (
    *("brick", "cell", "coins", "colorwheel", "grass", "gravel", "horse"),
    *("hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "text"),
)
TESTED = ("astronaut", "coffee", "rocket", "chelsea")
ALARMS, FOUND = "false alarms, boxes", "the astronaut's face"
CROPS, SPEED = "test pictures of 25x25 taken for faces, %", "all windows of a picture of 256x256, ms"
DIFFERENCE = "logits of one pass less those of the windows, largest difference"
FIRST, MINED = "without mining", "with mining"
BOX, RANK, OVERLAPS = "found, %", "boxes with a higher score", "intersection over union"
PASS, SINGLE = "one pass", "window by window"


@cache
def photograph(name: str) -> np.ndarray:
    """One of scikit-image's pictures, in gray, `(H, W, 1)`."""
    import skimage.data

    pixels = skimage.data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(skimage.data, name)()
    pixels = 255 * pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]


def resized(pixels: np.ndarray, box: Any = None) -> np.ndarray:
    """A picture, or a box of it, in the size of the window."""
    image = Image.fromarray(pixels[..., 0])
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box))[..., None]


def crops(*splits: str) -> tuple[np.ndarray, np.ndarray]:
    """The faces and the other pictures of the data set, in the size of the window."""
    parts = [data.load("faces", split) for split in splits]
    images = np.stack([resized(image) for part in parts for image in part.images])
    labels = np.concatenate([part.labels for part in parts])
    return images[labels == 1], images[labels == 0]


def windows(pictures: list[np.ndarray], count: int, random: np.random.Generator) -> np.ndarray:
    """Windows from random places, at random sizes of the pictures."""
    levels = [inspect.pyramid(picture, SIDE, step=2**0.5) for picture in pictures]
    found = []
    for _ in range(count):
        some = levels[random.integers(len(levels))]
        pixels = some[random.integers(len(some))].pixels
        top, left = (int(random.integers(n - SIDE + 1)) for n in pixels.shape[:2])
        found.append(pixels[top : top + SIDE, left : left + SIDE])
    return np.stack(found)


def voted(votes: int) -> str:
    """The row of so many votes."""
    return MINED if votes == 1 else f"{MINED}, {votes} votes"


def learned(faces: np.ndarray, others: np.ndarray, epochs: int, seed: int) -> tuple[Any, Any]:
    """Trains a network, with each face as often as the others require."""
    often = -(-len(others) // (2 * len(faces)))
    images = np.concatenate([np.tile(faces, (often, 1, 1, 1)), others])
    labels = np.repeat(np.array([1, 0], np.int32), [often * len(faces), len(others)])
    train = data.Dataset(images, labels, ("other", "face"), "windows", "train", task="binary")
    changes = ("affine=8,0.05,0.1,0.05", "flip", "color_jitter=0.4")
    config = training.TrainConfig(epochs=epochs, seed=seed, augment=changes)
    model = models.create("lenet5", num_classes=1, border=0, rngs=nnx.Rngs(seed))
    return model, training.fit(model, train, config=config, observer=None)


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """False alarms, what is found, and the time of one pass."""
    quick = options.quick
    names = WITHOUT_FACES[:2] if quick else (*WITHOUT_FACES, "motorcycle")
    pictures = [photograph(name) for name in names]
    faces, others = crops("train", "validation")
    others = np.concatenate([others, windows(pictures, 200 if quick else 2000, np.random.default_rng(seed))])
    model, run = learned(faces, others, 1 if quick else 8, seed)
    tables: Tables = {title: {} for title in (ALARMS, FOUND, CROPS, SPEED)}
    tested = TESTED[:2] if quick else TESTED
    judge(tables, model, run, FIRST, 1, tested)
    for turn in range(1 if quick else ROUNDS):
        network = models.fully_convolutional(model)
        hard = []
        for picture in pictures:
            found = inspect.find(network, picture, run.scaling, threshold=0.2, overlap=0.5)
            edges = np.minimum(found.boxes, np.tile(picture.shape[1::-1], 2))  # a rounded size may end behind the edge
            hard += [resized(picture, tuple(map(float, box))) for box in edges]
        say(f"seed {seed}: round {turn + 1}, {len(hard)} false alarms in {len(pictures)} pictures")
        others = np.concatenate([others, *[np.stack(hard)] * bool(hard)])
        model, run = learned(faces, others, 1 if quick else 8, seed)
    for votes in (1, *VOTES):
        judge(tables, model, run, voted(votes), votes, tested)
    tables[SPEED], apart = speed(model, run.scaling)
    tables[DIFFERENCE] = {"all windows": {"difference": apart}}
    return tables


def judge(tables: Tables, model: Any, run: Any, row: str, votes: int, tested: tuple[str, ...]) -> None:
    """Adds a row to the tables."""
    network = models.fully_convolutional(model)
    alarms = {}
    for name in tested:
        found = boxes_in(network, run.scaling, name, votes)
        alarms[name] = len(found.boxes)
        if name == "astronaut":
            near = overlaps(found.boxes)
            best = int(near.argmax()) if len(near) else -1
            there = bool(len(near) and near[best] >= 0.5)
            alarms[name] -= int(there)
            tables[FOUND][row] = {BOX: 100.0 * there}
            if there:
                tables[FOUND][row] |= {RANK: best, OVERLAPS: float(near[best])}
            else:
                tables[FOUND][row] |= {RANK: len(near), OVERLAPS: float(near.max(initial=0))}
    tables[ALARMS][row] = alarms
    told = [training.predict(model, part, run.scaling, task=run.task)[:, 1] for part in crops("test")]
    if votes == 1:
        shares = [100 * float((scores >= THRESHOLD).mean()) for scores in told]
        tables[CROPS][row] = dict(zip(("faces", "others"), shares, strict=True))
    say(f"{row}: {tables[FOUND][row]}, false alarms {alarms}")


def boxes_in(network: Any, scaling: Any, name: str, votes: int) -> inspect.Found:
    """The boxes in a photograph."""
    how = {"threshold": THRESHOLD, "overlap": OVERLAP, "step": STEP, "votes": votes}
    return inspect.find(network, photograph(name), scaling, **how)


def overlaps(boxes: np.ndarray) -> np.ndarray:
    """The overlap of each box with the true face."""
    if not len(boxes):
        return np.zeros(0)
    return np.asarray(ops.box_iou(boxes, FACE.astype(boxes.dtype)))[:, 0]


def speed(model: Any, scaling: Any) -> tuple[dict[str, dict[str, float]], float]:
    """The time of one pass over a picture, and of its windows as one batch; and how far the logits differ."""
    network = models.fully_convolutional(model)
    picture = jnp.asarray(scaling(photograph("coffee")[:256, :256][None]))
    places = range(0, 256 - SIDE + 1, network.sliding.strides[0])
    batch = jnp.concatenate([picture[:, top : top + SIDE, left : left + SIDE] for top in places for left in places])
    run = nnx.jit(lambda model, images: model(images))
    apart = float(jnp.abs(run(network, picture).ravel() - run(model, batch).ravel()).max())
    calls = {PASS: lambda: run(network, picture), SINGLE: lambda: run(model, batch)}
    times = alternate({name: lambda call=call: jax.block_until_ready(call()) for name, call in calls.items()})
    return {name: {"time": 1000 * float(np.median(values))} for name, values in times.items()}, apart


def claims(document: Document) -> list[Claim]:
    """What is expected of such a detector."""
    found, alarms = document["tables"][FOUND], document["tables"][ALARMS]
    tested = list(alarms[FIRST])

    def total(row: str, names: list[str]) -> float:
        return sum(alarms[row][name]["mean"] for name in names)

    hits = {row: cells[BOX]["values"] for row, cells in found.items()}
    seeds, ranks = len(hits[MINED]), found[MINED][RANK]["values"]
    every = {row: total(row, tested) for row in alarms}
    four = voted(4)
    empty = {name: alarms[four][name]["mean"] for name in tested if name != "astronaut"}

    def count(values: list[float]) -> int:
        return sum(value == 100 for value in values)

    time = {row: mean(document, SPEED, row, "time") for row in (PASS, SINGLE)}
    apart = max(document["tables"][DIFFERENCE]["all windows"]["difference"]["values"])
    return [
        Claim(
            "after mining, the astronaut's face is found with every seed",
            min(hits[MINED]) == 100,
            f"with {count(hits[MINED])} of {seeds}, intersection over union {number(found[MINED][OVERLAPS]['mean'])}",
        ),
        Claim(
            "it is the box with the highest score of its photograph",
            max(ranks) == 0 and min(hits[MINED]) == 100,
            f"{', '.join(map(number, ranks))} boxes have a higher one",
        ),
        Claim(
            "learning from false alarms halves the false alarms in new photographs, or better",
            every[MINED] <= every[FIRST] / 2,
            f"{number(every[FIRST])} to {number(every[MINED])} in {len(tested)} photographs",
        ),
        Claim(
            "votes lower them further, and the face is still found with every seed",
            every[four] < every[MINED] and min(hits[four]) == 100,
            "; ".join(f"{v} votes: {number(every[voted(v)])}, found with {count(hits[voted(v)])}" for v in VOTES),
        ),
        Claim(
            "with 4 votes, a photograph without a face has at most one false alarm on average",
            max(empty.values()) <= 1,
            ", ".join(f"{name} {number(value)}" for name, value in empty.items()),
        ),
        Claim(
            "one pass gives the logits of all windows, to 1e-4 of a logit, at least 5 times as fast",
            apart < 1e-4 and time[SINGLE] >= 5 * time[PASS],
            f"{number(time[SINGLE] / time[PASS])} times, difference {number(apart)}",
        ),
    ]


def figure(document: Document) -> Any:
    """False alarms by photograph, before and after."""
    from matplotlib.figure import Figure

    alarms = document["tables"][ALARMS]
    drawn = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = drawn.subplots(1, 2, width_ratios=(2.2, 1))
    width = 0.16
    for place, row in enumerate(alarms):
        cells = alarms[row]
        at = np.arange(len(cells)) + (place - 2) * width
        spread = [cell["standard_deviation"] or 0 for cell in cells.values()]
        color = ("0.85", "0.6", "#d9a441", "#b3541e", "#30343b")[place]
        left.bar(at, [cell["mean"] for cell in cells.values()], width, yerr=spread, label=row, color=color)
    left.set_xticks(np.arange(len(alarms[FIRST])), list(alarms[FIRST]))
    left.set(
        yscale="symlog", ylim=(0, None), ylabel="false alarms, boxes", title="photographs that were not learned from"
    )
    left.legend(frameon=False, fontsize="small")
    right.imshow(photograph("astronaut")[..., 0], cmap="gray", vmin=0, vmax=255)
    x1, y1, x2, y2 = FACE[0]
    right.add_patch(Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, ec="#b3541e", lw=1.5))
    hits = document["tables"][FOUND][MINED][BOX]["values"]
    right.set(xticks=[], yticks=[], title=f"true face, found with {sum(v == 100 for v in hits)} of {len(hits)} seeds")
    return drawn


EXPERIMENT = Experiment("experiments.face_detection", __doc__, one_seed, claims, figure)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
