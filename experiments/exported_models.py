"""Do exported networks give the same predictions?

Hypothesis:
  A network exported as StableHLO or as ONNX predicts the same class for every picture as before, in a process without
  jaxcnn, and for ONNX without JAX. Batch normalization folded into the kernels changes logits by rounding alone.
  Weights in 8 bits change few predictions.

Proxy:
  LeNet-5, which has no batch normalization, and ResNet-20 with half its features, which has; on MNIST's 10,000 test
  digits.

Protocol:
  LeNet-5 learns all training digits for 2 epochs, the residual network 12,000 of them for one; AdamW 2e-3, cosine,
  batches of 64. Each is exported four times: as StableHLO and as ONNX, with weights as they are and in 8 bits.
  Another process reads the file and predicts classes, 500 digits at a time; it fails if jaxcnn, or for ONNX jax, is
  imported. Counted are the digits for which it predicts the same class as the network itself in this process. Without
  jax2onnx and onnxruntime (`"jaxcnn[onnx]"`) the rows of ONNX are missing.

Expected:
  10,000 of 10,000 with weights as they are; logits within 1e-4 after folding; above 9,900 in 8 bits, in a third of the
  size.

Result:
  3 seeds, jax 0.12.0.1, 1 core of Intel(R) Xeon(R) Processor @ 2.80GHz, 2026-11-22, commit 951e2d6.
  - Holds: an exported model predicts the same class for every digit (LeNet-5 10,000 of 10,000 in the worst case,
    ResNet-20 10,000 of 10,000 in the worst case).
  - Holds: folding batch normalization into the convolutions changes logits by less than 1e-4 (2.3e-06).
  - Holds: with weights in 8 bits, at least 9,900 of 10,000 predictions stay the same (LeNet-5 9,997 or more, ResNet-20
    9,935 or more, in 36 % of the size or less).

  | the same class, digits of 10,000 | LeNet-5 | ResNet-20 |
  | --- | --- | --- |
  | StableHLO | 10,000 | 10,000 |
  | ONNX | 10,000 | 10,000 |
  | StableHLO, 8 bits | 9,998 ± 0.58 | 9,948 ± 11 |
  | ONNX, 8 bits | 9,998 ± 0.58 | 9,948 ± 11 |

  | size of the file, kB | LeNet-5 | ResNet-20 |
  | --- | --- | --- |
  | StableHLO | 254.3 | 289.9 |
  | ONNX | 255.4 | 306 |
  | StableHLO, 8 bits | 71.33 | 91.12 |
  | ONNX, 8 bits | 73.14 | 110.9 |

  | largest change of a logit by folding | LeNet-5 | ResNet-20 |
  | --- | --- | --- |
  | after folding | 0 | 2.26e-06 ± 1.2e-06 |

Command:
  python -m experiments.exported_models --seeds 0 1 2

Cost:
  5.1 minutes a seed, where the result comes from.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from experiments.form import Claim, Document, Experiment, Tables, mean, say
from jaxcnn import data, export, models, training

NETWORKS = {"LeNet-5": ("lenet5", {}), "ResNet-20": ("resnet20", {"widths": (8, 16, 32)})}
SAME, SIZE, FOLDED = "the same class, digits of 10,000", "size of the file, kB", "largest change of a logit by folding"
ROWS = {"StableHLO": ("stablehlo", "float"), "ONNX": ("onnx", "float")}
ROWS |= {f"{row}, 8 bits": (form, "int8") for row, (form, _) in ROWS.items()}
_HAS_ONNX = all(map(find_spec, ("jax2onnx", "onnxruntime")))

_STABLEHLO = """
import sys, numpy as np
from jax.export import deserialize
call = deserialize(bytearray(open(sys.argv[1], "rb").read())).call
"""
_ONNX = """
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
call = lambda part: session.run(None, {session.get_inputs()[0].name: part})[0]
assert "jax" not in sys.modules
"""
_ANSWER = """
images = np.load(sys.argv[2])
answers = [np.asarray(call(images[at : at + 500])).argmax(-1) for at in range(0, len(images), 500)]
np.save(sys.argv[3], np.concatenate(answers))
assert "jaxcnn" not in sys.modules
"""


def one_seed(seed: int, options: argparse.Namespace) -> Tables:
    """Counts of equal answers, sizes, and the change by folding, by network."""
    name = "digits" if options.quick else "mnist"
    train, test = (data.load(name, split) for split in ("train", "test"))
    tables: Tables = {SAME: {}, SIZE: {}, FOLDED: {}}
    for network, (kind, given) in NETWORKS.items():
        if options.quick and given:
            model = models.CifarResNet(10, 1, depth=8, widths=(2, 4, 4), rngs=nnx.Rngs(seed))
        else:
            model = models.create(kind, num_classes=10, in_features=1, rngs=nnx.Rngs(seed), **given)
        some = train if network == "LeNet-5" else train.take(640 if options.quick else 12_000)
        epochs = 2 if network == "LeNet-5" else 1
        run = training.fit(model, some, config=training.TrainConfig(epochs=epochs, seed=seed), observer=None)
        model.eval()
        logits = training.predict(model, test.images, run.scaling)
        wrong = int((logits.argmax(-1) != test.labels).sum())
        say(f"seed {seed}: {network} misclassifies {wrong} of {len(test.labels)}")
        folded = training.predict(export.fold_batch_norm(model, test.images.shape[1:]), test.images, run.scaling)
        tables[FOLDED].setdefault("after folding", {})[network] = float(np.abs(folded - logits).max())
        with tempfile.TemporaryDirectory() as folder:
            for row, (form, weights) in ROWS.items():
                if form == "onnx" and not _HAS_ONNX:
                    say(f"seed {seed}: {row} is left out: it needs jaxcnn[onnx]")
                    continue
                how = {"scaling": run.scaling, "weights": weights, "input_shape": test.images.shape[1:]}
                left = getattr(export, form)(model, Path(folder) / f"net.{form}", **how)
                same = int((elsewhere(form, left.path, test.images) == logits.argmax(-1)).sum())
                say(f"seed {seed}: {network}, {row}: {same} the same")
                tables[SAME].setdefault(row, {})[network] = same
                tables[SIZE].setdefault(row, {})[network] = left.size / 1000
    return tables


def elsewhere(form: str, path: Path, images: np.ndarray) -> np.ndarray:
    """The classes that a file names in another process."""
    pictures, answers = path.with_name("images.npy"), path.with_name("answers.npy")
    np.save(pictures, images)
    code = {"stablehlo": _STABLEHLO, "onnx": _ONNX}[form] + _ANSWER
    subprocess.run([sys.executable, "-c", code, path, pictures, answers], check=True, cwd=path.parent)
    return np.load(answers)


def claims(document: Document) -> list[Claim]:
    """What users count on."""
    same, sizes = document["tables"][SAME], document["tables"][SIZE]

    def least(bits: bool) -> dict[str, float]:
        """Of each network, the fewest of any seed and form."""
        return {
            network: min(min(cells[network]["values"]) for row, cells in same.items() if row.endswith("bits") == bits)
            for network in NETWORKS
        }

    whole, rounded = least(False), least(True)
    changed = max(mean(document, FOLDED, "after folding", network) for network in NETWORKS)
    share = max(
        sizes[row][network]["mean"] / sizes[row.removesuffix(", 8 bits")][network]["mean"]
        for row in sizes
        if row.endswith("bits")
        for network in NETWORKS
    )
    return [
        Claim(
            "an exported model predicts the same class for every digit",
            min(whole.values()) == 10_000,
            ", ".join(f"{network} {count:,.0f} of 10,000 in the worst case" for network, count in whole.items()),
        ),
        Claim(
            "folding batch normalization into the convolutions changes logits by less than 1e-4",
            changed < 1e-4,
            f"{changed:.1e}",
        ),
        Claim(
            "with weights in 8 bits, at least 9,900 of 10,000 predictions stay the same",
            min(rounded.values()) >= 9900,
            ", ".join(f"{network} {count:,.0f} or more" for network, count in rounded.items())
            + f", in {100 * share:.0f} % of the size or less",
        ),
    ]


def figure(document: Document) -> Any:
    """Digits whose class changed, and the size, by form."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    for axes, title, label in ((left, SAME, "digits with another class, of 10,000"), (right, SIZE, SIZE)):
        rows = document["tables"][title]
        for place, network in enumerate(NETWORKS):
            values = [cells[network]["mean"] for cells in rows.values()]
            lengths = [10_000 - value for value in values] if title == SAME else values
            heights = np.arange(len(rows)) + 0.38 * place
            bars = axes.barh(heights, lengths, 0.36, color=("0.25", "0.7")[place], label=network)
            axes.bar_label(bars, fmt="%.4g", padding=3, fontsize="small")
        axes.set(xlabel=label, yticks=np.arange(len(rows)) + 0.19, yticklabels=list(rows))
        axes.margins(x=0.15)
    left.invert_yaxis()
    left.set_title("predictions that change")
    right.set_title("size of the file")
    right.legend(frameon=False, fontsize="small")
    return drawn


EXPERIMENT = Experiment("experiments.exported_models", __doc__, one_seed, claims, figure)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
