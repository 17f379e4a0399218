"""Downloads weights from the Hugging Face hub.

It does so by `huggingface_hub`, and reads safetensors alone, never pickles.
"""

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.training.files import system_says
from jaxcnn.weights.runs import WEIGHTS
from jaxcnn.weights.urls import check_digest, is_offline

CONFIG = "config.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Repository(NamedTuple):
    """The files of a repository at one commit, on this machine.

    Args:
      weights: the file of weights.
      config: the file of the configuration, if there is one.
      commit: the commit, 40 digits.
      sha256: digest of the weights.
    """

    weights: Path
    config: Path | None
    commit: str
    sha256: str


def from_hub(repository: str, revision: str | None = None) -> Repository:
    """Finds a repository's weights in the cache, or downloads them.

    The cache is that of `huggingface_hub`. What was downloaded once is used until the cache is emptied, without a look
    at the network: the commit of the first download stays. A revision is looked for as such.

    Args:
      repository: owner and name, as `"timm/resnet50.a1_in1k"`.
      revision: commit, branch or tag; by default the cached commit, or else the newest.

    Returns:
      The files, the commit and the digest, which is compared with that of the hub.

    Raises:
      FileNotFoundError: if there is no such repository, revision or file, or it is not in the cache and downloads are
        forbidden.
      PermissionError: if the repository is gated and its terms are not accepted.
      ConnectionError: if the hub cannot be reached.
      ValueError: if the weights have another digest; they are removed.
      ImportError: if `huggingface_hub` is not installed.
      OSError: if the disk is full.
    """
    hub = _import_hub(repository)
    cache, endpoint = _cache(hub), os.environ.get("HF_ENDPOINT") or hub.constants.ENDPOINT
    where = {"repo_id": repository, "cache_dir": cache}

    def cached(filename: str, at: str | None) -> Any:
        return hub.try_to_load_from_cache(filename=filename, revision=at, **where)

    def download(filename: str, at: str | None) -> Path:
        offline = is_offline() or hub.constants.HF_HUB_OFFLINE
        with _quiet(hub):
            got = hub.hf_hub_download(
                filename=filename, revision=at, endpoint=endpoint, local_files_only=offline, **where
            )
        return Path(got)

    with _telling(hub, repository, revision, endpoint, cache):
        kept = cached(WEIGHTS, revision)
        weights = Path(kept) if isinstance(kept, str) else download(WEIGHTS, revision)
        commit = weights.parent.name
        kept = cached(CONFIG, commit)
        config = Path(kept) if isinstance(kept, str) else None
        if kept is None:  # neither there nor known to be missing
            with contextlib.suppress(hub.errors.RemoteEntryNotFoundError):
                config = download(CONFIG, commit)
    return Repository(weights, config, commit, _checked(weights, repository))


def _import_hub(name: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError:
        raise ModuleNotFoundError(f"{name} needs huggingface_hub: pip install 'jaxcnn[hub]'.") from None
    return huggingface_hub


def _cache(hub: Any) -> Path:
    """The folder of the cache of `huggingface_hub`.

    It also follows the environment where that has changed since `huggingface_hub` was imported.
    """
    if folder := os.environ.get("HF_HUB_CACHE"):
        return Path(folder).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(hub.constants.HF_HUB_CACHE)


def _checked(weights: Path, repository: str) -> str:
    """Compares the digest with that of the hub.

    `huggingface_hub` keeps the file under that digest.
    """
    blob = weights.resolve()
    known = _SHA256.fullmatch(blob.name) is not None
    try:
        return check_digest(blob, f"{WEIGHTS} of {repository}", blob.name if known else "")
    except ValueError:
        weights.unlink(missing_ok=True)  # the link to it
        raise


@contextlib.contextmanager
def _quiet(hub: Any) -> Iterator[None]:
    """Silences messages about retries and disk space.

    The last failure raises an error of one sentence.
    """
    level = hub.utils.logging.get_verbosity()
    hub.utils.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hub.utils.logging.set_verbosity(level)


@contextlib.contextmanager
def _telling(hub: Any, name: str, revision: str | None, endpoint: str, cache: Path) -> Iterator[None]:
    """Turns every failure into one sentence."""
    errors = hub.errors
    try:
        yield
    except errors.HFValidationError:
        raise ValueError(f"`name` must be OWNER/NAME of a repository; got {name!r}.") from None
    except errors.GatedRepoError:
        raise PermissionError(
            f"{name} is gated: accept its terms at {endpoint}/{name}, then log in by `hf auth login`."
        ) from None
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(
            f"`name` must be a public repository of {endpoint}, or a file or folder here; there is no {name}."
        ) from None
    except errors.RevisionNotFoundError:
        raise FileNotFoundError(f"`revision` must be a commit, branch or tag of {name}; got {revision!r}.") from None
    except errors.RemoteEntryNotFoundError:
        raise FileNotFoundError(
            f"{name} must hold {WEIGHTS}; it has none, and pickled weights are not loaded from the hub."
        ) from None
    except errors.LocalEntryNotFoundError as error:
        if is_offline() or hub.constants.HF_HUB_OFFLINE:
            raise FileNotFoundError(
                f"{name} must be downloaded before it is used offline (HF_HUB_OFFLINE); it is not in {cache}."
            ) from None
        raise ConnectionError(f"{name} must be downloaded once; {endpoint} does not answer{_why(error)}.") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise ConnectionError(f"{name} cannot be downloaded; {endpoint} answers with status {status}.") from None
    except OSError as error:
        if error.errno is None:  # what the library says of a broken connection
            raise ConnectionError(f"{name} cannot be downloaded: {str(error).splitlines()[0].rstrip('.')}.") from None
        raise OSError(error.errno, error.strerror, str(cache)) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore", "hf_xet"):
            raise
        raise ConnectionError(f"{name} cannot be downloaded from {endpoint}{_why(error)}.") from None


def _why(error: BaseException) -> str:
    """The system's or library's reason, as the end of a sentence."""
    inner = error.__cause__ or error
    lines = str(inner).splitlines()
    said = re.sub(r"^\[Errno -?\d+\] ", "", lines[0]).rstrip(".") if lines else type(inner).__name__
    return f": {(system_says(error) or said)[:200]}"
