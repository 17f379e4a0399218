"""Segmentation by a small U-Net, trained beside a twin in PyTorch.

Hypothesis:
  A U-Net learns the class of each pixel as well here as in PyTorch: network, loss, gradient, optimizer and metrics are
  the same.

Proxy:
  The first 1,500 of the training scenes of 48x48 with one to four digits, and two classes of pixels: ground and ink,
  whichever digit it is. All 500 test scenes. With a class for each digit, so short a training stops where the IoU still
  rises steeply, and two runs of one seed differ by several points.

Protocol:
  `models.UNet` with three levels of 8, 16 and 32 maps and without dropout. The twin begins with the same parameters and
  takes the same batches of 25, in 240 steps: AdamW 2e-3, decay 0.01 of kernels, cosine. Pixelwise cross-entropy. The
  twin's metrics are scikit-learn's. No choice was made on the test examples.

Expected:
  Mean IoU and pixel accuracy within one point of the twin's.

Result:
  3 seeds, jax 0.10.2, 2 cores of AMD EPYC, 2026-11-30, commit 6a0691e4.
  - Holds: ink is told from ground, pixel by pixel, within a point of PyTorch's network (mean IoU 96.11 and 96.11, pixel
    accuracy 99.06 and 99.06).

  | test scenes, % | jaxcnn | PyTorch |
  | --- | --- | --- |
  | mean IoU | 96.11 ± 0.4 | 96.11 ± 0.39 |
  | pixel accuracy | 99.06 ± 0.098 | 99.06 ± 0.097 |

Command:
  python -m experiments.masks_against_pytorch --seeds 0 1 2

Cost:
  3.8 minutes a seed, where the result comes from.
"""

import argparse
import math
import sys
from typing import Any

import numpy as np
from flax import nnx

from experiments.form import Claim, Document, Experiment, Tables, mean, number, say
from jaxcnn import data, models, training, weights

TITLE = "test scenes, %"
OURS, THEIRS = "jaxcnn", "PyTorch"
WIDTHS, SCENES, BATCH, EPOCHS, RATE, DECAY = (8, 16, 32), 1500, 25, 4, 2e-3, 1e-2
SHOWN = {"mean_iou": "mean IoU", "pixel_accuracy": "pixel accuracy"}


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Both networks."""
    count, epochs = (100, 1) if options.quick else (SCENES, EPOCHS)
    train, test = inked(data.load("scene_masks", "train").take(count)), inked(data.load("scene_masks", "test"))
    test = test.take(40) if options.quick else test
    model = models.create(
        "unet", num_classes=len(train.classes), in_features=1, widths=WIDTHS, dropout=0.0, rngs=nnx.Rngs(seed)
    )
    begun = {name: np.array(value) for name, value in weights.to_torch(model, "pytorch").items()}
    config = training.TrainConfig(epochs=epochs, batch_size=BATCH, learning_rate=RATE, weight_decay=DECAY, seed=seed)
    run = training.fit(model, train, config=config, observer=None)
    found = {OURS: dict(training.evaluate(model, test, run.scaling, task=run.task).metrics)}
    said = twin(begun, train, test, run.scaling, seed, epochs)
    found[THEIRS] = their_metrics(test.labels, said)
    table = {title: {who: 100 * found[who][name] for who in found} for name, title in SHOWN.items()}
    say(f"seed {seed}", *(f"{title} {number(row[OURS])} and {number(row[THEIRS])}" for title, row in table.items()))
    return {TITLE: table}


def inked(scenes: data.Dataset) -> data.Dataset:
    """The same scenes with two classes, ground and ink."""
    return scenes._replace(labels=(scenes.labels > 0).astype(np.uint8), classes=("ground", "ink"))


def twin(
    begun: dict[str, np.ndarray],
    train: data.Dataset,
    test: data.Dataset,
    scaling: data.Scaling,
    seed: int,
    epochs: int,
) -> np.ndarray:
    """Trains the same network in PyTorch; returns the classes of the test pixels."""
    import torch
    from torch.nn import functional

    w = {name: torch.tensor(value, requires_grad=True) for name, value in begun.items()}

    def conv(path: str, x: Any) -> Any:
        return functional.conv2d(x, w[f"{path}.weight"], w[f"{path}.bias"], padding="same")

    def answer(x: Any) -> Any:
        joined = []
        for level in range(len(WIDTHS)):
            for place in range(2):
                x = torch.relu(conv(f"down.{level}.{place}.conv", x))
            if level < len(WIDTHS) - 1:
                joined.append(x)
                x = functional.max_pool2d(x, 2)
        for level in range(len(WIDTHS) - 1):
            x = functional.conv_transpose2d(x, w[f"enlarge.{level}.weight"], w[f"enlarge.{level}.bias"], stride=2)
            x = torch.cat([joined.pop(), x], 1)
            for place in range(2):
                x = torch.relu(conv(f"up.{level}.{place}.conv", x))
        return conv("head", x)

    def pictures(images: np.ndarray) -> Any:
        return torch.tensor(np.asarray(scaling(images)), dtype=torch.float32).permute(0, 3, 1, 2)

    groups = [
        {"params": [p for p in w.values() if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in w.values() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE)
    steps = epochs * (len(train.labels) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    for step in range(steps):
        batch = data.train_batch(train, BATCH, seed, step)
        loss = functional.cross_entropy(answer(pictures(batch.images)), torch.tensor(batch.labels.astype(np.int64)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        parts = [answer(pictures(test.images[at : at + 100])).argmax(1) for at in range(0, len(test.labels), 100)]
    return torch.cat(parts).numpy()


def their_metrics(true: np.ndarray, said: np.ndarray) -> dict[str, float]:
    """Those of scikit-learn."""
    from sklearn import metrics

    true, said = true.ravel(), said.ravel()
    return {
        "mean_iou": float(metrics.jaccard_score(true, said, average="macro")),
        "pixel_accuracy": float(metrics.accuracy_score(true, said)),
    }


def claims(document: Document) -> list[Claim]:
    """One for both metrics."""
    pairs = {title: [mean(document, TITLE, title, who) for who in (OURS, THEIRS)] for title in SHOWN.values()}
    near = all(abs(ours - theirs) <= 1 for ours, theirs in pairs.values())
    told = ", ".join(f"{title} {number(ours)} and {number(theirs)}" for title, (ours, theirs) in pairs.items())
    return [Claim("ink is told from ground, pixel by pixel, within a point of PyTorch's network", near, told)]


def figure(document: Document) -> Any:
    """Two bars for each metric, and the seeds as points."""
    from matplotlib.figure import Figure

    rows = document["tables"][TITLE]
    drawn = Figure(figsize=(6.4, 2.2), layout="constrained")
    axes = drawn.subplots()
    for place, (who, color) in enumerate({OURS: "black", THEIRS: "0.65"}.items()):
        cells, places = [row[who] for row in rows.values()], [at + 0.4 * place for at in range(len(rows))]
        axes.barh(places, [cell["mean"] for cell in cells], 0.38, color=color, label=who)
        for at, cell in zip(places, cells, strict=True):
            axes.plot(cell["values"], [at] * len(cell["values"]), ls="", marker="|", color="tab:orange")
    axes.set_yticks([at + 0.2 for at in range(len(rows))], list(rows))
    axes.invert_yaxis()
    axes.set(xlim=(0, 105), xlabel="test scenes, %; lines are the seeds")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return drawn


EXPERIMENT = Experiment("experiments.masks_against_pytorch", __doc__, one_seed, claims, figure)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
