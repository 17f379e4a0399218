"""The page of `jaxcnn demo` in a headless Chromium, opened from its file: it answers as `jaxcnn predict` does."""

import base64
import dataclasses
import functools
import http.server
import json
import re
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, Browser
from flax import nnx
from PIL import Image

from jaxcnn import data, training, weights
from jaxcnn.cli.runs import open_run
from jaxcnn.cli.web_runtime import web_runtime
from jaxcnn.weights.runs import empty

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"),
]
SEVEN = [(0.33, 0.2), (0.66, 0.2), (0.62, 0.35), (0.5, 0.6), (0.42, 0.82)]
ASK = """
await demo.ready;
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const [, count, height, width, channels] = arguments, size = height * width;
const found = [];
for (let number = 0; number < count; number++) {
  const picture = new Uint8ClampedArray(4 * size).fill(255);
  for (let place = 0; place < size; place++) {
    for (let color = 0; color < 3; color++) {
      picture[4 * place + color] = bytes[channels * (number * size + place) + (channels === 3 ? color : 0)];
    }
  }
  found.push(await demo.classify(picture, width, height));
}
return found;
"""
SHOWN = """
await demo.ready;
while (showing) await new Promise((done) => setTimeout(done, 10));
const named = rows.map(({ name, number }) => [name.textContent, number.textContent]);
const problem = byId("problem").hidden ? "" : byId("problem").textContent;
return { best: byId("best").textContent, rows: named, problem };
"""
SETTLED = "while (!showing && blank) await new Promise((done) => setTimeout(done, 10));"


@pytest.fixture(scope="module", autouse=True)
def runtime():
    """The real ONNX Runtime Web, from the cache or the registry, or no tests."""
    pytest.importorskip("jax2onnx")
    try:
        return web_runtime()
    except (ConnectionError, FileNotFoundError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def page(jaxcnn, trained, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "digits.html"
    outcome = jaxcnn("demo", trained[0], "--out", file)
    assert outcome.status == 0, outcome.err
    return file


def asked(browser, images):
    """The page's answers to pictures."""
    text = base64.b64encode(np.ascontiguousarray(images).tobytes()).decode()
    return browser.run(ASK, text, *images.shape)


def shares_of(rows):
    """The probabilities that the page shows, by name."""
    return {name: float(number.removesuffix(" %")) / 100 for name, number in rows}


def test_it_gives_the_classes_of_predict(page, trained):
    run = open_run(trained[0])
    images = np.concatenate([data.load("digits", split).images for split in ("test", "validation")])
    assert len(images) >= 200
    wanted = training.predict(run.model, images, run.scaling)
    with Browser(page) as browser:
        found = asked(browser, images)
        assert browser.complaints() == []
    np.testing.assert_allclose([each["numbers"] for each in found], wanted, atol=1e-4)
    assert [each["answer"] for each in found] == [run.classes[place] for place in wanted.argmax(-1)]


@pytest.mark.parametrize("width", [1200, 390])
def test_a_drawn_digit_is_answered_while_it_is_drawn(page, jaxcnn, trained, tmp_path, width):
    with Browser(page, width) as browser:
        browser.run("await demo.ready")
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
        assert "Draw" in browser.run(SHOWN)["best"]
        browser.draw("#board", SEVEN)
        shown = browser.run(SHOWN)
        drawn, side, _ = browser.run("const { data, width, height } = boardPixels(); return [[...data], width, height]")
        Image.fromarray(np.array(drawn, np.uint8).reshape(side, side, 4)).save(tmp_path / "drawn.png")
        painted = browser.run(
            "return maps.map(({ canvases }) => canvases.map((canvas) => "
            'new Set(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size))'
        )
        browser.click("#clear")
        assert "Draw" in browser.run(SHOWN)["best"] and browser.complaints() == []
    assert [len(stage) for stage in painted] == [6, 6, 8, 8, 1, 1] and all(max(stage) > 10 for stage in painted)
    (said,) = json.loads(jaxcnn("predict", trained[0], tmp_path / "drawn.png", "--format", "json", "--top", "10").out)
    assert shown["best"].split(",")[0] == said["top"][0]["class"]
    shares = shares_of(shown["rows"])
    for entry in said["top"]:
        assert shares[entry["class"]] == pytest.approx(entry["probability"], abs=0.01)


def test_a_drawing_is_moved_to_the_middle(page):
    """Drawn elsewhere, it gets nearly the same answer, unless that is switched off."""
    with Browser(page) as browser:
        browser.run("await demo.ready")
        found = []
        for shift in (0.0, -0.1):
            browser.click("#clear")
            browser.draw("#board", [(x + shift, y + shift) for x, y in SEVEN])
            found.append(shares_of(browser.run(SHOWN)["rows"]))
        browser.click("#middle")
        elsewhere = shares_of(browser.run(SHOWN)["rows"])
    assert found[1] == pytest.approx(found[0], abs=0.03) and elsewhere != pytest.approx(found[0], abs=0.03)


def made_pictures(folder: Path) -> list[Path]:
    """Picture files of several kinds, of blocks that tell where is up."""
    draw = np.random.default_rng(0)

    def blocks(width, height, mode="RGB"):
        pixels = draw.integers(0, 256, (5, 4, 3)).astype(np.uint8)
        return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode)

    turned = Image.Exif()
    turned[0x0112] = 6
    blocks(60, 40).save(folder / "turned.jpg", exif=turned, quality=95, subsampling=0)
    blocks(1200, 900).save(folder / "large.png")
    blocks(300, 23).save(folder / "wide.png")
    blocks(17, 210).save(folder / "tall.png")
    blocks(64, 48, "L").save(folder / "gray.png")
    blocks(30, 30).quantize(7).save(folder / "palette.gif")
    image = blocks(40, 50, "RGBA")
    image.putalpha(Image.fromarray(np.linspace(0, 255, 40 * 50).reshape(50, 40).astype(np.uint8)))
    image.save(folder / "transparent.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module", params=["gray", "color", "color, fed"])
def network(request, trained, tmp_path_factory):
    """A trained run, or weights drawn from a seed that want their pictures otherwise."""
    if request.param == "gray":
        return trained[0]
    config = {"name": "mlp", "num_classes": 14, "in_features": 3, "options": {"hidden": [8], "image_size": [24, 20]}}
    config |= {"classes": [f"the {place}th" for place in range(14)], "image_shape": [24, 20, 3]}
    if request.param == "color, fed":
        config |= {"preprocessing": dataclasses.asdict(data.Preprocessing((24, 20), 27, "bicubic"))}
    model, draw = empty(config, nnx.Rngs(0)), np.random.default_rng(0)
    drawn = lambda leaf: jax.device_put(draw.uniform(-0.1, 0.1, leaf.shape).astype(leaf.dtype))  # noqa: E731
    nnx.update(model, jax.tree.map(drawn, nnx.state(model, nnx.Param)))
    folder = tmp_path_factory.mktemp("weights") / "network"
    weights.save_pretrained(model, folder, config=config)
    return folder


def test_picture_files_are_read_as_predict_reads_them(network, jaxcnn, tmp_path):
    (tmp_path / "pictures").mkdir()
    pictures = made_pictures(tmp_path / "pictures")
    assert jaxcnn("demo", network, "--out", tmp_path / "page.html").status == 0
    said = json.loads(jaxcnn("predict", network, *pictures, "--format", "json", "--top", "12").out)
    (tmp_path / "no.png").write_text("no picture\n")
    best = set()
    with Browser(tmp_path / "page.html") as browser:
        browser.run("await demo.ready")
        for picture, answer in zip(pictures, said, strict=True):
            browser.run("blank = true")
            browser.give("#file", picture)
            browser.run(SETTLED)
            shown = browser.run(SHOWN)
            shares = shares_of(shown["rows"])
            wanted = {entry["class"]: entry["probability"] for entry in answer["top"]}
            first, second = list(wanted.values())[:2]
            if first - second > 0.02:  # else rounding may exchange them
                assert shown["best"].split(",")[0] == answer["top"][0]["class"], picture.name
            for name in wanted.keys() & shares.keys():
                assert shares[name] == pytest.approx(wanted[name], abs=0.03), (picture.name, name)
            best.add(shown["best"].split(",")[0])
        assert browser.complaints() == []
        browser.give("#file", tmp_path / "no.png")
        while not (problem := browser.run(SHOWN)["problem"]):
            pass
        assert problem == "no.png must be a picture that this browser reads; it is not."
    assert len(best) > 1


def test_light_and_dark_are_exchanged_as_by_predict(page, jaxcnn, trained, tmp_path):
    digit = data.load("digits", "test").images[0, ..., 0]
    Image.fromarray(255 - digit).resize((90, 90)).save(tmp_path / "paper.png")
    outcome = jaxcnn("predict", trained[0], tmp_path / "paper.png", "--invert", "--format", "json", "--top", "10")
    (said,) = json.loads(outcome.out)
    with Browser(page) as browser:
        browser.run("await demo.ready")
        browser.give("#file", tmp_path / "paper.png")
        browser.run(SETTLED)
        before = browser.run(SHOWN)["rows"]
        browser.click("#invert")
        shown = browser.run(SHOWN)
    assert shown["rows"] != before
    shares = shares_of(shown["rows"])
    for entry in said["top"]:
        assert shares[entry["class"]] == pytest.approx(entry["probability"], abs=0.02)


def test_pictures_of_the_test_split_can_be_chosen(page, trained):
    run, test = open_run(trained[0]), data.load("digits", "test")
    places = [int(np.flatnonzero(test.labels == label)[0]) for label in range(10)]
    wanted = training.predict(run.model, test.images[np.array(places)], run.scaling)
    with Browser(page) as browser:
        browser.run("await demo.ready")
        for label in (0, 3, 9):
            browser.run("blank = true")
            browser.click(f"#examples button:nth-child({label + 1})")
            browser.run(SETTLED)
            shares = shares_of(browser.run(SHOWN)["rows"])
            np.testing.assert_allclose([shares[str(each)] for each in range(10)], wanted[label], atol=6e-4)


def test_the_page_reaches_for_nothing(page):
    """Its own rules forbid every request, and nothing is asked for."""
    with Browser(page) as browser:
        browser.run("await demo.ready")
        assert browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)") in ([], None)
        refused = browser.run("try { await fetch('http://127.0.0.1:9/'); } catch (error) { return error.message; }")
        assert refused == "Failed to fetch"
        assert any(re.search("Content Security Policy", line) for line in browser.complaints())


def test_the_page_of_the_guide_runs_as_it_stands(jaxcnn, trained, runtime, tmp_path):
    """Served from a folder with the files of its three lines."""
    guide = Path(__file__).parents[2] / "docs" / "guides" / "export.md"
    (text,) = re.findall(r"```html\n(.*?)```", guide.read_text(), re.DOTALL)
    (tmp_path / "index.html").write_text(text)
    package = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    package.mkdir(parents=True)
    (package / "ort.wasm.bundle.min.mjs").write_bytes(runtime.script)
    (package / "ort-wasm-simd-threaded.wasm").write_bytes(runtime.program)
    assert jaxcnn("export", trained[0], tmp_path / "lenet5.onnx", "--with-preprocessing").status == 0
    digit = data.load("digits", "test").images[5, ..., 0]
    Image.fromarray(digit).resize((61, 70)).save(tmp_path / "seven.png")
    (said,) = json.loads(jaxcnn("predict", trained[0], tmp_path / "seven.png", "--format", "json").out)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Browser(f"http://127.0.0.1:{server.server_port}/") as browser:
            answer = browser.run(
                "const output = document.querySelector('output');"
                "for (let trial = 0; trial < 600 && !output.textContent; trial++)"
                "  await new Promise((done) => setTimeout(done, 100));"
                "return output.textContent"
            )
        server.shutdown()
    assert answer == said["top"][0]["class"]
