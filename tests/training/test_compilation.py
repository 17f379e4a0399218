"""What was compiled is kept where one says, and found again."""

import os

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import training
from jaxcnn.training import compilation


@pytest.fixture(autouse=True)
def nothing_is_kept(one_compilation_cache, monkeypatch):
    """Before a test; in it, what is compiled is kept however short it took."""
    monkeypatch.setattr(compilation, "_LEAST_SECONDS", 0.0)
    jax.config.update("jax_compilation_cache_dir", None)


def compiled_anew(constant: float) -> None:
    jax.clear_caches()
    jax.jit(lambda x: x * constant).lower(jnp.ones(3)).compile()


def test_what_is_compiled_twice_is_kept_once(tmp_path):
    folder = tmp_path / "new" / "folder"
    assert training.keep_compiled(folder) == folder
    compiled_anew(1.5)
    kept = sorted(folder.iterdir())
    assert kept
    compiled_anew(1.5)
    assert sorted(folder.iterdir()) == kept
    compiled_anew(2.5)
    more = len(list(folder.iterdir()))
    assert more > len(kept)
    assert training.keep_compiled("off") is None
    compiled_anew(3.5)
    assert len(list(folder.iterdir())) == more


def test_by_default_only_accelerators_keep(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert training.keep_compiled() is None
    automatic = training.keep_compiled("auto")
    assert automatic is not None and automatic.parent == tmp_path / "jaxcnn" and automatic.is_dir()
    training.keep_compiled("off")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert training.keep_compiled() == automatic


def test_what_others_could_write_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "jaxcnn").mkdir()
    (tmp_path / "jaxcnn").chmod(0o777)
    automatic = training.keep_compiled("auto")
    assert [path.stat().st_mode & 0o777 for path in (automatic, automatic.parent)] == [0o700, 0o700]
    monkeypatch.setattr("os.geteuid", lambda: 4321)
    monkeypatch.setattr(type(tmp_path), "stat", lambda path: os.stat_result((0o40777, *[4320] * 9)))
    with pytest.raises(
        RuntimeError, match="jaxcnn belongs to user 4320, not to 4321: remove it, or name another place"
    ):
        training.keep_compiled("auto")


def test_jaxs_own_setting_stays(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    assert training.keep_compiled() == tmp_path / "own"
    assert jax.config.values["jax_compilation_cache_dir"] == str(tmp_path / "own")


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        training.keep_compiled(tmp_path / "file" / "folder")
