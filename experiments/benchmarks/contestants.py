"""What takes part in a row: something to call, and facts about it."""

import contextlib
import gc
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

Facts = dict[str, float | int]


class Contestant(NamedTuple):
    """Work to be timed."""

    call: Callable[[], Any]  # returns when the work is done
    facts: Facts  # parameters, temporaries_bytes, compile_s, flops: what is known


class LeftOut(Exception):
    """A contestant cannot take part; the message says why."""


class Program(NamedTuple):
    """A whole training step of a framework on JAX."""

    step: Callable[..., tuple[Any, jax.Array]]  # (state, images, labels) -> (state, loss)
    state: Any
    batch: tuple[Any, Any]
    parameters: int


def count(tree: Any) -> int:
    """The number of elements of all arrays of a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def timed_step(program: Program) -> Contestant:
    """Steps that go on from each other's state, which they use up."""
    began = time.perf_counter()
    lowered = jax.jit(program.step, donate_argnums=0).lower(program.state, *program.batch)
    costs: Any = lowered.cost_analysis()
    compiled = lowered.compile()
    facts: Facts = {"compile_s": time.perf_counter() - began, "parameters": program.parameters}
    facts |= _temporaries(compiled)
    if costs and costs.get("flops", 0) > 0:
        facts["flops"] = costs["flops"]
    batch = jax.device_put(program.batch)
    state, program = jax.device_put(program.state), program._replace(state=None)

    def call() -> None:
        nonlocal state
        state, loss = compiled(state, *batch)
        loss.block_until_ready()

    return Contestant(call, facts)


def timed_compilation(program: Program) -> Contestant:
    """Tracing and compiling a step, with nothing remembered; the state's arrays are given up at once."""
    shapes = jax.eval_shape(lambda *arguments: arguments, program.state, *program.batch)
    step, program = program.step, program._replace(state=None)

    def call() -> None:
        jax.clear_caches()
        jax.jit(lambda *arguments: step(*arguments), donate_argnums=0).lower(*shapes).compile()

    return Contestant(call, {"parameters": program.parameters})


def timed_function(function: Callable[..., Any], *arrays: Any) -> Contestant:
    """A function of arrays, compiled."""
    arrays = jax.device_put(arrays)
    compiled = jax.jit(function).lower(*arrays).compile()
    return Contestant(lambda: jax.block_until_ready(compiled(*arrays)), _temporaries(compiled))


def _temporaries(compiled: Any) -> Facts:
    analysis = compiled.memory_analysis()
    return {} if analysis is None else {"temporaries_bytes": analysis.temp_size_in_bytes}


def forget() -> None:
    """Gives back the memory of a row that is done."""
    gc.collect()
    jax.clear_caches()
    gc.collect()


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Leaves a contestant out that takes longer; where there are no alarms, it takes as long as it takes."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: Any) -> None:
        raise LeftOut(f"took more than {seconds:g} s to get ready")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
