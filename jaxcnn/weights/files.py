"""Files of weights: arrays by name.

Reading a file never runs code from it.
"""

import contextlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcnn.training.files import replacing
from jaxcnn.weights import pytorch_files

PYTORCH = (".pt", ".pth", ".th")
SUFFIXES = (".safetensors", ".npz", *PYTORCH)
_ANYTHING = (".tar", ".ckpt", ".bin")  # as in model_best.pth.tar; read as what they are
CONFIG = "jaxcnn"  # the key of the configuration, as JSON, in a file's metadata
_IN_NPZ = "__jaxcnn__"  # the same as an array of characters
_REALS = ("float16", "bfloat16", "float32", "float64")
_SAFETENSORS = ("F16", "BF16", "F32", "F64", "BOOL", *(f"{kind}{bits}" for kind in "IU" for bits in (8, 16, 32, 64)))


class Stored(NamedTuple):
    """The content of a file of weights."""

    path: Path
    arrays: dict[str, np.ndarray]  # by their names in the file, with the keys of the dictionaries around them
    config: dict[str, Any] | None  # of the network, as `save` wrote it
    others: tuple[str, ...] = ()  # names of entries that are not arrays


def read(path: str | Path) -> Stored:
    """Reads a file of weights.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if its format is unknown, it is damaged, or reading it would need to run code from it.
      ImportError: if it needs PyTorch, which is not installed.
    """
    path = Path(path)
    known_suffix(path, (*SUFFIXES, *_ANYTHING))
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if not path.is_file():
        raise ValueError(f"{path} must be a file of weights; got a folder.")
    reader = {".safetensors": _read_safetensors, ".npz": _read_npz}.get(_format(path), _read_pytorch)
    stored = reader(path)
    if not stored.arrays:
        raise ValueError(f"{path} must hold arrays by name; it holds none.")
    return stored


def write(path: str | Path, arrays: Mapping[str, np.ndarray], config: Mapping[str, Any] | None, kind: str) -> None:
    """Writes a file of weights atomically.

    A reader gets either the old or the new file, complete.

    Args:
      path: the file; its suffix determines the format.
      arrays: the arrays, by name.
      config: configuration of the network, in plain values. A PyTorch file cannot contain it.
      kind: the library of these names and layouts, `"pt"` or `"flax"`.
    """
    path = Path(path)
    suffix = known_suffix(path)
    whole = {name: np.array(array, order="C") for name, array in arrays.items()}
    if suffix != ".safetensors":  # NumPy's files have no bfloat16, nor has the way from NumPy to PyTorch
        whole = {name: x.astype(np.float32) if x.dtype == jnp.bfloat16 else x for name, x in whole.items()}
    text = None if config is None else json.dumps(config)
    with replacing(path, suffix) as draft:
        if suffix == ".safetensors":
            from safetensors.numpy import save_file

            save_file(whole, draft, {"format": kind} | ({} if text is None else {CONFIG: text}))
        elif suffix == ".npz":
            told: dict[str, Any] = {} if text is None else {_IN_NPZ: np.array(text)}
            np.savez(draft, **whole, **told)
        else:
            torch = pytorch_files.import_torch(path)
            torch.save({name: torch.from_numpy(array) for name, array in whole.items()}, draft)


def known_suffix(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> str:
    """Returns the suffix of a file of weights, a known one.

    By default it is among those that can be written.

    Raises:
      ValueError: if it is unknown.
    """
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise ValueError(f"{path} must be a run folder or end in {', '.join(suffixes)}; got {path.suffix!r}.")
    return suffix


def _format(path: Path) -> str:
    """The suffix of a format, by content or else by name."""
    suffix = path.suffix.lower()
    if suffix not in _ANYTHING:
        return suffix
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # after the length of its header
        return ".safetensors"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return ".npz" if all(name.endswith(".npy") for name in archive.namelist()) else PYTORCH[0]
    return PYTORCH[0]


@contextlib.contextmanager
def _reading(path: Path, rule: str) -> Iterator[None]:
    """Converts a reader's errors on damaged bytes to one sentence."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{path} must be {rule}; reading it failed: {_first(error)}.") from None


def _first(error: Exception) -> str:
    """The first sentence of an error, without its period."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(". ")[0].strip().rstrip(".:")[:200]


def _read_safetensors(path: Path) -> Stored:
    from safetensors import safe_open

    # its arrays of JAX would be float32 where the file has float64
    with _reading(path, "a whole safetensors file"), safe_open(path, "np") as file:
        dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}
        strange = next((name for name in dtypes if dtypes[name] not in _SAFETENSORS), None)
        arrays = {} if strange else {name: file.get_tensor(name) for name in dtypes}
        text = (file.metadata() or {}).get(CONFIG)
    if strange:
        raise wrong_dtype(path, strange, dtypes[strange])
    return Stored(path, arrays, _config(path, text))


def _read_npz(path: Path) -> Stored:
    with _reading(path, "a whole NumPy archive without pickled objects"):
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        strange = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
        if strange:
            raise ValueError(f"{strange[0]} is no array")
    told = arrays.pop(_IN_NPZ, None)
    return Stored(path, arrays, _config(path, None if told is None else str(told)))


def _read_pytorch(path: Path) -> Stored:
    pytorch_files.import_torch(path)
    with _reading(path, "a whole PyTorch file of tensors alone"):
        content = pytorch_files.unpickled(path)
    try:
        arrays, others = pytorch_files.tensors(content)
    except (ValueError, TypeError, RuntimeError) as error:  # of layouts and dtypes that NumPy has not
        raise ValueError(f"{path} must be a PyTorch file of plain tensors by name; {_first(error)}.") from None
    return Stored(path, arrays, None, others)


def _config(path: Path, text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        config = json.loads(text)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{path} must describe its network in JSON; got {text[:40]!r}.")
    return config


def check_real(path: Path, name: str, array: np.ndarray) -> None:
    """Refuses weights that are not real numbers.

    Raises:
      ValueError: if the dtype is not real; the message names the array and its dtype.
    """
    if str(array.dtype) not in _REALS:
        raise wrong_dtype(path, name, str(array.dtype))


def wrong_dtype(path: Path, name: str, dtype: str) -> ValueError:
    """Makes the error for a dtype that no weight has."""
    return ValueError(f"{path} must hold weights in {', '.join(_REALS)}; {name} is {dtype}.")
