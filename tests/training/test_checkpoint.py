"""What is damaged, gone or out of reach is told apart, and nothing is moved or begun anew that could be taken up."""

import json
import logging
import os
import shutil
import sys

import orbax.checkpoint
import pytest
from flax import nnx

from jaxcnn import training
from jaxcnn.training import run_folder
from jaxcnn.training.checkpoint import Checkpoints

CONFIG = training.TrainConfig(epochs=3, batch_size=6, learning_rate=0.05, log_every=1, checkpoint_every=2)
STEPS = 9


def sit(small, folder, config=CONFIG, **options):
    model = small.Linear(nnx.Rngs(0))
    training.fit(model, small.noise(20), None, config, folder=folder, observer=None, **options)
    return model


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """The network and the folder of a run that nothing disturbed; its checkpoints are of steps 8 and 9."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return sit(small, folder), folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole[1], tmp_path / "run")


def content(folder) -> dict:
    """All files of a run but its lock, and what is in them."""
    files = [path for path in folder.rglob("*") if path.name != ".lock" and not path.is_symlink() and path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def largest(checkpoint):
    return max((path for path in checkpoint.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut_short(file) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def told_file(folder, step=STEPS):
    return folder / "checkpoints" / str(step) / "position" / "metadata"


def refused(small, folder, kind, **options) -> str:
    """Resumes in vain, and sees that no file has changed."""
    before = content(folder)
    with pytest.raises(kind) as caught:
        sit(small, folder, resume=True, **options)
    assert content(folder) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("force", [False, True])
def test_where_all_are_damaged_nothing_is_moved_and_every_resumption_is_refused(small, folder, force):
    for step in (8, 9):
        cut_short(largest(folder / "checkpoints" / str(step)))
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="is damaged"):
            told = refused(small, folder, ValueError, force=force)
        assert told == f"{folder / 'checkpoints'} must hold an undamaged checkpoint; all of [9, 8] are damaged."


@pytest.mark.parametrize("force", [False, True])
def test_a_run_whose_checkpoints_were_all_set_aside_is_not_begun_anew(small, folder, force):
    (folder / "checkpoints").rename(folder / "damaged")
    (folder / "checkpoints").mkdir()
    told = refused(small, folder, ValueError, force=force)
    assert told == f"{folder} must hold an undamaged checkpoint; all that remain are in {folder / 'damaged'}."


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(small, folder):
    shutil.rmtree(folder / "checkpoints")
    told = refused(small, folder, ValueError)
    assert told == f"{folder} must hold the checkpoints of its 9 steps, as its log has them; it holds none."


def test_a_run_that_ended_before_its_first_checkpoint_begins_anew(small, whole, folder):
    shutil.rmtree(folder / "checkpoints")
    log = folder / "metrics.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:4]))  # the second is being written then
    small.assert_same_bits(sit(small, folder, resume=True), whole[0])


def test_damaged_ones_move_once_a_whole_one_is_read(small, whole, folder):
    cut_short(largest(folder / "checkpoints" / "9"))
    with pytest.warns(RuntimeWarning, match="checkpoint 9 .* is damaged"):
        small.assert_same_bits(sit(small, folder, resume=True), whole[0])
    assert [path.name for path in (folder / "damaged").iterdir()] == ["9"]


def endless(file) -> None:
    file.symlink_to(file.name)


def without_bytes(file) -> None:
    file.symlink_to("/proc/self/mem")  # whose first page cannot be read


@pytest.mark.parametrize(
    ("refuse", "reason"),
    [
        (endless, "Too many levels of symbolic links"),
        pytest.param(
            without_bytes,
            "Input/output error",
            marks=pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs the /proc of Linux"),
        ),
    ],
)
@pytest.mark.parametrize("place", [largest, lambda checkpoint: checkpoint / "position" / "metadata"])
def test_what_the_system_does_not_let_be_read_is_not_damaged(small, whole, folder, refuse, reason, place):
    file = place(folder / "checkpoints" / "9")
    kept = file.rename(folder / "kept")
    refuse(file)
    before = content(folder)
    for act in (
        lambda: sit(small, folder, resume=True),
        lambda: training.restore_model(small.Linear(nnx.Rngs(0)), folder),
    ):
        with pytest.raises(training.CheckpointError) as caught:
            act()
        told = f"checkpoint 9 in {folder / 'checkpoints'} must be readable; {reason} ({file})."
        assert str(caught.value) == told
    assert content(folder) == before and file.is_symlink()
    file.unlink()
    kept.rename(file)
    small.assert_same_bits(sit(small, folder, resume=True), whole[0])


@pytest.mark.parametrize("error", ["PERMISSION_DENIED: Permission denied [os_error_code='EACCES']", MemoryError()])
def test_what_a_library_says_for_the_system_is_not_damage(small, folder, monkeypatch, error):
    def fail(*_, **__):
        raise Exception("Encountered error while reading") from (ValueError(error) if isinstance(error, str) else error)

    checkpoints = Checkpoints(folder / "checkpoints")
    monkeypatch.setattr(checkpoints._manager, "restore", fail)
    with pytest.raises(training.CheckpointError, match="must be readable; (Permission denied|Cannot allocate memory)"):
        checkpoints.restore(None, aside=True)
    assert (folder / "checkpoints" / "9").exists()
    checkpoints.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told["position"]["tally"].update(correct=500_000),
        lambda told: told["position"]["tally"].update(loss=1e-9),
        lambda told: told["position"]["tally"].update(batches=1),
        lambda told: told["position"]["best"].update(waited=7),
        lambda told: told["sums"].popitem(),
        lambda told: told["shapes"].clear(),
        lambda told: told.update(digest="0" * 64),
        lambda told: told.update(digets=told.pop("digest")),
    ],
    ids=["correct", "loss", "batches", "best", "sums", "shapes", "digest", "name of the digest"],
)
def test_nothing_that_a_checkpoint_tells_can_change_unseen(small, whole, folder, change):
    told = json.loads(told_file(folder).read_text())
    change(told)
    told_file(folder).write_text(json.dumps(told))
    with pytest.warns(RuntimeWarning, match="checkpoint 9 .* is damaged"):
        small.assert_same_bits(sit(small, folder, resume=True), whole[0])
    log = [small.timeless(training.read_log(place / "metrics.jsonl")) for place in (folder, whole[1])]
    assert log[0] == log[1]


@pytest.mark.parametrize("text", ["[1, 2]", "7", "{}", '{"position": 1, "shapes": 2, "sums": 3}', "\udcff"])
def test_what_it_tells_in_another_form_is_damage(small, whole, folder, text):
    told_file(folder).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.warns(RuntimeWarning, match="checkpoint 9 .* is damaged"):
        small.assert_same_bits(sit(small, folder, resume=True), whole[0])


def test_a_checkpoint_under_the_name_of_another_step_is_damaged(small, whole, folder):
    (folder / "checkpoints" / "9").rename(folder / "checkpoints" / "12")
    with pytest.warns(RuntimeWarning, match=r"checkpoint 12 .* is damaged \(its state is that of step 9\)"):
        small.assert_same_bits(sit(small, folder, resume=True), whole[0])


def test_checkpoints_from_before_there_was_a_digest_are_read(small, whole, folder):
    for step in (8, 9):
        told = json.loads(told_file(folder, step).read_text())
        assert len(told.pop("digest")) == 64
        told_file(folder, step).write_text(json.dumps(told))
    training.restore_model(model := small.Linear(nnx.Rngs(4)), folder)
    small.assert_same_bits(model, whole[0])
    shutil.rmtree(folder / "checkpoints" / "9")
    small.assert_same_bits(sit(small, folder, resume=True), whole[0])


def test_a_position_of_another_version_is_one_sentence(small, folder):
    told = json.loads(told_file(folder).read_text())
    del told["digest"], told["position"]["best"]
    told_file(folder).write_text(json.dumps(told))
    place = folder / "checkpoints"
    expected = f"checkpoint 9 in {place} must hold the position of a run of this version; KeyError 'best'."
    assert refused(small, folder, ValueError) == expected
    with pytest.raises(ValueError) as caught:
        training.restore_model(small.Linear(nnx.Rngs(0)), folder)
    assert str(caught.value) == expected


def test_a_reader_takes_the_newer_one_where_the_trainer_removes_what_it_reads(small, folder, monkeypatch):
    trainer, reader = Checkpoints(folder / "checkpoints", 1), Checkpoints(folder / "checkpoints", 1)
    read, asked = reader._read, []

    def while_it_is_removed(step, like):
        asked.append(step)
        if step == 9:
            found = read(9, like)[0]
            trainer.save(found.state._replace(step=found.state.step + 1), found.position)
            trainer.wait()
        return read(step, like)

    monkeypatch.setattr(reader, "_read", while_it_is_removed)
    monkeypatch.setattr(run_folder, "Checkpoints", lambda *_: reader)
    training.restore_model(small.Linear(nnx.Rngs(0)), folder)
    assert asked == [9, 10] and [path.name for path in (folder / "checkpoints").iterdir()] == ["10"]
    trainer.close()


def test_the_process_logs_and_complains_as_before(folder, monkeypatch):
    """Orbax is silenced while a folder is open, and only then; also if two are open, or one cannot be opened."""
    absl = logging.getLogger("absl")
    before = absl.level, sys.unraisablehook
    first, second = (Checkpoints(folder / "checkpoints") for _ in "12")
    first.close()
    assert absl.level == logging.CRITICAL and sys.unraisablehook != before[1]
    second.close()
    assert (absl.level, sys.unraisablehook) == before

    def refuse(*_, **__):
        raise OSError("no")

    monkeypatch.setattr(orbax.checkpoint, "CheckpointManager", refuse)
    with pytest.raises(OSError, match="no"):
        Checkpoints(folder / "checkpoints")
    assert (absl.level, sys.unraisablehook) == before
