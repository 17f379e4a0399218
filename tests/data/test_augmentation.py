"""Augmentations do what their names say, depend on key and example alone, and refuse what makes no sense."""

import colorsys
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from jaxcnn.data import AUGMENTATIONS, Augmentation
from jaxcnn.data.augmentation import colors, moves, rand_augment, warps

SHAPE = (12, 10, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (8, *SHAPE)).astype(np.uint8)
TARGETS = np.eye(8, dtype=np.float32)
FILL = (10.5, 20.5, 30.5)  # no byte
SPECS = {name: (name,) for name in AUGMENTATIONS} | {
    "crop": ("crop=9",),
    "random_resized_crop": ("random_resized_crop=8",),
    "cutout": ("cutout=5",),
    "pad_crop, reflect": ("pad_crop=4,reflect",),
    "color_jitter, hue": ("color_jitter=0.4,0.1",),
    "both mixtures": ("mixup", "cutmix"),
}


@functools.cache
def compiled(specs: tuple[str, ...], fill: tuple[float, ...] = FILL):
    return jax.jit(Augmentation(specs, fill).__call__)


def augmented(specs, images=IMAGES, *, fill=FILL, key=0, epoch=0, ids=None, targets=None, impl="threefry2x32"):
    ids = np.arange(len(images), dtype=np.int32) if ids is None else ids
    targets = TARGETS[: len(images)] if targets is None else targets
    found = compiled(tuple(specs), fill)(jax.random.key(key, impl=impl), np.int32(epoch), ids, images, targets)
    return tuple(map(np.asarray, found))


def test_every_name_is_described():
    assert list(AUGMENTATIONS) == sorted(AUGMENTATIONS)
    assert all(AUGMENTATIONS.values())
    assert {spec.split("=")[0] for specs in SPECS.values() for spec in specs} == set(AUGMENTATIONS)


@pytest.mark.parametrize("specs", SPECS.values(), ids=SPECS)
def test_the_same_key_gives_the_same_bits_and_another_key_others(specs):
    images, targets = augmented(specs)
    again = augmented(specs)
    np.testing.assert_array_equal(again[0], images, strict=True)
    np.testing.assert_array_equal(again[1], targets, strict=True)
    assert images.dtype == targets.dtype == np.float32
    assert images.shape == (8, *Augmentation(specs, FILL).resized(SHAPE))
    assert -1e-3 <= images.min() and images.max() <= 255 + 1e-3
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
    others = [augmented(specs, key=key)[0] for key in (1, 2)]
    assert all((other != images).any() for other in others) == (specs != ("alternating_flip",))
    if specs != ("alternating_flip",):
        assert (augmented(specs, ids=np.arange(8, 16, dtype=np.int32))[0] != images).any()


@pytest.mark.parametrize("specs", SPECS.values(), ids=SPECS)
def test_neither_place_nor_company_matters(specs):
    images, targets = augmented(specs)
    ids = np.arange(8, dtype=np.int32)
    rolled = augmented(specs, np.roll(IMAGES, 4, 0), ids=np.roll(ids, 4), targets=np.roll(TARGETS, 4, 0))
    np.testing.assert_array_equal(rolled[0], np.roll(images, 4, 0))
    np.testing.assert_array_equal(rolled[1], np.roll(targets, 4, 0))
    mine = ids < 4
    company = np.where(mine[:, None, None, None], IMAGES, 255 - IMAGES)
    other = augmented(specs, company, ids=np.where(mine, ids, ids + 50))
    np.testing.assert_array_equal(other[0][:4], images[:4])
    np.testing.assert_array_equal(other[1][:4], targets[:4])


@pytest.mark.parametrize("name", ["pad_crop", "mixup"])
def test_the_halves_of_a_batch_give_what_the_whole_gives(name):
    images, targets = augmented((name,))
    for half in (slice(0, 4), slice(4, 8)):
        part = augmented((name,), IMAGES[half], ids=np.arange(8, dtype=np.int32)[half], targets=TARGETS[half])
        np.testing.assert_allclose(part[0], images[half], atol=1e-3)
        np.testing.assert_allclose(part[1], targets[half], atol=1e-6)


def test_any_generator_draws_for_each_example():
    images, _ = augmented(("shift",), impl="rbg")
    part, _ = augmented(("shift",), IMAGES[4:], ids=np.arange(4, 8, dtype=np.int32), impl="rbg")
    np.testing.assert_array_equal(part, images[4:])


@pytest.mark.parametrize("name", ["pad_crop", "mixup"])
def test_a_batch_spread_over_devices_gives_the_same(name):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.NamedSharding(mesh, jax.P("data"))
    ids = np.arange(8, dtype=np.int32)
    args = (jax.random.key(0), np.int32(0), *jax.device_put((ids, IMAGES, TARGETS), spread))
    images, targets = compiled((name,))(*args)
    expected = augmented((name,))
    np.testing.assert_allclose(images, expected[0], atol=1e-3)
    np.testing.assert_allclose(targets, expected[1], atol=1e-6)
    assert images.sharding.spec[0] == "data", "no device gathers the batch"


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 1), (np.float32, 3)])
@pytest.mark.parametrize("specs", SPECS.values(), ids=SPECS)
def test_gray_and_color_bytes_and_floats_keep_to_the_interface(specs, dtype, channels):
    augmentation = Augmentation(specs, (1.0,))
    images, targets = jax.eval_shape(
        jax.jit(augmentation.__call__),
        jax.random.key(0),
        jax.ShapeDtypeStruct((), np.int32),
        jax.ShapeDtypeStruct((5,), np.int32),
        jax.ShapeDtypeStruct((5, 11, 14, channels), dtype),
        jax.ShapeDtypeStruct((5, 3), np.float32),
    )
    assert (images.dtype, targets.dtype) == (np.float32, np.float32)
    assert images.shape == (5, *augmentation.resized((11, 14, channels)))
    assert targets.shape == (5, 3)


def test_without_names_nothing_changes():
    plain = Augmentation()
    images, targets = plain(jax.random.key(0), 0, np.arange(8), IMAGES, TARGETS)
    np.testing.assert_array_equal(images, IMAGES.astype(np.float32), strict=True)
    np.testing.assert_array_equal(targets, TARGETS, strict=True)
    words = np.arange(6, dtype=np.int32).reshape(2, 3)
    np.testing.assert_array_equal(plain(jax.random.key(0), 0, np.arange(2), words, TARGETS[:2])[0], words, strict=True)
    assert plain.center(words) is words and plain.resized((3,)) == (3,)


def test_it_is_a_static_argument():
    once = Augmentation(["flip"], [1])
    assert once == Augmentation(("flip",), (1.0,)) and hash(once) == hash(Augmentation(("flip",), (1.0,)))
    call = jax.jit(lambda augmentation, *args: augmentation(*args), static_argnums=0)
    args = (jax.random.key(0), np.int32(0), np.arange(8, dtype=np.int32), IMAGES, TARGETS)
    np.testing.assert_array_equal(call(once, *args)[0], augmented(("flip",))[0])


def test_augmentations_are_applied_in_order():
    found, _ = augmented(("shift", "cutout=3"))
    hidden = (found == np.array(FILL, np.float32)).all(-1)
    assert hidden.sum((1, 2)).max() > 9, "what the shift uncovered and the square"
    other, _ = augmented(("cutout=3", "shift"))
    assert (found != other).any()


def test_each_augmentation_draws_for_itself():
    """Two flips by one draw would be none."""
    ids = np.arange(64, dtype=np.int32)
    found, _ = augmented(("flip", "flip"), np.repeat(IMAGES, 8, 0), ids=ids, targets=np.repeat(TARGETS, 8, 0))
    turned = (found != np.repeat(IMAGES, 8, 0)).any((1, 2, 3))
    assert 16 < turned.sum() < 48


def test_flips_are_mirror_images_of_about_half():
    images, targets = augmented(("flip",))
    flipped = [(image == mine[:, ::-1]).all() for image, mine in zip(images, IMAGES, strict=True)]
    kept = [(image == mine).all() for image, mine in zip(images, IMAGES, strict=True)]
    assert all(np.logical_xor(flipped, kept)) and 0 < sum(flipped) < 8
    np.testing.assert_array_equal(targets, TARGETS)


def test_flips_alternate_by_epoch_and_not_by_key():
    first, second, third = (augmented(("alternating_flip",), epoch=epoch, key=epoch)[0] for epoch in (0, 1, 2))
    np.testing.assert_array_equal(second, first[:, :, ::-1])
    np.testing.assert_array_equal(third, first)
    flipped = (first == IMAGES[:, :, ::-1]).all((1, 2, 3))
    assert ((first == IMAGES).all((1, 2, 3)) ^ flipped).all() and 0 < flipped.sum() < 8


def offsets(image, padded):
    """Where in the padded picture an image was cut."""
    height, width = image.shape[:2]
    rows, columns = (padded.shape[0] - height + 1), (padded.shape[1] - width + 1)
    every = itertools.product(range(rows), range(columns))
    return [(i, j) for i, j in every if (image == padded[i : i + height, j : j + width]).all()]


@pytest.mark.parametrize(
    ("spec", "pad", "border"), [("pad_crop", 4, "fill"), ("pad_crop=4,reflect", 4, "reflect"), ("shift", 2, "fill")]
)
def test_crops_lie_in_the_padded_picture(spec, pad, border):
    found = []
    for key in range(8):
        for image, mine in zip(augmented((spec,), key=key)[0], IMAGES.astype(np.float32), strict=True):
            if border == "reflect":
                padded = np.pad(mine, [(pad, pad), (pad, pad), (0, 0)], mode="reflect")
            else:
                padded = np.tile(np.array(FILL, np.float32), (12 + 2 * pad, 10 + 2 * pad, 1))
                padded[pad:-pad, pad:-pad] = mine
            (place,) = offsets(image, padded)
            found.append(place)
    for axis in (0, 1):
        assert {place[axis] for place in found} == set(range(2 * pad + 1)), "every offset comes"


def test_a_resized_part_is_pillow_s(random):
    noise = random.uniform(0, 255, (40, 30)).astype(np.float32)
    for top, left, height, width in ((0, 0, 40, 30), (3.3, 1.7, 20.5, 26.1), (25.0, 10.2, 5.6, 6.4)):
        corner, extent = np.array([top, left], np.float32), np.array([height, width], np.float32)
        found = moves.resized_part(jnp.asarray(noise)[..., None], corner, extent, 12)
        box = (left, top, left + width, top + height)
        expected = Image.fromarray(noise).resize((12, 12), Image.Resampling.BILINEAR, box=box)
        np.testing.assert_allclose(found[..., 0], np.asarray(expected), atol=0.05)


def test_random_parts_have_their_area_and_aspect():
    keys = jax.random.split(jax.random.key(0), 300)
    part = jax.jit(jax.vmap(lambda key, least: moves.random_part(key, 40, 30, least), (0, None)))
    for least in (0.08, 1.0):
        corners, extents = map(np.asarray, part(keys, least))
        assert (corners >= 0).all() and (corners + extents <= np.array([40, 30]) + 1e-3).all()
        areas, aspects = extents.prod(1) / 1200, extents[:, 1] / extents[:, 0]
        if least < 1:
            assert least <= areas.min() < 0.12 and 0.9 < areas.max() <= 1
            assert 0.749 <= aspects.min() < 0.78 and 1.28 < aspects.max() <= 1.334
            assert np.ptp(corners[:, 0]) > 25 and np.ptp(corners[:, 1]) > 16
        else:
            assert areas.min() > 0.7, "a part that fits nowhere is cut"


def test_a_random_resized_crop_is_taken_from_the_picture():
    found, _ = augmented(("random_resized_crop=8",), np.full((8, *SHAPE), (40, 90, 140), np.uint8))
    np.testing.assert_allclose(found, np.broadcast_to((40, 90, 140), found.shape), atol=1e-2)


def test_evaluation_sees_the_middle():
    augmentation = Augmentation(("random_resized_crop=4", "flip"))
    assert augmentation.resized((12, 10, 3)) == (4, 4, 3)
    for images in (IMAGES, jnp.asarray(IMAGES)):
        middle = augmentation.center(images)
        assert middle.dtype == np.uint8
        np.testing.assert_array_equal(middle, IMAGES[:, 4:8, 3:7])
    np.testing.assert_array_equal(Augmentation(("flip", "mixup")).center(IMAGES), IMAGES)


@pytest.mark.parametrize("side", [4, 5])
def test_a_cutout_is_one_square_of_the_fill(side):
    whole = 0
    for key in range(4):
        for image, mine in zip(augmented((f"cutout={side}",), key=key)[0], IMAGES, strict=True):
            hidden = (image == np.array(FILL, np.float32)).all(-1)
            np.testing.assert_array_equal(image[~hidden], mine[~hidden])
            rows, columns = np.flatnonzero(hidden.any(1)), np.flatnonzero(hidden.any(0))
            assert hidden.sum() == len(rows) * len(columns) and np.ptp(rows) < side and np.ptp(columns) < side
            for places, size in ((rows, 12), (columns, 10)):
                assert len(places) == side or places[0] == 0 or places[-1] == size - 1, "cut by the edge alone"
            whole += hidden.sum() == side**2
    assert 0 < whole < 32


@pytest.mark.parametrize("count", [8, 7])
def test_mixup_mixes_pictures_as_targets(count):
    images, targets = augmented(("mixup",), IMAGES[:count])
    mine = IMAGES[:count].astype(np.float64).reshape(count, -1)
    np.testing.assert_allclose(images.reshape(count, -1), targets[:, :count].astype(np.float64) @ mine, atol=1e-2)
    for i, row in enumerate(targets):
        j = i ^ 1 if i ^ 1 < count else i
        assert set(np.flatnonzero(row)) <= {i, j}
    assert (targets[-1, count - 1] == 1) == (count == 7), "an odd last one stays alone"


def test_mixup_s_shares_follow_beta():
    shares = np.stack([np.diag(augmented(("mixup",), key=key)[1]) for key in range(40)])
    assert abs(shares.mean() - 0.5) < 0.07
    assert abs(shares.var() - 1 / 5.6) < 0.02, "1 / (4 (2 alpha + 1))"


def test_cutmix_pastes_a_box_and_its_share():
    seen = set()
    for key in range(3):
        images, targets = augmented(("cutmix",), key=key)
        for i, (image, row) in enumerate(zip(images, targets, strict=True)):
            pasted = (image == IMAGES[i ^ 1]).all(-1)
            np.testing.assert_array_equal(image[~pasted], IMAGES[i][~pasted])
            assert pasted.sum() == pasted.any(1).sum() * pasted.any(0).sum()
            np.testing.assert_allclose(row[i ^ 1], pasted.mean(), atol=1e-6)
            np.testing.assert_allclose(row[i], 1 - pasted.mean(), atol=1e-6)
            seen.add(int(pasted.sum()))
    assert len(seen) > 8


PHOTO = np.asarray(
    Image.fromarray(np.random.default_rng(1).integers(20, 220, (5, 6, 3)).astype(np.uint8)).resize((30, 24))
)
ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
    "sharpness": ImageEnhance.Sharpness,
}


@pytest.mark.parametrize("name", ENHANCERS)
def test_factors_mean_what_they_mean_in_pillow(name):
    factors = np.array([0, 0.1, 0.7, 1, 1.9], np.float32)
    found = getattr(colors, name)(jnp.asarray(np.tile(PHOTO, (5, 1, 1, 1)), jnp.float32), factors)
    for image, factor in zip(found, factors, strict=True):
        expected = np.asarray(ENHANCERS[name](Image.fromarray(PHOTO)).enhance(float(factor)), np.float32)
        np.testing.assert_allclose(image, expected, atol=2)


PILLOW = {
    "posterize": (lambda x: colors.posterize(x, 3), lambda image: ImageOps.posterize(image, 3), 0),
    "solarize": (lambda x: colors.solarize(x, 100.0), lambda image: ImageOps.solarize(image, 100), 0),
    "equalize": (colors.equalize, ImageOps.equalize, 0),
    "autocontrast": (colors.autocontrast, ImageOps.autocontrast, 1),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PILLOW)
def test_operations_on_values_are_pillow_s(name, channels):
    ours, theirs, tolerance = PILLOW[name]
    dark, flat = (PHOTO // 3)[..., :channels], np.full_like(PHOTO, 77)[..., :channels]
    pictures = [PHOTO[..., :channels], dark, flat]
    for picture, found in zip(pictures, ours(jnp.asarray(np.stack(pictures), jnp.float32)), strict=True):
        expected = np.asarray(theirs(Image.fromarray(picture.squeeze()))).reshape(picture.shape)
        np.testing.assert_allclose(found, expected.astype(np.float32), atol=tolerance)


def test_hue_turns_as_in_hsv():
    turns = np.array([-0.5, -0.1, 0, 0.25], np.float32)
    found = colors.hue(jnp.asarray(np.tile(PHOTO[:4, :5], (4, 1, 1, 1)), jnp.float32), turns)
    for image, turn in zip(found, turns, strict=True):
        for place in np.ndindex(4, 5):
            hue, saturation, value = colorsys.rgb_to_hsv(*(PHOTO[place] / 255))
            expected = colorsys.hsv_to_rgb((hue + float(turn)) % 1, saturation, value)
            np.testing.assert_allclose(image[place], np.array(expected) * 255, atol=0.05)


def test_jitter_stays_in_its_bounds():
    specs = SPECS["color_jitter, hue"]  # 0.4 and 0.1
    found, _ = augmented(specs, np.full((8, *SHAPE), 100, np.uint8))
    levels = found[:, 0, 0, 0]
    assert np.ptp(found.reshape(8, -1), 1).max() < 1e-3, "contrast, saturation and hue leave a gray field"
    assert 60 <= levels.min() < 90 < 110 < levels.max() <= 140
    red, _ = augmented(specs, np.full((8, *SHAPE), (120, 60, 60), np.uint8))
    hues = np.array([(colorsys.rgb_to_hsv(*(image[0, 0] / 255))[0] + 0.5) % 1 - 0.5 for image in red])
    assert -0.1 <= hues.min() < -0.03 < 0.03 < hues.max() <= 0.1
    spread = np.ptp(red[:, 0, 0], 1) / levels
    assert spread.min() < 0.5 < 0.7 < spread.max(), "saturation changes too"


@jax.jit
def _warp(matrix, move):
    images, fill = jnp.asarray(PHOTO, jnp.float32)[None], jnp.array([1.0, 2.0, 3.0])
    return warps.warp(images, *warps.affine_places(matrix, move, *PHOTO.shape[:2]), fill)[0]


def warped(matrix, move=(0.0, 0.0)):
    return np.asarray(_warp(*(jnp.asarray(value, jnp.float32)[None] for value in (matrix, move))))


def test_a_rotation_is_pillow_s():
    one = jnp.zeros(1)
    found = warped(warps.matrices(one + np.radians(25), one, one)[0])
    expected = Image.fromarray(PHOTO).rotate(25, Image.Resampling.BILINEAR, fillcolor=(1, 2, 3))
    frame = Image.fromarray(np.pad(np.full((20, 26), 255, np.uint8), 2))  # Pillow repeats the outermost pixels
    inside = np.asarray(frame.rotate(25, Image.Resampling.BILINEAR)) == 255
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found[inside], np.asarray(expected, np.float32)[inside], atol=2)
    np.testing.assert_allclose(found[0, 0], (1, 2, 3), atol=1e-4)


def test_shears_are_pillow_s():
    none, height, width = jnp.zeros(1), 24, 30
    inner = np.s_[8:16, 8:22]
    for found, data in (
        (warped(warps.matrices(none, none + 0.3, none)[0]), (1, -0.3, 0.3 * height / 2, 0, 1, 0)),
        (warped(warps.matrices(none, none, none + 0.3)[0]), (1, 0, 0, -0.3, 1, 0.3 * width / 2)),
    ):  # Pillow takes the map from new (x, y) to old
        expected = Image.fromarray(PHOTO).transform((30, 24), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found[inner], np.asarray(expected, np.float32)[inner], atol=2)


def test_a_move_shows_the_fill():
    found = warped(np.eye(2), (3, -2))
    np.testing.assert_allclose(found[3:, :-2], PHOTO[:-3, 2:], atol=1e-4)
    np.testing.assert_allclose(found[:3], np.tile((1.0, 2, 3), (3, 30, 1)), atol=1e-4)


def ramps(size: int) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return np.tile(np.stack([rows, columns, 0 * rows], -1), (8, 1, 1, 1))


def test_affine_keeps_its_bounds():
    turned, _ = augmented(("affine=20,0,0,0",), ramps(28))
    inner = turned[:, 9:19, 9:19]
    down, right = np.diff(inner[..., 0], axis=1).mean((1, 2)), np.diff(inner[..., 0], axis=2).mean((1, 2))
    np.testing.assert_allclose(down**2 + right**2, 1, rtol=1e-4)
    angles = np.degrees(np.arctan2(right, down))
    assert 10 < np.abs(angles).max() <= 20 and angles.min() < 0 < angles.max()
    found, _ = augmented(("affine=0,0,0.2,0.1",), ramps(28))
    sizes = 1 / np.diff(found[:, 9:19, 14, 0], axis=1).mean(1)
    assert 0.8 <= sizes.min() < 0.95 < 1.05 < sizes.max() <= 1.2
    moved = (13.5 - (found[:, 13, 13, :2] + found[:, 14, 14, :2]) / 2) * sizes[:, None]
    assert moved.min() < -1 and 1 < moved.max() and np.abs(moved).max() <= 2.8


def test_an_elastic_field_is_smooth_and_as_strong_as_asked():
    given = ramps(40)
    inner = slice(12, 28)
    field = (augmented(("elastic=34,4",), given)[0] - given)[:, inner, inner, :2]
    expected = 34 / np.sqrt(3) / (2 * np.sqrt(np.pi) * 4)  # the deviation of noise after a Gaussian of sigma 4
    assert 0.7 * expected < field.std() < 1.3 * expected
    assert np.diff(field, axis=1).std() < 0.25 * field.std()


def test_each_of_the_fourteen_operations():
    names = rand_augment.OPERATIONS
    pictures = jnp.asarray(np.tile(PHOTO, (14, 1, 1, 1)), jnp.float32)
    signed, fill = jnp.full(14, 0.6), jnp.array([1.0, 2.0, 3.0])
    found = jax.jit(rand_augment.apply, static_argnums=3)(pictures, np.arange(14, dtype=np.int32), signed, 0.6, fill)
    one, factor = jnp.zeros(1), np.array([1.54], np.float32)
    expected = {
        "identity": PHOTO,
        "shear_x": warped(warps.matrices(one, one + 0.18, one)[0]),
        "shear_y": warped(warps.matrices(one, one, one + 0.18)[0]),
        "translate_x": warped(np.eye(2), (0, 8)),
        "translate_y": warped(np.eye(2), (7, 0)),
        "rotate": warped(warps.matrices(one + np.radians(18), one, one)[0]),
        "posterize": np.asarray(ImageOps.posterize(Image.fromarray(PHOTO), 6)),
        "solarize": np.asarray(ImageOps.solarize(Image.fromarray(PHOTO), 102)),
        "autocontrast": colors.autocontrast(pictures[:1])[0],
        "equalize": np.asarray(ImageOps.equalize(Image.fromarray(PHOTO))),
    } | {name: getattr(colors, name)(pictures[:1], factor)[0] for name in ENHANCERS}
    assert set(expected) == set(names)
    for name, image in zip(names, found, strict=True):
        np.testing.assert_allclose(image, np.asarray(expected[name], np.float32), atol=1e-2, err_msg=name)


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        (("cutuot=3",), ("cutuot=3", "affine", "shift")),
        (("",), ("got ''",)),
        (("flip=2",), ("flip=2", "no value")),
        (("mixup=1,2",), ("mixup=1,2", "at most 1 value")),
        (("affine=1,0,0,0,0",), ("at most 4 values",)),
        (("pad_crop=0",), ("pad_crop=0", "whole number from 1")),
        (("pad_crop=2.5",), ("pad_crop=2.5", "whole number")),
        (("pad_crop=four",), ("pad_crop=four", "whole number")),
        (("pad_crop=",), ("pad_crop=", "whole number")),
        (("pad_crop=4,mirror",), ("pad_crop=4,mirror", "fill or reflect")),
        (("mixup=0",), ("mixup=0", "alpha")),
        (("mixup=nan",), ("mixup=nan", "alpha")),
        (("cutmix=inf",), ("cutmix=inf", "alpha")),
        (("color_jitter=0.4,0.6",), ("hue", "0 to 0.5")),
        (("rand_augment=2,11",), ("magnitude", "0 to 10")),
        (("rand_augment=0",), ("operations",)),
        (("elastic=34,0",), ("sigma",)),
        (("flip", "mixup=0.3", "pad_crop=3"), ("mixup=0.3", "pad_crop=3", "follow")),
        ("flip", ("flip", "sequence")),
    ],
    ids=str,
)
def test_bad_names_and_values_are_refused_in_one_sentence(specs, said):
    with pytest.raises(ValueError) as caught:
        Augmentation(specs)
    message = str(caught.value)
    assert all(part in message for part in said), message
    assert message.endswith(".") and "\n" not in message


@pytest.mark.parametrize("fill", [(), (-1.0,), (256.0,), (float("nan"),)], ids=str)
def test_a_fill_is_bytes(fill):
    with pytest.raises(ValueError, match="`fill` must hold values from 0 to 255; got"):
        Augmentation(("flip",), fill)


@pytest.mark.parametrize(
    ("spec", "fill", "shape", "said"),
    [
        ("random_resized_crop=11", (0,), SHAPE, "`random_resized_crop=11` must fit into the picture; got pictures of"),
        ("random_resized_crop", (0,), (32, 32, 3), "must fit"),
        ("cutout=11", (0,), SHAPE, "must fit"),
        ("pad_crop=10,reflect", (0,), SHAPE, "must fit"),
        ("shift=10", (0,), SHAPE, "must fit"),
        ("color_jitter", (0,), (8, 8, 2), "1 or 3 channels; got 2"),
        ("rand_augment", (0,), (8, 8, 4), "1 or 3 channels; got 4"),
        ("flip", (0, 1), SHAPE, "one for each of the 3 channels"),
        ("flip", (0,), (20,), "pictures \\(H, W, C\\); got"),
    ],
)
def test_pictures_that_do_not_suit_are_refused(spec, fill, shape, said):
    augmentation = Augmentation((spec,), fill)
    with pytest.raises(ValueError, match=said):
        augmentation.resized(shape)
    images = np.zeros((8, *shape), np.uint8)
    with pytest.raises(ValueError, match=said):
        augmentation(jax.random.key(0), 0, np.arange(8), images, TARGETS)
    if len(shape) == 3:
        with pytest.raises(ValueError, match=said):
            augmentation.center(images)
