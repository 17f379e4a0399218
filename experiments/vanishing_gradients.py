"""The gradient over depth, for sigmoid, tanh, ReLU, batch normalization and shortcuts.

Hypothesis:
  The derivative of a sigmoid is at most 1/4, so the gradient falls from layer to layer towards the input, until the
  first layers hardly learn. With tanh it falls less; with ReLU it keeps its size. With batch normalization it does not
  vanish with any activation, but grows from layer to layer; shortcuts keep it within bounds.

Proxy:
  20 layers of 16 channels and 3 taps on MNIST-1D; the course speaks of any deep network.

Protocol:
  9 blocks of two convolutions between a first one and the mean over time with a dense layer. Kernels start as is
  customary: Glorot's for sigmoid and tanh, He's for ReLU; biases at 0. L2 norm of the mean cross-entropy's gradient by
  each convolution's kernel, on the first 500 training signals, before training and after 40 steps of SGD 0.01 with
  momentum 0.9, batches of 100, alike for all.

Expected:
  The sigmoid's gradient at the first layer less than a millionth of that at the last; that of tanh and of ReLU within
  a factor of 100; with normalization larger at the first layer than at the last; with shortcuts within a factor of 10
  over all layers.

Result:
  3 seeds, jax 0.12.0.1, 1 core of Intel(R) Xeon(R) Processor @ 2.80GHz, 2026-11-22, commit e001726.
  - Holds: with sigmoids the gradient falls by a factor of at least 4 for each layer towards the input (by 4.7 for each
    layer, to 7.5e-13 over 18 layers; published: its derivative is at most 1/4).
  - Holds: with tanh and with ReLU, the gradients of first and last layer differ by a factor of less than 100 (first
    over last: tanh 0.3051, ReLU 0.7582).
  - Holds: with batch normalization the gradient does not vanish but grows towards the input (first over last: 6.025,
    1.10 times a layer; published: grows exponentially with depth (Yang et al. 2019)).
  - Holds: with shortcuts it varies by a factor of less than 10 over all layers, and less than without them (largest
    over smallest 5.023, without shortcuts 10.92).

  | gradient norm at the first layer over that at the last, times | before training | after 40 steps |
  | --- | --- | --- |
  | sigmoid | 7.54e-13 ± 3e-13 | 1.98e-12 ± 5e-13 |
  | tanh | 0.3531 ± 0.19 | 0.2578 ± 0.14 |
  | ReLU | 0.8629 ± 0.18 | 0.6372 ± 0.22 |
  | ReLU, normalized | 7.292 ± 4.9 | 1.796 ± 1.3 |
  | ReLU, normalized, shortcuts | 4.598 ± 4.3 | 2.982 ± 0.66 |

Command:
  python -m experiments.vanishing_gradients --seeds 0 1 2

Cost:
  50 seconds a seed, where the result comes from.
"""

import argparse
import sys
from typing import Any

from flax import nnx

from experiments.form import Claim, Document, Experiment, Tables, number, say
from experiments.signals import Deep, compiled_once, gradient_norms
from jaxcnn import data, training

START, LATER = "gradient norm by layer before training, nats", "gradient norm by layer after 40 steps, nats"
RATIOS = "gradient norm at the first layer over that at the last, times"
DEPTH = 20
GLOROT = {"kernel_init": nnx.initializers.glorot_normal(), "batch_norm": False}
NETWORKS: dict[str, dict[str, Any]] = {
    "sigmoid": {"activation": "sigmoid", **GLOROT},
    "tanh": {"activation": "tanh", **GLOROT},
    "ReLU": {"batch_norm": False},
    "ReLU, normalized": {},
    "ReLU, normalized, shortcuts": {"residual": True},
}
CONFIG = training.TrainConfig(
    epochs=1, batch_size=100, optimizer="sgd", learning_rate=0.01, nesterov=False, weight_decay=0, schedule="constant"
)


@compiled_once()
def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Norms by network and layer, numbered from the input on."""
    train = data.load("mnist1d", "train")
    train = train.take(200) if options.quick else train
    known = train.take(500)
    inputs = data.measure_scaling(train)(known.images[:])
    tables: Tables = {title: {} for title in (RATIOS, START, LATER)}
    for name, how in NETWORKS.items():
        model = Deep(4 if options.quick else DEPTH, **how, rngs=nnx.Rngs(seed))
        tables[RATIOS][name] = {}
        for title, when in ((START, "before training"), (LATER, "after 40 steps")):
            if title == LATER:
                training.fit(model, train, config=CONFIG, observer=None)
            norms = tables[title][name] = gradient_norms(model, inputs, known.labels)
            first, *_, last = norms.values()
            tables[RATIOS][name][when] = first / last
            say(f"seed {seed}: {name}, {when}: {number(first)} at the first layer, {number(last)} at the last")
    return tables


def claims(document: Document) -> list[Claim]:
    """What the course says of vanishing gradients."""
    sigmoid, tanh, relu, normalized, shortcuts = (
        [cell["mean"] for cell in document["tables"][START][name].values()] for name in NETWORKS
    )

    def ratio(norms: list[float]) -> float:
        return norms[0] / norms[-1]

    def span(norms: list[float]) -> float:
        return max(norms) / min(norms)

    layers = len(sigmoid) - 1
    factor = ratio(sigmoid) ** (1 / layers)
    return [
        Claim(
            "with sigmoids the gradient falls by a factor of at least 4 for each layer towards the input",
            factor <= 1 / 4,
            f"by {1 / factor:.1f} for each layer, to {ratio(sigmoid):.1e} over {layers} layers",
            "its derivative is at most 1/4",
        ),
        Claim(
            "with tanh and with ReLU, the gradients of first and last layer differ by a factor of less than 100",
            all(0.01 < ratio(norms) < 100 for norms in (tanh, relu)),
            f"first over last: tanh {number(ratio(tanh))}, ReLU {number(ratio(relu))}",
        ),
        Claim(
            "with batch normalization the gradient does not vanish but grows towards the input",
            ratio(normalized) > 1,
            f"first over last: {number(ratio(normalized))}, {ratio(normalized) ** (1 / layers):.2f} times a layer",
            "grows exponentially with depth (Yang et al. 2019)",
        ),
        Claim(
            "with shortcuts it varies by a factor of less than 10 over all layers, and less than without them",
            span(shortcuts) < min(10, span(normalized)),
            f"largest over smallest {number(span(shortcuts))}, without shortcuts {number(span(normalized))}",
        ),
    ]


def figure(document: Document) -> Any:
    """Norms by layer, before training and after 40 steps, on logarithmic axes."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(10, 4.5), layout="constrained")
    looks = (("o", "0.7", "--"), ("s", "0.45", "--"), ("^", "0.7", "-"), ("D", "0.45", "-"), ("x", "0", "-"))
    styles = {
        name: {"marker": marker, "color": color, "linestyle": line}
        for name, (marker, color, line) in zip(NETWORKS, looks, strict=True)
    }
    panels = ((START, "before training"), (LATER, "after 40 steps"))
    for axes, (title, when) in zip(drawn.subplots(1, 2, sharey=True), panels, strict=True):
        for name, cells in document["tables"][title].items():
            numbers = [int(layer) for layer in cells]
            axes.plot(numbers, [cell["mean"] for cell in cells.values()], markersize=4, label=name, **styles[name])
        axes.set(yscale="log", xlabel="convolution, from the input", title=f"gradient over depth, {when}")
        axes.xaxis.get_major_locator().set_params(integer=True)
    drawn.axes[-1].legend(frameon=False, fontsize="small")
    drawn.axes[0].set_ylabel("norm of the kernel's gradient, nats")
    return drawn


EXPERIMENT = Experiment("experiments.vanishing_gradients", __doc__, one_seed, claims, figure, shown=(RATIOS,))

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
