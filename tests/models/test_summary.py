"""The table of layers: shapes, parameters and multiply-adds as computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcnn import layers, models

LENET5 = [
    ("conv1", "Conv", (2, 28, 28, 6), 156, 2 * 28 * 28 * 6 * 5 * 5 * 1),
    ("pool1", "MaxPool", (2, 14, 14, 6), 0, 0),
    ("conv2", "Conv", (2, 10, 10, 16), 2416, 2 * 10 * 10 * 16 * 5 * 5 * 6),
    ("pool2", "MaxPool", (2, 5, 5, 16), 0, 0),
    ("dense1", "Linear", (2, 120), 48_120, 2 * 400 * 120),
    ("dense2", "Linear", (2, 84), 10_164, 2 * 120 * 84),
    ("head", "Linear", (2, 10), 850, 2 * 84 * 10),
]


class Twice(nnx.Module):
    """One layer called two times, and one that is never called."""

    def __init__(self, rngs: nnx.Rngs):
        self.shared = layers.Conv(4, 4, (3, 3), rngs=rngs)
        self.unused = nnx.Linear(7, 7, rngs=rngs)

    def __call__(self, x):
        return self.shared(self.shared(x))


class Mixed(nnx.Module):
    """Groups, a nested block, layers of Flax with state."""

    def __init__(self, rngs: nnx.Rngs):
        self.grouped = layers.Conv(4, 6, (3, 1), strides=2, feature_group_count=2, use_bias=False, rngs=rngs)
        self.block = nnx.Sequential(nnx.BatchNorm(6, rngs=rngs), nnx.Dropout(0.5, rngs=rngs))
        self.flat = nnx.Conv(6, 1, (1, 1), rngs=rngs)

    def __call__(self, x):
        return self.flat(self.block(self.grouped(x)))


class Renamed(nnx.Linear):
    """A layer that inherits all it does."""


class WithRenamed(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.layer = Renamed(3, 5, rngs=rngs)

    def __call__(self, x):
        return self.layer(x)


class Doubling(nnx.Linear):
    """A layer that calls its parent's `__call__`."""

    def __call__(self, x):
        return 2 * super().__call__(x)


class WithDoubling(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.plain, self.doubling = nnx.Linear(3, 3, rngs=rngs), Doubling(3, 3, rngs=rngs)

    def __call__(self, x):
        return self.doubling(self.plain(x))


def rows(summary: models.Summary) -> list[tuple]:
    return [tuple(row)[:5] for row in summary.rows]


def test_lenet5_is_as_computed_by_hand():
    found = models.summary(models.LeNet5(rngs=nnx.Rngs(0)), (2, 28, 28, 1))
    assert rows(found) == LENET5
    assert (found.parameters, found.multiply_adds) == (61_706, 2 * 416_520)


def test_mlp_is_as_computed_by_hand():
    found = models.summary(models.MLP(rngs=nnx.Rngs(0)), (1, 28, 28, 1))
    assert rows(found) == [
        ("dense/0", "Linear", (1, 300), 235_500, 784 * 300),
        ("dense/1", "Linear", (1, 100), 30_100, 300 * 100),
        ("head", "Linear", (1, 10), 1010, 1000),
    ]
    assert (found.parameters, found.multiply_adds) == (266_610, 784 * 300 + 300 * 100 + 1000)


def test_a_layer_called_twice_has_two_rows_and_its_parameters_once():
    found = models.summary(Twice(nnx.Rngs(0)), (1, 5, 6, 4))
    work = 5 * 6 * 4 * 3 * 3 * 4
    assert rows(found) == [
        ("shared", "Conv", (1, 5, 6, 4), 148, work),
        ("shared", "Conv", (1, 5, 6, 4), 0, work),
    ]
    assert (found.parameters, found.multiply_adds) == (148 + 56, 2 * work)


def test_groups_and_nested_layers_count_what_they_do():
    found = models.summary(Mixed(nnx.Rngs(0)), (1, 8, 8, 4))
    assert rows(found) == [
        ("grouped", "Conv", (1, 4, 4, 6), 3 * 1 * 2 * 6, 4 * 4 * 6 * 3 * 2),
        ("block/layers/0", "BatchNorm", (1, 4, 4, 6), 12, 0),
        ("block/layers/1", "Dropout", (1, 4, 4, 6), 0, 0),
        ("flat", "Conv", (1, 4, 4, 1), 7, 4 * 4 * 6),
    ]


def test_a_layer_that_inherits_its_call_has_a_row():
    assert rows(models.summary(WithRenamed(nnx.Rngs(0)), (2, 3))) == [("layer", "Renamed", (2, 5), 20, 30)]


def test_a_layer_that_calls_its_parent_has_one_row():
    assert rows(models.summary(WithDoubling(nnx.Rngs(0)), (2, 3))) == [
        ("plain", "Linear", (2, 3), 12, 18),
        ("doubling", "Doubling", (2, 3), 12, 18),
    ]


def test_a_layer_alone_has_a_row():
    found = models.summary(layers.Conv(1, 2, (3, 3), use_bias=False, rngs=nnx.Rngs(0)), (1, 4, 4, 1))
    assert [row[1:] for row in rows(found)] == [("Conv", (1, 4, 4, 2), 18, 4 * 4 * 2 * 9)]
    assert found.multiply_adds == 4 * 4 * 2 * 9


def test_the_printed_table_has_a_line_for_every_row_and_the_total():
    lines = str(models.summary(models.LeNet5(rngs=nnx.Rngs(0)), (1, 28, 28, 1))).splitlines()
    header, rule, *body, last_rule, total = lines
    assert header.split() == ["layer", "kind", "output", "shape", "parameters", "multiply-adds", "sees"]
    assert rule == last_rule == "-" * max(map(len, lines))
    assert [line.split()[0] for line in body] == [row[0] for row in LENET5]
    assert body[0].split() == ["conv1", "Conv", "(1,", "28,", "28,", "6)", "156", "117,600", "5x5"]
    assert total.split() == ["total", "61,706", "416,520"]
    assert len({len(line) for line in (header, *body)}) == 1, "numbers are flush right"


def test_the_html_table_has_the_same_cells():
    page = models.summary(models.LeNet5(rngs=nnx.Rngs(0)), (1, 28, 28, 1))._repr_html_()
    assert page.startswith("<table>") and page.endswith("</table>")
    assert page.count("<tr>") == 1 + len(LENET5) + 1 == page.count("</tr>")
    assert "<td>conv2</td><td>Conv</td><td>(1, 10, 10, 16)</td><td>2,416</td><td>240,000</td><td>14x14</td>" in page
    assert "<td>61,706</td><td>416,520</td>" in page


def test_the_html_table_escapes_names():
    row = models.LayerRow("<b>", "A&B", (1,), 0, 0)
    page = models.Summary((row,), 0, 0)._repr_html_()
    assert "<td>&lt;b&gt;</td><td>A&amp;B</td>" in page and "<b>" not in page


def test_nothing_is_computed_and_nothing_changes():
    model = Mixed(nnx.Rngs(0))
    model.train()
    before = nnx.to_pure_dict(nnx.state(model))
    models.summary(model, (64, 2000, 2000, 4))
    assert not model.block.layers[1].deterministic
    assert all((a == b).all() for a, b in zip(leaves(before), leaves(nnx.to_pure_dict(nnx.state(model))), strict=True))


def leaves(tree):
    return [leaf for value in tree.values() for leaf in (leaves(value) if isinstance(value, dict) else [value])]


@pytest.mark.parametrize("shape", [(1, 28, 28, 1), (1, 9, 9, 1)], ids=["right", "wrong"])
def test_the_classes_are_left_as_they_were(shape):
    originals = layers.Conv.__call__, nnx.Linear.__call__
    model = models.LeNet5(rngs=nnx.Rngs(0))
    if shape[1] == 28:
        models.summary(model, shape)
    else:
        with pytest.raises(ValueError, match="LeNet5 expects images"):
            models.summary(model, shape)
    assert (layers.Conv.__call__, nnx.Linear.__call__) == originals
    assert model(jnp.zeros((1, 28, 28, 1))).shape == (1, 10)


def field_by_gradient(model, shape, stage, cell):
    """What one unit sees, by differentiating it: the extent of the input cells that reach it."""
    model = nnx.clone(model)
    for _, module in nnx.iter_modules(model):
        for name, value in vars(module).items():
            if isinstance(value, nnx.Param):  # nothing cancels, nothing is rectified away
                value[...] = jnp.full_like(value[...], 0.01) if name == "kernel" else jnp.zeros_like(value[...])
    model.eval()

    def unit(x):
        return model(x, capture=True)[1][stage][0][cell].sum()

    seen = np.argwhere(np.asarray(jax.grad(unit)(jnp.ones(shape)))[0].sum(-1))
    return tuple((seen.max(0) - seen.min(0) + 1).tolist())


class Branches(models.Network):
    """A stem, then a long and a short way, added."""

    def __init__(self, rngs):
        self.stem = layers.Conv(1, 2, (3, 3), 2, rngs=rngs)
        self.long = layers.Conv(2, 2, (5, 3), kernel_dilation=2, rngs=rngs)
        self.short = layers.Conv(2, 2, (1, 1), rngs=rngs)
        self.pool = layers.AvgPool(3, 1, padding=1)
        self.last = layers.Conv(2, 2, (1, 1), rngs=rngs)
        self.input_shape = (None, None, 1)

    def stages(self, x):
        x = self.stem(x)
        yield "sum", (x := self.last(self.pool(self.short(x) + self.long(x))))
        yield "head", x.mean((1, 2))


def test_receptive_fields_follow_every_way_through_the_network():
    model = Branches(nnx.Rngs(0))
    fields = {row.name: row.receptive_field for row in models.summary(model, (1, 64, 64, 1)).rows}
    assert fields == {"stem": (3, 3), "short": (3, 3), "long": (19, 11), "pool": (23, 15), "last": (23, 15)}
    assert field_by_gradient(model, (1, 64, 64, 1), "sum", (16, 16)) == (23, 15)


def test_receptive_fields_of_the_papers():
    def last(name, **options):
        shape = (1, *models.CARDS[name].input_shape)
        model = nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0), **options))
        return [row.receptive_field for row in models.summary(model, shape).rows if row.receptive_field][-1]

    assert last("alexnet") == (195, 195)  # pool5, as computed by Araujo et al. 2019, "Computing receptive fields"
    assert last("vgg16") == (212, 212)
    assert last("resnet50", stride_on="first") == (483, 483)
    assert last("resnet50") == (427, 427)
    assert last("lenet5") == (16, 16)
    assert last("tdnn") == (7,)
    assert last("tdnn_wide") == (15,)
