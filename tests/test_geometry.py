"""Shapes of sliding windows."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import geometry
from jaxcnn.geometry import Window

axis = st.tuples(
    st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(0, 3), st.integers(1, 2)
)


@pytest.mark.parametrize(
    ("size", "window", "options", "expected"),
    [
        (32, 5, {}, 28),
        (7, 3, {"strides": 2}, 3),
        (7, 3, {"strides": 3}, 2),  # a remainder of 1 is left unread
        (227, 11, {"strides": 4}, 55),
        (224, 7, {"strides": 2, "padding": 3}, 112),
        (5, 3, {"padding": "SAME"}, 5),
        (5, 3, {"padding": "SAME", "strides": 2}, 3),
        (5, 4, {"padding": "LECTURE"}, 5),
        (5, 3, {"window_dilation": 2}, 1),
        (3, 3, {"input_dilation": 2, "padding": [(2, 2)]}, 7),
        (6, 2, {"padding": -1}, 3),
        (0, 3, {}, 0),
    ],
)
def test_output_sizes(size, window, options, expected):
    assert geometry.output_shape((size,), window, **options) == (expected,)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5])
def test_lecture_padding_is_k_minus_1_with_the_odd_row_on_top(window):
    ((low, high),) = geometry.resolve_padding("LECTURE", (9,), (window,))
    assert low + high == window - 1
    assert low - high == (window - 1) % 2
    assert geometry.output_shape((9,), window, padding="LECTURE") == (9,)


@given(axis)
def test_same_and_valid_are_those_of_lax(problem):
    size, window, stride, *_, dilation = problem
    for name in ("SAME", "VALID"):
        ours = geometry.resolve_padding(name, (size,), (window,), strides=stride, window_dilation=dilation)
        theirs = jax.lax.padtype_to_pads((size,), ((window - 1) * dilation + 1,), (stride,), name)
        assert list(ours) == list(theirs)


@given(axis)
def test_transposed_size_with_the_remainder_restores_the_input(problem):
    size, kernel, stride, low, high, dilation = problem
    window = Window((kernel,), (stride,), ((low, high),), (1,), (dilation,))
    if window.padded_shape((size,)) < window.extent:
        return
    restored = geometry.transposed_output_shape(
        window.output_shape((size,)),
        kernel,
        strides=stride,
        padding=[(low, high)],
        window_dilation=dilation,
        remainder=window.remainder((size,)),
    )
    assert restored == (size,)


@given(axis, st.integers(1, 3))
def test_the_adjoint_windows_have_the_sizes_of_input_and_kernel(problem, input_dilation):
    size, kernel, stride, low, high, dilation = problem
    window = Window((kernel,), (stride,), ((low - 1, high),), (input_dilation,), (dilation,))
    output = window.output_shape((size,))
    if output == (0,):
        return
    assert geometry.transposed_window(window, (size,)).output_shape(output) == (size,)
    assert geometry.tap_window(window, (size,)).output_shape((size,)) == (kernel,)


def test_a_remainder_may_go_up_to_below_the_dilation():
    options = {"strides": 2, "padding": 1, "window_dilation": 4}
    sizes = [geometry.transposed_output_shape((5,), 3, remainder=a, **options)[0] for a in range(4)]
    assert sizes == [15, 16, 17, 18]


@pytest.mark.parametrize(
    ("size", "window", "options", "expected"),
    [
        (10, 3, {"strides": 2}, ((0, 1), 5)),
        (9, 3, {"strides": 2}, ((0, 0), 4)),  # nothing is left
        (5, 2, {"strides": 3, "padding": 1}, ((1, 1), 2)),  # the window would begin behind the input
        (6, 2, {"strides": 3, "padding": 1}, ((1, 1), 3)),
        (5, 1, {"strides": 3}, ((0, 0), 2)),
        (3, 4, {"strides": 2}, ((0, 1), 1)),  # which fits only so
        (7, 2, {"strides": 3, "padding": ((-1, 0),), "window_dilation": 2}, ((-1, 0), 2)),
        (8, 2, {"strides": 3, "padding": ((-1, 0),), "window_dilation": 2}, ((-1, 2), 3)),
        (5, 3, {"strides": 2, "padding": "SAME"}, ((1, 1), 3)),
    ],
)
def test_sizes_counted_upwards(size, window, options, expected):
    found = geometry.resolve_window((size,), window, ceil_mode=True, **options)
    assert (found.padding[0], found.output_shape((size,))[0]) == expected


def test_counting_upwards_fits_no_window_that_has_no_cell():
    with pytest.raises(ValueError, match=r"the window must fit into the padded input, \(3,\); got a window of \(5,\)"):
        geometry.resolve_window((3,), 5, strides=2, ceil_mode=True)


def test_strict_refuses_a_remainder():
    assert geometry.resolve_window((7,), 3, strides=2, strict=True).strides == (2,)
    with pytest.raises(
        ValueError, match=r"`strides` must divide padded input minus window, \(7,\) - \(3,\); got \(3,\)."
    ):
        geometry.resolve_window((7,), 3, strides=3, strict=True)


def chain(*windows):
    return [Window((k,), (s,), ((p, p),), (1,), (d,)) for k, s, p, d in windows]


def test_receptive_field_of_textbook_chains():
    assert geometry.receptive_field([], rank=1).size == (1,)
    two = geometry.receptive_field(chain((3, 1, 1, 1), (3, 1, 1, 1)), rank=1)
    assert (two.size, two.jump, two.start) == ((5,), (1,), (0.0,))
    lenet = geometry.receptive_field(chain((5, 1, 2, 1), (2, 2, 0, 1), (5, 1, 0, 1), (2, 2, 0, 1)), rank=1)
    assert (lenet.size, lenet.jump) == ((16,), (4,))
    assert geometry.receptive_field(chain((3, 1, 0, 4)), rank=1).size == (9,)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)), max_size=4))
def test_receptive_field_is_what_a_unit_depends_on(layers):
    """Follows one unit back, cell by cell, and compares with size, jump and start."""
    windows = chain(*layers)
    field = geometry.receptive_field(windows, rank=1)
    for unit in (0, 1, 2):
        cells = {unit}
        for window in reversed(windows):
            (k,), (s,), ((p, _),), _, (d,) = window
            cells = {s * c + d * t - p for c, t in itertools.product(cells, range(k))}
        assert max(cells) - min(cells) + 1 == field.size[0]
        assert np.isclose((max(cells) + min(cells)) / 2, field.start[0] + unit * field.jump[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: geometry.output_shape((5, 5), (3, 3, 3)),
            r"`window_shape` must have one entry per spatial axis, here 2",
        ),
        (
            lambda: geometry.output_shape((5,), 6),
            r"the window must fit into the padded input, \(5,\); got a window of \(6,\)",
        ),
        (lambda: geometry.output_shape((5,), 3, strides=0), r"`strides` must be positive; got 0\."),
        (lambda: geometry.output_shape((5,), 3, padding="FULL"), r"`padding` must be one of SAME, VALID, LECTURE"),
        (lambda: geometry.output_shape((5,), 3, padding=1.5), r"`padding` must be a name, an integer, or"),
        (lambda: geometry.output_shape((5, 5), 3, padding=(1,)), r"for each of the 2 spatial axes"),
        (
            lambda: geometry.transposed_output_shape((5,), 3, strides=2, remainder=2),
            r"`remainder` must be below the stride, \(2,\), or the dilation, \(1,\); got \(2,\)\.",
        ),
        (
            lambda: geometry.transposed_output_shape((5,), 3, strides=2, remainder=3, window_dilation=3),
            r"`remainder` must be below the stride, \(2,\), or the dilation, \(3,\); got \(3,\)\.",
        ),
        (lambda: geometry.transposed_output_shape((5,), 3, padding="SAME"), r"must be integers; got 'SAME'"),
        (
            lambda: geometry.receptive_field([Window((3,), (1,), ((0, 0),), (2,), (1,))], 1),
            r"`input_dilation` must be 1",
        ),
        (
            lambda: geometry.receptive_field(chain((3, 1, 0, 1)), 2),
            r"every window must have 2 spatial axes; got \(3,\)",
        ),
        (
            lambda: geometry.expect_images((2, 28, 28), (28, 28, 1), "Net"),
            r"Net expects images of shape \(N, 28, 28, 1\); got",
        ),
        (
            lambda: geometry.expect_images((2, 5, 5, 3), (None, None, 1), "Net"),
            r"\(N, any, any, 1\); got \(2, 5, 5, 3\)",
        ),
    ],
)
def test_bad_shapes_get_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
