"""Writes a program that reads pictures for an exported file.

The program holds the library's own code for reading pictures, so that both read them alike.
"""

import pprint
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from jaxcnn.export.report import Exported
from jaxcnn.training import write_atomically

_FIRST = '"""Runs an exported network on picture files, which it reads as `jaxcnn predict` does.'
_NEEDS = {"onnx": "ONNX Runtime", "stablehlo": "JAX"}
_HEAD = """

Written by `jaxcnn export`. It needs NumPy, Pillow and {needs}, and no jaxcnn; give it picture files, or `--help`.
Programs that import it find `read(path)`, the input array of a picture file, and `run(images)`, the answers to such
arrays.
\"\"\"

import argparse
import functools
import sys
"""
_RUNTIMES = {
    "onnx": """\
    import onnxruntime

    session = onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]
""",
    "stablehlo": """\
    from jax import export

    exported = export.deserialize(bytearray(FILE.read_bytes()))
    return lambda images: np.asarray(exported.call(images))
""",
}
_MAIN = '''

# the exported network

FILE = Path(__file__).with_name({file!r})
CHANNELS = {channels}  # 1 for gray, 3 for color
READING = {reading}  # options of `read_pixels`
OUTPUTS = {kind!r}
PIXELS = {pixels}  # whether there is an answer for each pixel
CLASSES = {classes}


def read(path: str | Path, invert: bool = False) -> np.ndarray:
    """Reads a picture file as the input of the network, `(1, H, W, C)` uint8."""
    pixels, _ = read_pixels(path, CHANNELS, **READING)
    return (255 - pixels if invert else pixels)[None]


def run(images: np.ndarray) -> np.ndarray:
    """Computes the network's answers to `(N, H, W, C)` uint8."""
    return network()(images)


@functools.cache
def network():
    """The network as a function."""
    if not FILE.exists():
        raise FileNotFoundError(f"{{FILE}} must be beside this program; it does not exist.")
{runtime}

def told(answer: np.ndarray, top: int) -> str:
    """An answer in words, the likeliest class first; of pixels the classes' shares, the largest first."""
    if PIXELS:
        shares = np.bincount(mask(answer).ravel(), minlength=len(CLASSES)) / mask(answer).size
        places = [place for place in np.argsort(-shares, kind="stable")[:top] if shares[place]]
        return "  ".join("{{}} {{:.6f}}".format(CLASSES[place], shares[place]) for place in places)
    if OUTPUTS == "classes":
        return CLASSES[int(answer)]
    if OUTPUTS == "bits" and len(answer) == 1 and len(CLASSES) == 2:
        return CLASSES[int(answer[0])]
    if OUTPUTS == "probabilities" and len(answer) == 1 and len(CLASSES) == 2:  # that of the second class
        answer = np.concatenate([1 - answer, answer])
    if OUTPUTS in ("probabilities", "scores", "logits"):
        places = np.argsort(-answer, kind="stable")[:top]
        form = "{{}} {{:.6f}}"
    else:  # each counts
        places, form = np.arange(len(answer)), "{{}} {{:.6g}}"
    names = CLASSES[-len(answer) :]
    return "  ".join(form.format(names[place], answer[place]) for place in places)


def mask(answer: np.ndarray) -> np.ndarray:
    """The class of each pixel, `(H, W)` uint8."""
    return (answer if OUTPUTS == "classes" else answer.argmax(-1)).astype(np.uint8)


def main() -> int:
    """Prints a line for every picture; files that cannot be read get a line on stderr."""
    parser = argparse.ArgumentParser(description=f"Runs {{FILE.name}} on picture files.")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="a file of any format that Pillow reads")
    parser.add_argument("--top", type=int, default=3, help="number of classes to print, the likeliest first")
    parser.add_argument("--invert", action="store_true", help="exchange light and dark")
    if PIXELS:
        parser.add_argument("--masks", type=Path, help="a folder in which to write the class of each pixel, as PNG")
    given = parser.parse_args()
    status = 0
    for path in given.pictures:
        try:
            answer = run(read(path, given.invert))[0]
            print(path, told(answer, given.top), sep="\\t")
            if PIXELS and given.masks:
                from PIL import Image

                given.masks.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask(answer)).save(given.masks / f"{{Path(path).stem}}.png")
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            status = 2
    return status


if __name__ == "__main__":
    sys.exit(main())
'''


def recipe(exported: Exported, *, classes: Sequence[str] | None = None) -> Path:
    """Writes a program that runs an exported network on picture files.

    It needs NumPy, Pillow and the runtime of the file, and no jaxcnn. It reads pictures as `jaxcnn predict` does:
    upright, without alpha, in gray or color, and, if the file takes pictures of one size, in that size.

    ::

        done = export.onnx(model, "lenet5.onnx", scaling=scaling, classes=train.classes)
        export.recipe(done)  # python lenet5_onnx.py seven.png

    Args:
      exported: what `export.onnx` or `export.stablehlo` returned.
      classes: names to print, in place of those in the description; for one output, the names of both classes.

    Returns:
      The program, beside the file: `recipe_path(exported.path)`.

    Raises:
      ValueError: if the file does not take pictures in bytes.
      FileExistsError: if another file has the program's name.
    """
    told = exported.description
    if not takes_pictures(exported):
        raise ValueError(
            f"`exported` must take gray or color pictures in bytes; {exported.path} takes {told['input']['dtype']} of "
            f"shape {tuple(told['input']['shape'])}."
        )
    path = recipe_path(exported.path)
    check_recipe_path(path)
    _, *size, channels = told["input"]["shape"]
    fed = told["input"].get("preprocessing")
    reading: dict[str, object] = {"size": tuple(size), "cut": channels == 3}
    if "resized_to" in told["input"]:
        reading = {}
    elif fed is not None:
        reading = {"size": tuple(size), "resize": fed["resize"], "interpolation": fed["interpolation"]}
    names = list(classes or told["classes"] or map(str, range(told["output"]["count"])))
    _, _, code = resources.files("jaxcnn.data").joinpath("pixels.py").read_text(encoding="utf-8").partition('\n"""\n\n')
    head = _FIRST + _HEAD.format(needs=_NEEDS[told["format"]])
    main = _MAIN.format(
        file=exported.path.name,
        channels=channels,
        reading=reading,
        kind=told["output"]["kind"],
        pixels="pixels" in told["output"],
        classes=pprint.pformat(names, width=100, compact=True),
        runtime=_RUNTIMES[told["format"]],
    )
    write_atomically(path, head + code + main)
    return path


def takes_pictures(exported: Exported) -> bool:
    """Whether an exported network takes gray or color pictures in bytes."""
    given = exported.description["input"]
    return len(given["shape"]) == 4 and given["shape"][-1] in (1, 3) and given["dtype"] == "uint8"


def recipe_path(file: Path) -> Path:
    """Returns the name of a file's program, beside it."""
    return file.with_name(f"{file.stem}_{file.suffix[1:]}.py")


def check_recipe_path(path: Path) -> None:
    """Checks that no file of another kind would be replaced.

    Raises:
      FileExistsError: if another file has this name.
    """
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(_FIRST):
        raise FileExistsError(f"The recipe of the export must not replace another file; {path} exists.")
