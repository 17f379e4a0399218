"""One run: compiled ahead of time, and all of it on the device."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from flax import nnx
from jax import lax

from experiments.speedrun.network import SpeedNet, whitening_kernel
from jaxcnn import data, ops, training

RECIPE = training.RECIPES["airbench"].config
WHITENED_FROM = 5000  # pictures
EVALUATED = 2000  # pictures in a call
BIAS_EPOCHS = 3  # in which the first layer's bias learns
BIAS_FACTOR = 64  # how much faster biases of normalizations learn
LOOK = 5  # steps between Lookahead's looks
MUON_RATE = 0.05


class State(NamedTuple):
    """All that changes in a run."""

    step: jax.Array
    key: jax.Array
    params: nnx.State
    rest: nnx.State
    opt_state: Any
    slow: Any  # Lookahead's copy of parameters and running statistics


class Pictures(NamedTuple):
    """Examples on the device: uint8 pictures and int32 labels."""

    images: jax.Array
    labels: jax.Array


class Plan(NamedTuple):
    """What a run is made of; nothing of it changes."""

    classes: int
    features: int
    examples: int
    batch: int
    epochs: float
    width: float
    optimizer: str
    scaling: data.Scaling

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return max(1, int(self.epochs * self.epoch_steps))

    @property
    def epoch_steps(self) -> int:
        """Whole batches in an epoch."""
        return data.steps_per_epoch(self.examples, self.batch)


def optimizer_of(plan: Plan) -> optax.GradientTransformation:
    """SGD with Nesterov momentum, or Muon for the kernels of 3x3; biases faster, scales and whitening not at all."""
    steps, peak = plan.steps, round(0.23 * plan.steps)
    rise = optax.linear_schedule(0.2, 1.0, max(1, peak))
    shape = optax.join_schedules([rise, optax.linear_schedule(1.0, 0.07, max(1, steps - peak))], [peak])
    rate = RECIPE.learning_rate * plan.batch / RECIPE.batch_size

    def sgd(factor: float = 1.0, until: float = np.inf):
        def schedule(step):
            return factor * rate * shape(step) * (step < until)

        decay = optax.add_decayed_weights(RECIPE.weight_decay / factor)  # decays as much whatever the rate
        return optax.chain(decay, optax.sgd(schedule, RECIPE.momentum, nesterov=True))

    kernels = sgd()
    if plan.optimizer == "muon":
        matrix = optax.contrib.MuonDimensionNumbers((0, 1, 2), 3)
        kernels = optax.contrib.muon(
            lambda step: MUON_RATE * shape(step),
            beta=0.6,
            muon_weight_dimension_numbers=lambda params: jax.tree.map(lambda _: matrix, params),
        )

    def kind(path: Any, leaf: Any) -> str:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if "whiten" in name:
            return "early" if "bias" in name else "fixed"
        if "scale" in name:
            return "fixed"
        return "bias" if "bias" in name else "kernel" if leaf.ndim == 4 else "head"

    early = sgd(until=BIAS_EPOCHS * plan.epoch_steps)
    fixed = optax.set_to_zero()
    groups: Any = {"kernel": kernels, "head": sgd(), "bias": sgd(BIAS_FACTOR), "early": early, "fixed": fixed}
    return optax.partition(groups, lambda params: jax.tree_util.tree_map_with_path(kind, params))


class Run(NamedTuple):
    """The compiled parts of a run, and the seconds that compiling took."""

    begin: Callable[[jax.Array, Pictures], tuple[State, jax.Array]]  # the key, training pictures -> state, their order
    step: Callable[[State, Pictures, jax.Array], State]
    right: Callable[[State, Pictures, jax.Array], jax.Array]  # from a place on, how many of the next are right
    compile_s: float


def compiled(plan: Plan, train: Pictures, test: Pictures) -> Run:
    """Compiles a run ahead of time; the state is donated from step to step."""
    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    optimizer, augmentation = optimizer_of(plan), data.Augmentation(RECIPE.augment)

    def network(key: jax.Array) -> SpeedNet:
        return SpeedNet(plan.classes, plan.features, plan.width, dtype=dtype, rngs=nnx.Rngs(key))

    shape = nnx.eval_shape(network, jax.random.key(0))
    shape.eval()
    for_test = nnx.split(shape)[0]
    shape.train()
    for_training = nnx.split(shape)[0]

    def begin(key: jax.Array, train: Pictures) -> tuple[State, jax.Array]:
        own, shuffled, augmented = jax.random.split(key, 3)
        _, params, rest = nnx.split(network(own), nnx.Param, ...)
        some = train.images[:: max(1, plan.examples // WHITENED_FROM)]  # files may be in order of their classes
        params["whiten"]["kernel"][...] = whitening_kernel(plan.scaling(some))
        keys = jax.random.split(shuffled, -(-plan.steps // plan.epoch_steps))
        used = plan.epoch_steps * plan.batch
        order = jnp.concatenate([jax.random.permutation(key, plan.examples)[:used] for key in keys]).astype(jnp.int32)
        slow = jax.tree.map(jnp.copy, (params, rest))
        return State(jnp.int32(0), augmented, params, rest, optimizer.init(params), slow), order

    def step(state: State, train: Pictures, order: jax.Array) -> State:
        ids = lax.dynamic_slice(order, (state.step * plan.batch,), (plan.batch,))
        targets = jax.nn.one_hot(train.labels[ids], plan.classes)
        key, epoch = jax.random.fold_in(state.key, state.step), state.step // plan.epoch_steps
        images, targets = augmentation(key, epoch, ids, train.images[ids], targets)

        def loss_of(params: nnx.State):
            model = nnx.merge(for_training, params, state.rest, copy=True)
            logits = model(plan.scaling(images)).astype(jnp.float32)
            losses = ops.softmax_cross_entropy(logits, targets, label_smoothing=RECIPE.label_smoothing)
            return losses.mean(), nnx.split(model, nnx.Param, ...)[2]

        gradient, rest = jax.grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        fast, done = (optax.apply_updates(state.params, updates), rest), state.step + 1
        # every few steps the slow copy moves towards the fast one, each time less, which then starts from there
        share = 1 - 0.95**LOOK * (done / plan.steps) ** 3
        last = done == plan.steps
        looks = (done % LOOK == 0) | last
        slow = jax.tree.map(
            lambda old, new: jnp.where(looks, old + jnp.where(last, 0, share) * (new - old), old), state.slow, fast
        )
        params, rest = jax.tree.map(lambda old, new: jnp.where(looks, new, old), fast, slow)
        return State(done, state.key, params, rest, opt_state, slow)

    def right(state: State, test: Pictures, place: jax.Array) -> jax.Array:
        images, labels = (lax.dynamic_slice_in_dim(part, place, min(EVALUATED, len(part))) for part in test)
        model = nnx.merge(for_test, state.params, state.rest, copy=True)
        wide = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
        views = [images] + [wide[:, at : at + images.shape[1], at : at + images.shape[2]] for at in (0, 2)]
        logits = jnp.zeros((), jnp.float32)
        for view, weight in zip(views, (0.5, 0.25, 0.25), strict=True):
            for side in (view, view[:, :, ::-1]):
                logits += weight * model(plan.scaling(side)).astype(jnp.float32)
        return jnp.sum(jnp.argmax(logits, -1) == labels)  # filling has the label -1

    began = time.perf_counter()
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes, also where the user has forbidden it
        compiled_begin = jax.jit(begin).lower(jax.random.key(0), train).compile()
        shapes = jax.eval_shape(begin, jax.random.key(0), train)
        compiled_step = jax.jit(step, donate_argnums=0).lower(shapes[0], train, shapes[1]).compile()
        compiled_right = jax.jit(right).lower(shapes[0], test, jnp.int32(0)).compile()
    return Run(compiled_begin, compiled_step, compiled_right, time.perf_counter() - began)


def trial(run: Run, steps: int, seed: int, train: Pictures, test: Pictures, count: int) -> dict[str, float]:
    """One run: its seconds, without compilation, and its accuracy on the first `count` test pictures."""
    key = jax.block_until_ready(jax.random.key(seed))
    places = [jnp.int32(place) for place in range(0, len(test.labels), EVALUATED)]
    began = time.perf_counter()
    state, order = run.begin(key, train)
    for _ in range(steps):
        state = run.step(state, train, order)
    trained = jax.block_until_ready(state)
    seconds = time.perf_counter() - began
    found = sum(int(part) for part in [run.right(trained, test, place) for place in places])
    return {
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 4),
        "training_s": round(seconds, 4),
        "accuracy": round(found / count, 5),
    }
