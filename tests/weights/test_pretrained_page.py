"""The blocks of the page on trained networks that need a network run over loopback; the others run with all pages."""

import re
from pathlib import Path

import numpy as np
import pytest
from hub_server import Hub, Repository, timm_config
from PIL import Image

from jaxcnn import data, weights

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "pretrained.md"


@pytest.mark.slow
def test_the_blocks_that_download_run(drawn, tmp_path, monkeypatch, capsys):
    from safetensors.numpy import save

    pytest.importorskip("huggingface_hub")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (300, 250, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("cat.jpg")
    blocks = re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert blocks
    content = save(weights.to_torch(drawn("resnet18"), "timm"))
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        files = {"model.safetensors": content, "config.json": timm_config("resnet18")}
        hub.repositories["timm/resnet18.a1_in1k"] = Repository(files)
        for block in blocks:
            exec(compile(block, PAGE.name, "exec"), {})
    assert capsys.readouterr().out.strip() in data.imagenet_classes().names
