"""Plain and residual networks of 20 to 110 layers on CIFAR-10.

Hypothesis:
  Deeper plain networks have larger test errors, and larger training errors too; deeper residual networks of the same
  layers have smaller ones.

Proxy:
  None: He 2015's networks, pictures and schedule, in full. `depth_degradation` asks the same in minutes on a CPU.
  Pictures that went through JPEG (`--data folder:PATH`) are harder: about 11 to 12.5 % for ResNet-20; there the orders
  count, and the claim on values is left out.

Protocol:
  The recipe `he2015-cifar`: SGD 0.1 with momentum 0.9 and weight decay 1e-4 on everything, batches of 128, a tenth at
  a half and at three quarters of 164 epochs (63,960 steps; the paper has 64,000), pictures moved by up to 4 pixels and
  mirrored. All 50,000 training pictures, float32 (on a GPU, the matrix units' shorter form of it). 110 layers start
  with 400 steps of a rising rate, where the paper takes 0.01 until the training error is below 80 %. Colors are
  scaled by channel; the paper subtracts a mean picture. Tested after the last epoch, once; no choice is made. Training
  error is that of the trained network on the training pictures as they are. Plain-110 is left out, as in the paper,
  where it does not train.

Expected:
  Test error of ResNet-20/32/44/56/110 with shortcuts A: 8.75, 7.51, 7.17, 6.97, 6.43 % (He 2015, table 6). Of
  plain-20/32/44/56: 10.08, 11.15, 14.12, 15.39 % (techxzen's reimplementation in PyTorch; the paper has curves only).

Result:
  None yet: not run in full.

Command:
  python -m experiments.resnet_cifar --data cifar10 --runs runs/resnet_cifar --add

Cost:
  4.5e16 floating-point operations a seed. Not measured; about 4 hours on a GPU that does 3 TFLOP/s on such small
  convolutions, 12 hours at 1 TFLOP/s (a T4, say), and 4 to 5 days on 2 CPU cores.
"""

import argparse
import dataclasses
import sys
from typing import Any

from flax import nnx

from experiments import cifar
from experiments.form import Claim, Document, Experiment, Tables, mean
from jaxcnn import models, training

RECIPE = training.RECIPES["he2015-cifar"].config
PLAIN = "plain"
PUBLISHED = {
    PLAIN: {20: 10.08, 32: 11.15, 44: 14.12, 56: 15.39},
    "residual, A": {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43},
}
TITLES = {"training": "training error, %", "test": "test error, %"}


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Errors in percent of every network."""
    train, test = cifar.pictures(options)
    depths = [8] if options.quick else options.depths
    found: Tables = {title: {} for title in TITLES.values()}
    for shortcut in ("none", *options.shortcuts):
        row = PLAIN if shortcut == "none" else f"residual, {shortcut}"
        for depth in depths:
            if shortcut == "none" and depth > 56:
                continue
            model = models.CifarResNet(
                len(train.classes),
                train.features,
                depth=depth,
                shortcut=shortcut,
                widths=(4, 8, 8) if options.quick else (16, 32, 64),
                rngs=nnx.Rngs(seed),
            )
            changes: dict[str, Any] = {"epochs": 1, "batch_size": 32} if options.quick else {}
            config = dataclasses.replace(RECIPE, seed=seed, warmup_steps=400 * (depth > 56), **changes)
            errors = cifar.errors(f"{row.replace(',', '')} {depth}", model, train, test, config, options)
            for part, title in TITLES.items():
                found[title].setdefault(row, {})[str(depth)] = errors[part]
    return found


def claims(document: Document) -> list[Claim]:
    """What the paper says: of depth, of shortcuts, and of values."""
    trained, tested = (document["tables"][title] for title in TITLES.values())
    lossless = document["options"]["data"] == "cifar10"

    def by_depth(part: str, row: str) -> dict[int, float]:
        title = TITLES[part]
        return {int(depth): mean(document, title, row, depth) for depth in document["tables"][title][row]}

    def told(errors: dict[int, float]) -> str:
        return ", ".join(f"{error:.2f} ({depth})" for depth, error in errors.items()) + " %"

    found = []
    if len(trained[PLAIN]) > 1:
        training_errors, errors = by_depth("training", PLAIN), by_depth("test", PLAIN)
        low, high = min(errors), max(errors)
        found.append(
            Claim(
                "deeper plain networks have a larger training error and a larger test error",
                training_errors[high] > training_errors[low] and errors[high] > errors[low],
                f"training {told(training_errors)}; test {told(errors)}",
                f"test {told(PUBLISHED[PLAIN])}",
            )
        )
    for row in tested:
        if row == PLAIN:
            continue
        errors, plain = by_depth("test", row), by_depth("test", PLAIN)
        published = PUBLISHED.get(row, {})
        if len(errors) > 1:
            better = errors[max(errors)] < errors[min(errors)]
            of_paper = told(published) if published else ""
            found.append(
                Claim(f"deeper residual networks ({row[-1]}) have a lower test error", better, told(errors), of_paper)
            )
        both = [depth for depth in errors if depth in plain]
        less = {depth: plain[depth] - errors[depth] for depth in both}
        found.append(
            Claim(
                f"residual networks ({row[-1]}) have a lower test error than plain ones at every depth",
                min(less.values()) > 0,
                f"by {told(less)}",
                f"by {told({depth: PUBLISHED[PLAIN][depth] - published[depth] for depth in both})}"
                if all(depth in published and depth in PUBLISHED[PLAIN] for depth in both)
                else "",
            )
        )
        gaps = {depth: errors[depth] - published[depth] for depth in errors if depth in published}
        if lossless and gaps:
            found.append(
                Claim(
                    f"the test errors of residual networks ({row[-1]}) are within half a point of those published",
                    max(map(abs, gaps.values())) <= 0.5,
                    told({depth: errors[depth] for depth in gaps}),
                    told({depth: published[depth] for depth in gaps}),
                    ", ".join(f"{gap:+.2f} ({depth})" for depth, gap in gaps.items()),
                )
            )
    return found


def figure(document: Document) -> Any:
    """Errors over depth, and the published ones."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 4), layout="constrained")
    for axes, (part, title) in zip(drawn.subplots(1, 2), TITLES.items(), strict=True):
        for place, (row, cells) in enumerate(document["tables"][title].items()):
            depths = list(map(int, cells))
            errors = [cell["mean"] for cell in cells.values()]
            spread = [cell["standard_deviation"] or 0 for cell in cells.values()]
            style = {"color": "0.55" if row == PLAIN else "black", "linestyle": "--" if row == PLAIN else "-"}
            axes.errorbar(depths, errors, spread, marker="so^v"[place], capsize=2, label=row, **style)
            if part == "test" and row in PUBLISHED:
                known = {depth: error for depth, error in PUBLISHED[row].items() if depth in depths}
                axes.plot(*zip(*known.items(), strict=True) if known else ([], []), "x", color=style["color"])
        ticks = sorted({int(depth) for cells in document["tables"][title].values() for depth in cells})
        axes.set(xlabel="layers", ylabel=title, title=f"{part} pictures", ylim=(0, None), xticks=ticks)
        if part == "test":
            axes.plot([], [], "x", color="0.3", label="published")
        axes.legend(frameon=False)
    drawn.suptitle("Deeper is worse without shortcuts, better with them?")
    return drawn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pictures, depths and shortcuts."""
    cifar.add_arguments(parser)
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 32, 44, 56, 110], help="6 n + 2 layers each")
    parser.add_argument("--shortcuts", choices="ABC", nargs="+", default=["A"], help="of the residual networks")


EXPERIMENT = Experiment("experiments.resnet_cifar", __doc__, one_seed, claims, figure, add_arguments=add_arguments)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
