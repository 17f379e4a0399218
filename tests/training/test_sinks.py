"""Rows reach the table, TensorBoard and Weights & Biases, once each, over any number of sittings."""

import csv
import io
import json
import math
import os
import struct
import sys
import time
import types

import pytest

from jaxcnn.training.sinks import open_sinks

DESCRIPTION = {"training": {"epochs": 2, "milestones": (0.5, 0.75)}, "model": {"name": "mlp"}}
STEP = {"kind": "step", "step": 5, "epoch": 1, "loss": 0.5, "accuracy": 0.25, "gradient_norm": 2.0}
STEP |= {"learning_rate": 1e-3, "images_per_second": 100.0}
EPOCH = {"kind": "epoch", "step": 8, "epoch": 1, "loss": 0.375, "accuracy": 0.5, "learning_rate": 1e-3}
EPOCH |= {"images_per_second": 120.0, "eval_split": "test", "eval_loss": 0.25, "eval_accuracy": 0.75}
EPOCH |= {"ema_accuracy": 0.8125, "input_wait": 0.125}


def write(names, folder, rows, before=()):
    sinks = open_sinks(names, folder, DESCRIPTION, list(before))
    for row in rows:
        for sink in sinks:
            sink.write(row)
    for sink in sinks:
        sink.close()


def table(folder):
    return list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text(), newline="")))


def test_a_table_has_the_known_columns_first_and_later_ones_as_they_come(tmp_path):
    write(["csv"], tmp_path, [STEP, EPOCH, STEP | {"step": 13}])
    lines = (tmp_path / "metrics.csv").read_bytes().decode().split("\r\n")
    known = "kind,step,epoch,loss,accuracy,gradient_norm,learning_rate,images_per_second"
    assert lines[0] == f"{known},eval_split,eval_loss,eval_accuracy,ema_accuracy,input_wait"
    assert lines[1] == "step,5,1,0.5,0.25,2.0,0.001,100.0,,,,,"
    assert lines[2] == "epoch,8,1,0.375,0.5,,0.001,120.0,test,0.25,0.75,0.8125,0.125"
    assert lines[3].startswith("step,13,") and lines[4:] == [""]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_row_is_in_the_table_once_it_is_written(tmp_path):
    (sink,) = open_sinks(["csv"], tmp_path, DESCRIPTION, [])
    for count in range(1, 4):
        sink.write(STEP | {"step": count})
        assert [row["step"] for row in table(tmp_path)] == [str(step + 1) for step in range(count)]


def test_a_table_keeps_every_kind_of_value(tmp_path):
    odd = {"loss": math.nan, "accuracy": math.inf, "text": 'a "b", c\nd', "pair": (1, 2.5), "nothing": None}
    write(["csv"], tmp_path, [STEP | odd])
    (row,) = table(tmp_path)
    assert (row["loss"], row["accuracy"], row["nothing"]) == ("nan", "inf", "")
    assert row["text"] == 'a "b", c\nd' and json.loads(row["pair"]) == [1, 2.5]


def test_a_table_is_made_from_the_log_on_resume(tmp_path):
    write(["csv"], tmp_path, [STEP, EPOCH])
    write(["csv"], tmp_path, [STEP | {"step": 6}], before=[STEP])
    assert [row["step"] for row in table(tmp_path)] == ["5", "6"]
    assert "eval_loss" not in table(tmp_path)[0]


def test_a_list_of_rows_that_grows_is_not_written_twice(tmp_path):
    log = [STEP]
    (sink,) = open_sinks(["csv"], tmp_path, DESCRIPTION, log)
    log.append(EPOCH)
    sink.write(EPOCH)
    assert [row["step"] for row in table(tmp_path)] == ["5", "8"]


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder):
    """The events of a folder as TensorBoard reads them: files by name, records with their checksums."""
    proto = pytest.importorskip("tensorboardX.proto.event_pb2")
    for path in sorted((folder / "tensorboard").iterdir()):
        data = path.read_bytes()
        place = 0
        while place < len(data):
            length, check = struct.unpack_from("<QI", data, place)
            body = data[place + 12 : place + 12 + length]
            assert check == masked(data[place : place + 8])
            assert struct.unpack_from("<I", data, place + 12 + length) == (masked(body),)
            yield proto.Event.FromString(body)
            place += 16 + length


def curves(folder):
    """Curves as TensorBoard shows them: a start at a step drops what was there from this step on."""
    found = {}
    for event in events(folder):
        if event.HasField("session_log"):
            assert event.session_log.status == event.session_log.START
            found = {tag: {s: v for s, v in points.items() if s < event.step} for tag, points in found.items()}
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_the_checksum_is_castagnoli_s():
    assert crc32c(b"123456789") == 0xE3069283


def test_tensorboard_gets_a_curve_for_every_number(tmp_path):
    write(["tensorboard"], tmp_path, [STEP, EPOCH])
    assert next(events(tmp_path)).file_version == "brain.Event:2"
    found = curves(tmp_path)
    assert found.pop("train/learning_rate") == pytest.approx({5: 1e-3, 8: 1e-3})
    assert found == {
        "train/loss": {5: 0.5},
        "train/accuracy": {5: 0.25},
        "train/gradient_norm": {5: 2.0},
        "train/epoch_loss": {8: 0.375},
        "train/epoch_accuracy": {8: 0.5},
        "eval/loss": {8: 0.25},
        "eval/accuracy": {8: 0.75},
        "eval/ema_accuracy": {8: 0.8125},
        "speed/images_per_second": {5: 100.0, 8: 120.0},
        "speed/input_wait": {8: 0.125},
    }


def test_tensorboard_shows_what_the_run_is(tmp_path):
    write(["tensorboard"], tmp_path, [STEP])
    (text,) = [value for event in events(tmp_path) for value in event.summary.value if value.HasField("tensor")]
    assert text.metadata.plugin_data.plugin_name == "text" and b'"name": "mlp"' in text.tensor.string_val[0]


def test_tensorboard_keeps_what_is_no_number_out(tmp_path):
    odd = {"loss": math.nan, "accuracy": -math.inf, "per_class": [0.5, 1], "text": "a", "nothing": None}
    write(["tensorboard"], tmp_path, [STEP | odd])
    found = curves(tmp_path)
    assert math.isnan(found["train/loss"][5]) and found["train/accuracy"] == {5: -math.inf}
    assert found["train/per_class/0"] == {5: 0.5} and found["train/per_class/1"] == {5: 1.0}
    assert not found.keys() & {"train/text", "train/kind", "train/nothing", "train/step", "train/epoch"}


def test_tensorboard_forgets_what_came_after_the_checkpoint(tmp_path):
    rows = [STEP | {"step": step, "loss": float(step)} for step in (1, 2, 3, 4)]
    write(["tensorboard"], tmp_path, rows)
    write(["tensorboard"], tmp_path, [], before=rows[:2])
    assert curves(tmp_path)["train/loss"] == {1: 1, 2: 2}
    write(["tensorboard"], tmp_path, [STEP | {"step": 3, "loss": 30.0}], before=rows[:2])
    assert curves(tmp_path)["train/loss"] == {1: 1, 2: 2, 3: 30}
    assert len(list((tmp_path / "tensorboard").iterdir())) == 3, "within one second too"
    write(["tensorboard"], tmp_path, [], before=[])
    assert not any(curves(tmp_path).values())


def test_tensorboard_opened_late_gets_the_log(tmp_path):
    write(["tensorboard"], tmp_path, [EPOCH], before=[STEP])
    assert curves(tmp_path)["speed/images_per_second"] == {5: 100.0, 8: 120.0}


def test_events_are_on_the_disk_once_they_are_written(tmp_path):
    pytest.importorskip("tensorboardX")
    (sink,) = open_sinks(["tensorboard"], tmp_path, DESCRIPTION, [])
    sink.write(STEP)
    assert curves(tmp_path)["train/loss"] == {5: 0.5}
    sink.close()


class StubRun:
    """Takes what is logged, instead of a run of Weights & Biases."""

    def __init__(self, arguments):
        self.arguments, self.rows, self.axes, self.finished = arguments, [], [], False

    def define_metric(self, name, step_metric):
        self.axes.append((name, step_metric))

    def log(self, row):
        self.rows.append(row)

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb_runs(monkeypatch):
    runs = []
    module = types.ModuleType("wandb")
    module.Settings = dict
    module.init = lambda **arguments: runs.append(StubRun(arguments)) or runs[-1]
    monkeypatch.setitem(sys.modules, "wandb", module)
    for name in ("WANDB_PROJECT", "WANDB_NAME"):
        monkeypatch.delenv(name, raising=False)
    return runs


def test_weights_and_biases_is_one_run_over_all_sittings(tmp_path, wandb_runs, monkeypatch):
    write(["wandb"], tmp_path / "one", [STEP, EPOCH])
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    write(["wandb"], tmp_path / "one", [STEP], before=[STEP])
    write(["wandb"], tmp_path / "two", [])
    first, second, other = wandb_runs
    assert first.arguments["id"] == second.arguments["id"] != other.arguments["id"]
    assert (first.arguments["project"], second.arguments["project"]) == ("jaxcnn", "theirs")
    assert (first.arguments["name"], first.arguments["resume"]) == ("one", "allow")
    assert first.arguments["config"] == json.loads(json.dumps(DESCRIPTION))
    assert first.axes == [("*", "step")] and first.finished
    assert first.rows[0]["train/loss"] == 0.5 and first.rows[0]["step"] == 5
    assert first.rows[1]["eval/accuracy"] == 0.75 and first.rows[1]["kind"] == "epoch"


def test_weights_and_biases_works_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    write(["wandb"], tmp_path, [STEP, EPOCH | {"loss": math.nan}])
    write(["wandb"], tmp_path, [STEP], before=[STEP])
    files = list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert {file.name for file in files} == {f"run-{(tmp_path / 'wandb_id.txt').read_text().strip()}.wandb"}
    assert len(files) == 2
    deadline = time.monotonic() + 20  # its own process may write after the run is finished
    while not all(b"train/loss" in file.read_bytes() for file in files):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("name, library", [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        open_sinks(["csv", name], tmp_path, DESCRIPTION, [])
    told = f"`{library}` is needed to write to `{name}`; install it with: pip install 'jaxcnn[{name}]'."
    assert str(caught.value) == told


def test_unknown_names_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError) as caught:
        open_sinks(["csv", "mlflow", "comet"], tmp_path / "run", DESCRIPTION, [])
    assert str(caught.value) == "`sinks` must be among csv, tensorboard, wandb; got mlflow, comet."
    assert not os.listdir(tmp_path)


def test_a_name_given_twice_is_opened_once(tmp_path):
    assert len(open_sinks(["csv", "csv"], tmp_path, DESCRIPTION, [])) == 1
    assert open_sinks([], tmp_path, DESCRIPTION, []) == []
