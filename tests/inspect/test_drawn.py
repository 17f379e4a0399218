"""What the figures of operations and networks show: the right numbers, whole, and nothing over anything else."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawings import whole
from flax import nnx
from PIL import Image

from jaxcnn import inspect, layers, models, ops
from jaxcnn.geometry import ReceptiveField
from jaxcnn.inspect import plots
from jaxcnn.inspect.plots import style

KERNEL = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
SLIDES = {
    "valid": {},
    "padded with strides": {"padding": 1, "strides": 2},
    "lecture": {"padding": "LECTURE"},
    "dilated": {"kernel_dilation": 2, "padding": 2},
    "spread": {"input_dilation": 2, "padding": 1},
    "flipped": {"flip_kernel": True},
}


@pytest.mark.parametrize("name", SLIDES)
def test_a_slide_is_the_convolution(random, float64, name):
    inputs, options = random.normal(size=(5, 6)), SLIDES[name]
    found = inspect.slide(inputs, KERNEL, **options)
    given = {"padding": "VALID"} | options
    expected = ops.conv(jnp.asarray(inputs)[None, ..., None], jnp.asarray(KERNEL)[..., None, None], **given)
    np.testing.assert_allclose(found.output, expected[0, ..., 0], atol=1e-12)
    for step in range(found.steps):
        read = found.padded[tuple(found.reads(step).T)]
        np.testing.assert_allclose(read @ found.kernel.ravel(), found.output[found.place(step)], atol=1e-12)
    np.testing.assert_array_equal(found.padded[found.real], inputs.ravel())
    assert not found.padded[~found.real].any()


def test_a_slide_is_the_transposed_convolution(random, float64):
    inputs = random.normal(size=(3, 3))
    found = inspect.slide(inputs, KERNEL, strides=2, padding=1, transposed=True)
    given = jnp.asarray(inputs)[None, ..., None], jnp.asarray(KERNEL)[..., None, None]
    expected = ops.conv_transpose(*given, strides=2, padding=1)
    np.testing.assert_allclose(found.output, expected[0, ..., 0], atol=1e-12)


def test_a_slide_along_one_axis_is_a_row():
    found = inspect.slide([1.0, 2, 3, 4], [1.0, -1], strides=2)
    np.testing.assert_array_equal(found.output, [[-1, -1]])
    whole(plots.sliding_steps(found))


def test_a_slide_of_other_ranks_is_refused():
    with pytest.raises(ValueError, match=r"must both have 1 or both 2 axes; got shapes \(2, 2\) and \(2,\)"):
        inspect.slide(np.ones((2, 2)), np.ones(2))


def written(axes) -> dict[tuple[int, int], float]:
    """The numbers in a panel's cells."""
    cells = [(text.get_position(), text.get_text()) for text in axes.texts if "=" not in text.get_text()]
    return {(int(y), int(x)): float(text) for (x, y), text in cells}


def test_a_step_shows_what_is_read_and_written():
    found = inspect.slide(np.arange(16.0).reshape(4, 4), KERNEL, padding=1, strides=2)
    left, middle, right = whole(plots.sliding_window(found, 1)).axes
    assert written(left) == {tuple(map(int, at)): value for at, value in np.ndenumerate(found.padded)}
    assert written(middle) == dict(np.ndenumerate(KERNEL))
    assert written(right) == {(0, 0): found.output[0, 0], (0, 1): found.output[0, 1]}, "nothing of the steps to come"
    outlined = {tuple(int(edge + 0.5) for edge in box.get_xy()[::-1]) for box in left.patches if not box.get_fill()}
    assert outlined == set(map(tuple, found.reads(1).tolist()))
    (told,) = (text.get_text() for text in left.texts if "=" in text.get_text())
    assert told == "output[0, 1] = 1·2 + 2·0 + 3·(-2) + 5·1 + 6·0 + 7·(-1) = -6"
    with pytest.raises(ValueError, match="`steps` must be from 0 to 3; got .4."):
        plots.sliding_window(found, 4)


def test_the_animation_shows_every_step(tmp_path):
    found = inspect.slide(np.arange(9.0).reshape(3, 3), np.ones((2, 2)))
    path = plots.save(plots.sliding_animation(found), tmp_path / "slide.gif")
    with Image.open(path) as gif:
        assert gif.n_frames == found.steps == 4
        frames = []
        for step in range(4):
            gif.seek(step)
            frames.append(np.asarray(gif.convert("L")))
    assert all((one != other).any() for one, other in zip(frames, frames[1:], strict=False))


def filled(axes) -> np.ndarray:
    return np.ma.filled(axes.images[0].get_array().astype(float), 0.0)


def test_the_matrix_that_is_drawn_is_the_convolution(random):
    inputs, kernel = random.normal(size=(4, 4)), random.normal(size=(2, 3))
    figure = whole(plots.convolution_as_matrix(inputs, kernel, padding="VALID"))
    weights, x, y, back, g, dx, windows, taps, again = (filled(axes) for axes in figure.axes)
    np.testing.assert_array_equal(x.ravel(), inputs.ravel())
    np.testing.assert_allclose(weights @ x, y)
    np.testing.assert_array_equal(back, weights.T)
    np.testing.assert_allclose(back @ g, dx)
    np.testing.assert_array_equal(taps.ravel(), kernel.ravel())
    np.testing.assert_allclose(windows @ taps, again, atol=1e-5)
    np.testing.assert_allclose(again, y, atol=1e-5)
    assert figure.axes[0].images[0].get_array().mask.any(), "structural zeros stay blank"
    with pytest.raises(ValueError, match=r"one for each of the 16 outputs; got shape \(3, 2\)"):
        plots.convolution_as_matrix(inputs, kernel, np.ones((3, 2)))


@pytest.mark.parametrize("kind", ["max", "average"])
def test_the_routing_that_is_drawn_is_the_pool(random, kind):
    inputs = random.permutation(16).reshape(4, 4).astype(float)
    figure = whole(plots.pool_as_matrix(inputs, 2, kind=kind))
    x, y, back, g, matrix = (filled(axes) for axes in figure.axes)
    np.testing.assert_allclose(matrix @ x.ravel(), y.ravel())
    np.testing.assert_allclose(matrix.T @ g.ravel(), back.ravel())
    pooled = inputs.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(2, 2, 4)
    np.testing.assert_allclose(y, pooled.max(-1) if kind == "max" else pooled.mean(-1))


def test_filters_find_what_they_are_for():
    picture = np.zeros((12, 12), np.float32)
    picture[:, 6:] = 1
    found = {each.name: each.result for each in inspect.apply_filters(picture)}
    np.testing.assert_allclose(found["identity"], picture)
    np.testing.assert_allclose(found["horizontal edges"], 0, atol=1e-6)
    np.testing.assert_allclose(found["vertical edges"][5], 3 * ((np.arange(12) == 5) | (np.arange(12) == 6)))
    np.testing.assert_allclose(found["box blur"][5, :8], [0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8], atol=1e-6)
    flipped = {each.name: each.result for each in inspect.apply_filters(picture, flip_kernel=True)}
    np.testing.assert_allclose(flipped["vertical edges"], -found["vertical edges"], atol=1e-6)
    with pytest.raises(ValueError, match=r"`picture` and kernels must be \(H, W\)"):
        inspect.apply_filters(picture[..., None])


def test_pictures_under_filters_are_drawn(random):
    picture = random.uniform(size=(16, 20)).astype(np.float32)
    found = inspect.apply_filters(picture)
    figure = whole(plots.filtered_pictures(found))
    assert [axes.get_title(loc="left") for axes in figure.axes[::2]] == [each.name for each in found]
    for axes, each in zip(figure.axes[1::2], found, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), each.kernel)


def test_a_blur_by_sixteenths_is_written_in_whole_numbers(random):
    kernels = {"blur": inspect.classic_filters()["binomial blur"]}
    figure = whole(plots.filtered_pictures(inspect.apply_filters(random.uniform(size=(8, 8)), kernels)))
    assert [text.get_text() for text in figure.axes[1].texts] == list("121242121")
    assert "/ 16" in [text.get_text() for text in figure.texts]


def test_a_single_one_comes_out_as_the_kernel_from_a_convolution():
    kernel = np.array([[0, 0, 0], [-1, 0, 1], [-2, 0, 2.0]])
    figure = whole(plots.correlation_and_convolution(np.eye(9), kernel))
    _, correlated, convolved = (axes.images[0].get_array() for axes in figure.axes[:3])
    middle = slice(len(convolved) // 2 - 1, len(convolved) // 2 + 2)
    np.testing.assert_allclose(convolved[middle, middle], kernel, atol=1e-6)
    np.testing.assert_allclose(correlated[middle, middle], kernel[::-1, ::-1], atol=1e-6)


def test_sample_pictures_are_gray_from_0_to_1(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)  # the one that scikit-learn brings
    picture = inspect.sample_picture()
    assert picture.ndim == 2 and picture.min() >= 0 and 0.9 < picture.max() <= 1


@pytest.fixture(scope="module")
def lenet() -> nnx.Module:
    return models.create("lenet5", rngs=nnx.Rngs(0))


def test_fields_of_the_stages_and_what_is_used_of_them(lenet):
    fields = inspect.receptive_fields(lenet, (28, 28, 1))
    assert {name: field.size for name, field in fields.items()} == {
        "conv1": (5, 5),
        "pool1": (6, 6),
        "conv2": (14, 14),
        "pool2": (16, 16),
    }
    measured = inspect.effective_fields(lenet, (28, 28, 1), ["conv1", "conv2"], trials=32)
    for name, each in measured.items():
        inside = np.ones((28, 28), bool)
        for axis, (center, size) in enumerate(zip(each.center, each.field.size, strict=True)):
            away = np.abs(np.arange(28) - center) <= (size - 1) / 2
            inside &= away[:, None] if axis == 0 else away
        assert inside.sum() == np.prod(fields[name].size)
        assert (each.strength[inside] > 0).all() and not each.strength[~inside].any(), "the field, and nothing else"
        assert each.strength.max() == 1 and each.width <= each.field.size[0]
    whole(plots.effective_fields(measured))
    figure = whole(plots.receptive_fields(np.zeros((28, 28, 1)), fields))
    assert [bar.get_width() for bar in figure.axes[1].patches] == [5, 6, 14, 16]


def test_the_first_kernel_is_that_of_the_layer_that_is_called_first():
    model = models.create("resnet20", rngs=nnx.Rngs(0), widths=(4, 4, 4))
    np.testing.assert_array_equal(inspect.first_kernel(model, (32, 32, 3)), model.conv1.conv.kernel[...])
    assert inspect.first_kernel(models.create("mlp", hidden=(4,), rngs=nnx.Rngs(0)), (28, 28, 1)) is None


@pytest.mark.parametrize("kind", [layers.Conv, nnx.Conv])
def test_the_first_kernel_is_masked(kind):
    class Masked(nnx.Module):
        def __init__(self, rngs):
            self.conv = kind(2, 3, (2, 2), mask=MASK, rngs=rngs)

        def __call__(self, x):
            return self.conv(x).mean((1, 2))

    model = Masked(nnx.Rngs(0))
    with jax.numpy_dtype_promotion("standard"):
        found = inspect.first_kernel(model, (6, 6, 2))
    np.testing.assert_array_equal(found, np.where(MASK, model.conv.kernel[...], 0))


MASK = np.arange(24).reshape(2, 2, 2, 3) % 2 == 0


def test_activations_are_those_of_the_network_in_evaluation(lenet, random):
    images = random.normal(size=(2, 28, 28, 1)).astype(np.float32)
    found = inspect.activations(lenet, images)
    _, expected = lenet(images, capture=True)
    assert list(found) == list(expected)
    np.testing.assert_allclose(found["pool2"], expected["pool2"], rtol=1e-5, atol=1e-5)


def counted(name: str, shape: tuple[int, ...]) -> models.Summary:
    model = nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0), in_features=shape[-1]))
    return models.summary(model, (1, *shape))


def test_counts_of_lenet():
    found = counted("lenet5", (28, 28, 1))
    assert sum(cost.parameters for cost in inspect.costs(found)) == 61_706
    first, second = inspect.shared_counts(found)
    assert first == ("conv1", 156, 28 * 28 * 6 * 26, 28 * 28 * 28 * 28 * 6 + 28 * 28 * 6)
    assert second == ("conv2", 2416, 10 * 10 * 16 * 151, 14 * 14 * 6 * 1600 + 1600)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("lenet5", (28, 28, 1)), ("resnet32", (32, 32, 3)), ("alexnet", (224, 224, 3)), ("mlp", (28, 28, 1))],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_are_drawn_whole(name, shape):
    found = counted(name, shape)
    figure = whole(plots.architecture(found))
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert any(label.startswith("head") for label in labels)
    layers = sum(bool(row.multiply_adds) or "Pool" in row.kind for row in found.rows)
    assert figure.get_suptitle().startswith(f"{layers} layers, ")
    costs = inspect.costs(found)
    assert len(costs) <= 24 and sum(cost.multiply_adds for cost in costs) == found.multiply_adds
    whole(plots.costs(costs))
    shared = inspect.shared_counts(found)
    if shared:
        whole(plots.shared_counts(shared))


def test_96_filters_fit_on_a_page(random):
    figure = whole(plots.filters(random.normal(size=(11, 11, 3, 96)).astype(np.float32), title="96 filters"))
    assert len(figure.axes[0].images) == 96 and figure.get_figwidth() * 96 <= 928


def test_a_prediction_names_the_likeliest(random):
    classes = [f"a class of a very long name, number {i}" for i in range(8)]
    figure = whole(plots.prediction(np.zeros((4, 4, 3), np.uint8), np.arange(8) / 28, classes))
    assert [round(bar.get_width(), 1) for bar in figure.axes[1].patches] == [25, 21.4, 17.9, 14.3, 10.7]


def test_long_titles_and_captions_stay_on_the_canvas(random):
    images = list(random.normal(size=(3, 4, 4)))
    captions = ["a very long caption that nobody can read"] * 3
    figure = whole(
        style.tiles(images, captions, title="a title that is much longer than its figure is wide", rows=["a"])
    )
    assert all(axes.get_title().endswith("…") for axes in figure.axes)


def test_the_signed_map_grows_lighter_with_a_gray_zero():
    ramp = style.SIGNED(np.linspace(0, 1, 101))[:, :3]
    light = ramp @ [0.299, 0.587, 0.114]
    assert (np.diff(light) > 0).all(), "in print, more is lighter"
    assert np.ptp(ramp[50]) < 0.03
    assert style.ink_on("white") != style.ink_on("black")


def test_files_have_the_format_of_their_name(tmp_path, random):
    figure = style.tiles(list(random.normal(size=(2, 3, 3))), signed=True)
    assert plots.save(figure, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    svg = plots.save(figure, tmp_path / "a.svg").read_bytes()
    assert b"<svg" in svg and svg == plots.save(figure, tmp_path / "b.svg").read_bytes()
    with pytest.raises(ValueError, match=r"`path` must end in .png or .svg here; got .*a.gif"):
        plots.save(figure, tmp_path / "a.gif")
    assert figure._repr_png_().startswith(b"\x89PNG")
    Image.open(io.BytesIO(figure._repr_png_())).load()


def test_no_figure_is_kept_open(random):
    from matplotlib import _pylab_helpers

    before = list(_pylab_helpers.Gcf.figs)  # of other tests in this process
    style.tiles(list(random.normal(size=(2, 3, 3))))
    assert list(_pylab_helpers.Gcf.figs) == before


def test_a_field_of_one_stage_is_drawn():
    whole(plots.receptive_fields(np.zeros((9, 9, 3)), {"conv1": ReceptiveField((3, 3), (1, 1), (0.0, 0.0))}))


def test_everything_of_plots_is_public_and_documented():
    assert list(plots.__all__) == sorted(plots.__all__)
    for name in plots.__all__:
        assert (getattr(plots, name).__doc__ or "").strip().splitlines()[0].endswith(".")


def test_numbers_are_as_long_as_their_cells():
    assert [style.written(value) for value in (-0.0, 3, 0.0625, -1234567.0)] == ["0", "3", "0.0625", "-1234567"]
    assert [style.written(value, 4) for value in (0.0625, -0.62, 12.34)] == ["0.1", "-0.6", "12.3"]
