"""That `experiments/hand_vs_autodiff.py` forgets no op, and what it writes out for want of a twin."""

import jax
import numpy as np
import pytest

from experiments import hand_vs_autodiff
from jaxcnn import ops


def test_every_op_has_a_place():
    known = hand_vs_autodiff.places()
    hand_vs_autodiff.refuse_gaps(known)
    del known["blur_pool"], known["dropout"]
    with pytest.raises(ValueError, match="`places` must have all ops; it lacks blur_pool, dropout."):
        hand_vs_autodiff.refuse_gaps(known)


def test_both_rules_of_every_place_give_one_array():
    for label, place in hand_vs_autodiff.places().items():
        arrays = [jax.ShapeDtypeStruct(shape, np.float32) for shape in place.shapes]
        by_hand, by_jax = (jax.eval_shape(rule, *arrays) for rule in (place.hand, place.autodiff))
        assert (by_hand.shape, by_hand.dtype) == (by_jax.shape, by_jax.dtype), label


def test_unpooling_written_out(random):
    pooled, switches = random.normal(size=(2, 3, 2, 4)).astype(np.float32), random.integers(0, 4, (2, 3, 2, 4))
    found = hand_vs_autodiff._selected(switches, pooled)
    expected = ops.max_unpool(pooled, switches.astype(np.uint8), (6, 4), 2)
    np.testing.assert_array_equal(found, expected)


def test_differences_are_those_of_the_worst_gradient():
    exact = [np.array([2.0, -4.0]), np.zeros(2)]
    assert hand_vs_autodiff.difference([np.array([2.0, -3.0]), np.zeros(2)], exact) == 0.25
    assert hand_vs_autodiff.difference([exact[0], np.array([0.0, 0.5])], exact) == 0.5
