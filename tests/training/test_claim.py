"""A folder is that of one run: what else it holds is neither gone on with nor changed."""

import json
import shutil

import pytest
from flax import nnx

from jaxcnn import training

CONFIG = training.TrainConfig(epochs=2, batch_size=6, log_every=1, checkpoint_every=2)


def sit(small, folder, config=CONFIG, **options):
    model = small.Linear(nnx.Rngs(0))
    return training.fit(model, small.noise(20), None, config, folder=folder, observer=None, **options)


def content(folder) -> dict:
    return {path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def refused(small, folder, **options) -> str:
    """Trains in vain, and sees that nothing in the folder has changed."""
    before = content(folder)
    with pytest.raises(ValueError) as caught:
        sit(small, folder, **options)
    assert content(folder) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def run(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    sit(small, folder)
    (folder / ".lock").unlink(missing_ok=True)
    return folder


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"resume": True, "force": True}, {"force": True}], ids=str)
def test_a_run_without_its_configuration_is_not_gone_on_with(small, run, tmp_path, options):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "config.json").unlink()
    expected = f"{folder} must be a new folder, or have the config.json of its run; it holds checkpoints."
    assert refused(small, folder, **options) == expected


@pytest.mark.parametrize("options", [{}, {"resume": True, "force": True}], ids=str)
def test_checkpoints_of_another_program_are_left_alone(small, tmp_path, options):
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(tmp_path / "run" / "checkpoints") as theirs:
        theirs.save(3, args=ocp.args.StandardSave({"theirs": 1.0}))
    assert refused(small, tmp_path / "run", **options).endswith("it holds checkpoints.")


@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.csv", "damaged/5/file", "checkpoints/5.tmp/file"])
def test_whatever_a_run_would_overwrite_is_left_alone(small, tmp_path, name):
    file = tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_text("theirs\n")
    expected = f"{tmp_path / 'run'} must be a new folder, or have the config.json of its run; it holds "
    assert refused(small, tmp_path / "run") == f"{expected}{name.split('/')[0]}."


def test_other_files_and_empty_folders_are_no_hindrance(small, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert sit(small, tmp_path / "run").steps == 6
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_run_that_is_there_needs_resume(small, run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    expected = f"{folder} already holds a run; resume it, or name another folder."
    assert refused(small, folder) == refused(small, folder, force=True) == expected


def test_unknown_sinks_are_refused_before_there_is_a_folder(small, tmp_path):
    with pytest.raises(ValueError, match="`sinks` must be among csv, tensorboard, wandb; got mlflow."):
        sit(small, tmp_path / "run", sinks=["mlflow"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("line", [b"[1, 2]", b"{", b'{"kind": "\xff"}', b'{"kind": "step"}'])
def test_a_damaged_log_is_refused_and_kept(small, run, tmp_path, line):
    folder = shutil.copytree(run, tmp_path / "run")
    log = folder / "metrics.jsonl"
    first, *rest = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([first, line, b"\n", *rest]))
    (folder / ".lock").touch()
    assert refused(small, folder, resume=True).startswith(f"line 2 of {log} must be ")
    log.write_bytes(b"".join([first, *rest]))
    assert [row["step"] for row in sit(small, folder, resume=True).history] == [3, 6]


def test_with_force_the_configuration_changes_only_once_the_checkpoint_is_read(small, run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    other = training.TrainConfig(epochs=3, batch_size=6, log_every=1, checkpoint_every=2)
    for file in (folder / "checkpoints").rglob("metadata"):
        file.write_text("{")
    (folder / ".lock").touch()
    with pytest.warns(RuntimeWarning, match="is damaged"):
        refused(small, folder, config=other, resume=True, force=True)
    assert json.loads((folder / "config.json").read_text())["training"]["epochs"] == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"training": "\xff"}', "config.json must be UTF-8; invalid start byte at byte 15."),
        (b"[1]", "config.json must be a JSON object; got list."),
        (b"{}", "config.json must describe this version's training; it lacks 'training'."),
        (b'{"training": {}, "scaling": {}}', "training; it lacks 'data'."),
        (b'{"training": {}, "scaling": {}, "data": {"count": 99}}', "training; it lacks 'mean'."),
        (b'{"training": [1], "scaling": {}}', "argument after ** must be a mapping, not list."),
    ],
)
def test_a_configuration_of_another_form_is_one_sentence(small, tmp_path, text, told):
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(ValueError) as caught:
        training.restore_model(small.Linear(nnx.Rngs(0)), tmp_path)
    assert str(caught.value).endswith(told) and "\n" not in str(caught.value)
