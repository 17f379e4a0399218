"""Files of weights: arrays by name, read without ever running what a file says."""

import contextlib
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

PYTORCH = (".pt", ".pth", ".th")
SUFFIXES = (".safetensors", ".npz", *PYTORCH)
CONFIG = "jaxcnn"  # the key of the configuration, as JSON, in a file's metadata
_IN_NPZ = "__jaxcnn__"  # the same as an array of characters
_REALS = ("float16", "bfloat16", "float32", "float64")
_SAFETENSORS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "BOOL": "bool"}
_SAFETENSORS |= {f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
# where checkpoints of training programs keep the weights, and what wrappers put before every name
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
_PREFIXES = ("module", "_orig_mod", "model", "net")


class Stored(NamedTuple):
    """What a file holds."""

    path: Path
    arrays: dict[str, np.ndarray]  # by their names in the file
    config: dict[str, Any] | None  # of the network, as `save` wrote it


def read(path: str | Path) -> Stored:
    """Reads a file of weights.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if its kind is unknown, it is damaged, or it could only be read by running what it says.
      ImportError: if it needs PyTorch, which is not installed.
    """
    path = Path(path)
    suffix = known_suffix(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if not path.is_file():
        raise ValueError(f"{path} must be a file of weights; got a folder.")
    reader = {".safetensors": _read_safetensors, ".npz": _read_npz}.get(suffix, _read_pytorch)
    arrays, config = reader(path)
    if not arrays:
        raise ValueError(f"{path} must hold arrays by name; it holds none.")
    return Stored(path, _unprefixed(arrays), config)


def write(path: str | Path, arrays: Mapping[str, np.ndarray], config: Mapping[str, Any] | None, kind: str) -> None:
    """Writes a file of weights in one step; a reader sees the old one or the new one, whole.

    Args:
      path: its suffix decides the format.
      arrays: by name.
      config: of the network; plain values. A PyTorch file has no place for it.
      kind: whose names and layouts these are, `"pt"` or `"flax"`.
    """
    path = Path(path)
    suffix = known_suffix(path)
    draft = path.with_name(f"{path.name}.draft{suffix}")
    whole = {name: np.array(array, order="C") for name, array in arrays.items()}
    if suffix != ".safetensors":  # NumPy's files have no bfloat16, nor has the way from NumPy to PyTorch
        whole = {name: x.astype(np.float32) if x.dtype == jnp.bfloat16 else x for name, x in whole.items()}
    text = None if config is None else json.dumps(config)
    try:
        if suffix == ".safetensors":
            from safetensors.numpy import save_file

            save_file(whole, draft, {"format": kind} | ({} if text is None else {CONFIG: text}))
        elif suffix == ".npz":
            told: dict[str, Any] = {} if text is None else {_IN_NPZ: np.array(text)}
            np.savez(draft, **whole, **told)
        else:
            torch = import_torch(path)
            torch.save({name: torch.from_numpy(array) for name, array in whole.items()}, draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def known_suffix(path: Path) -> str:
    """The suffix of a file of weights.

    Raises:
      ValueError: if it is unknown.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} must be a run folder or end in {', '.join(SUFFIXES)}; got {path.suffix!r}.")
    return suffix


def import_torch(path: Path) -> Any:
    """PyTorch, if it is there and its reader can be trusted.

    Raises:
      ImportError: if it is not, or is older than 2.6, whose restricted reader could be fooled (CVE-2025-32434).
    """
    try:
        import torch
    except ImportError:
        raise ModuleNotFoundError(
            f"{path} needs PyTorch: pip install 'jaxcnn[torch]', or convert it elsewhere."
        ) from None
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6):
        raise ImportError(f"{path} needs PyTorch 2.6, whose reader runs nothing; got {torch.__version__}.")
    return torch


@contextlib.contextmanager
def _reading(path: Path, rule: str) -> Iterator[None]:
    """Turns whatever a reader makes of broken bytes into one sentence."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0].partition(". ")[0].strip().rstrip(".:")[:160]
        raise ValueError(f"{path} must be {rule}; reading it failed: {reason}.") from None


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    data = path.read_bytes()
    with _reading(path, "a whole safetensors file"):
        from safetensors import deserialize

        found = deserialize(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    arrays = {}
    for name, part in found:
        if part["dtype"] not in _SAFETENSORS:
            raise wrong_dtype(path, name, part["dtype"])
        dtype = jnp.dtype(_SAFETENSORS[part["dtype"]])  # safetensors' own reader knows no bfloat16
        arrays[name] = np.frombuffer(part["data"], dtype).reshape(part["shape"])
    return arrays, _config(path, header.get("__metadata__", {}).get(CONFIG))


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    with _reading(path, "a whole NumPy archive without pickled objects"):
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        strange = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
        if strange:
            raise ValueError(f"{strange[0]} is no array")
    told = arrays.pop(_IN_NPZ, None)
    return arrays, _config(path, None if told is None else str(told))


def _read_pytorch(path: Path) -> tuple[dict[str, np.ndarray], None]:
    torch = import_torch(path)
    with _reading(path, "a whole PyTorch file of tensors alone"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise ValueError("it is damaged, or holds objects that only running it could restore") from None
    with _reading(path, "a PyTorch file of plain tensors by name"):
        tensors = _tensors(found, torch.Tensor)
        return {name: _from_torch(torch, tensor) for name, tensor in tensors.items()}, None


def _tensors(found: Any, kind: type) -> dict[str, Any]:
    """The tensors by name, out of the wrappers that training programs put round them."""
    for _ in range(3):
        if isinstance(found, Mapping) and any(isinstance(value, kind) for value in found.values()):
            return {str(name): value for name, value in found.items() if isinstance(value, kind)}
        inner = [found[name] for name in _WRAPPERS if name in found] if isinstance(found, Mapping) else []
        if not inner:
            break
        found = inner[0]
    raise ValueError(f"it holds a {type(found).__name__}")


def _from_torch(torch: Any, tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _config(path: Path, text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        config = json.loads(text)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{path} must tell of its network in JSON; got {text[:40]!r}.")
    return config


def check_real(path: Path, name: str, array: np.ndarray) -> None:
    """Refuses weights that are no real numbers.

    Raises:
      ValueError: naming the array and its dtype.
    """
    if str(array.dtype) not in _REALS:
        raise wrong_dtype(path, name, str(array.dtype))


def wrong_dtype(path: Path, name: str, dtype: str) -> ValueError:
    """The sentence about an array that can be no weight."""
    return ValueError(f"{path} must hold weights in {', '.join(_REALS)}; {name} is {dtype}.")


def _unprefixed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Takes away what wrappers put before every name, as `module.`."""
    while True:
        first = next(iter(arrays)).partition(".")[0]
        if first not in _PREFIXES or not all(name.startswith(f"{first}.") for name in arrays):
            return arrays
        arrays = {name[len(first) + 1 :]: array for name, array in arrays.items()}
