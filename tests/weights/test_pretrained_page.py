"""What opens a trained network by name runs over loopback: blocks of its page, and its notebook.

The other blocks run with all pages, and nbmake runs the notebook without a network.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import Hub, Repository, timm_config
from PIL import Image

from jaxcnn import data, weights

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "pretrained.md"


@pytest.fixture
def hub(drawn):
    """A hub that has a ResNet-18 with drawn weights under timm's name."""
    from safetensors.numpy import save

    pytest.importorskip("huggingface_hub")
    content = save(weights.to_torch(drawn("resnet18"), "timm"))
    files = {"model.safetensors": content, "config.json": timm_config("resnet18")}
    with Hub() as server:
        server.repositories["timm/resnet18.a1_in1k"] = Repository(files)
        yield server


@pytest.mark.slow
def test_the_blocks_that_download_run(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (300, 250, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("cat.jpg")
    blocks = re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert blocks
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), {})
    assert capsys.readouterr().out.strip() in data.imagenet_classes().names


@pytest.mark.slow
@pytest.mark.parametrize("at_hand", ["weights", "nothing"])
def test_the_notebook_runs_with_and_without_weights(hub, tmp_path, at_hand):
    """It ends alike: with weights from the hub; and where the hub has none and scikit-image is not installed."""
    source = ROOT / "colab" / "11_trained_networks.py"
    start = "" if at_hand == "weights" else "import sys; sys.modules['skimage'] = None\n"
    if at_hand == "nothing":
        hub.repositories.clear()
    script = tmp_path / source.name
    script.write_text(start + source.read_text())
    variables = {key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", "JAXCNN_NATIVE")}
    variables |= {"FAST": "1", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path), "HF_ENDPOINT": hub.url}
    done = subprocess.run([sys.executable, script], cwd=source.parent, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    opened = "Opened timm/resnet18.a1_in1k, license apache-2.0" in done.stdout
    small = "Training a small network instead: " in done.stdout
    assert (opened, small) == ((True, False) if at_hand == "weights" else (False, True))
    assert ("astronaut " in done.stdout) == (at_hand == "weights")
    assert done.stdout.endswith("same preprocessing: True\nlargest difference of logits: 0.0\n")
