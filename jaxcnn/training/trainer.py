"""The loop of `fit`: steps, rows of the log, evaluation, checkpoints."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jaxcnn.data.batches import Batch, batches_ahead
from jaxcnn.training.early_stopping import EarlyStopping
from jaxcnn.training.evaluation import evaluate_state
from jaxcnn.training.parallel import Layout, any_process
from jaxcnn.training.profiler import Profile
from jaxcnn.training.run_folder import RunFolder
from jaxcnn.training.setup import Setup
from jaxcnn.training.speed import Speedometer
from jaxcnn.training.state import TrainState
from jaxcnn.training.tally import Tally

Row = dict[str, Any]

_ASK_OTHERS = 10  # steps between agreements with other processes on whether to stop


class Trainer:
    """Takes the steps of a run, from its newest checkpoint on.

    Args:
      setup: the constant parts of the run.
      state: the state before the first step.
      run: the folder of the run.
      observer: a function that is called with every row of the log, on process 0.
      should_stop: a function that is called after every step, with several processes after every tenth; if it returns
        True, the run saves a checkpoint and ends.

    Attributes:
      state: the state after the last step.
      step: number of steps done.
      interrupted: whether `should_stop` ended the run.
      stopping: the best epoch so far.
    """

    def __init__(
        self,
        setup: Setup,
        state: TrainState,
        run: RunFolder,
        observer: Callable[[Row], None] | None,
        should_stop: Callable[[], bool],
    ):
        config = setup.config
        stopping = EarlyStopping(config.monitor or setup.task.METRICS[0], config.patience)
        tally = Tally(config.batch_size, setup.task)
        self.state, self._tally, self.stopping = run.restore(state, tally, stopping)
        self.step, self.interrupted = int(self.state.step), False
        self._setup, self._run, self._observer, self._should_stop = setup, run, observer, should_stop
        self._train_step = setup.step.compiled()
        self._speed = Speedometer(devices=setup.layout.devices, dtype=setup.dtype)
        self._compiled = False

    def train(self, *, workers: int | None = None, profile: int | None = None) -> None:
        """Takes steps until the last, early stopping or an interruption.

        Args:
          workers: number of processes that decode a stream; by default as in `data.batches_ahead`.
          profile: number of steps of which a trace is written.
        """
        setup, config = self._setup, self._setup.config
        rows = setup.layout.rows(config.batch_size, config.accumulate)
        with contextlib.ExitStack() as stack:
            trace = None if profile is None else stack.enter_context(self._profile(profile))
            ahead = batches_ahead(
                setup.train,
                config.batch_size,
                config.seed,
                self.step,
                setup.total_steps,
                rows=rows,
                workers=workers,
                sampling=config.sampling,
            )
            batches = on_devices(stack.enter_context(ahead), config.accumulate, setup.layout)
            while self.step < setup.total_steps and not self.interrupted and not self.stopping.over:
                self._take_step(batches, trace)
                self.interrupted = self._asked_to_stop()
                ended = self.step % setup.epoch_steps == 0
                due = ended or self.interrupted or self.step % config.checkpoint_every == 0
                if due or self.step % config.log_every == 0:
                    self._report(ended, due)
        best = self.stopping.step
        wanted = config.patience is not None or config.restore_best
        if wanted and best not in (None, self.step) and not self.interrupted:
            self.state = self._run.restore_step(self.state, best)

    def _take_step(self, batches: Iterator[list[Batch]], trace: Profile | None) -> None:
        with self._speed.waiting():
            parts = next(batches)
        if trace is not None:
            trace.before(self.step + 1)
        self.state, metrics = self._train_step.run(self.state, parts)
        self.step += 1
        if trace is not None:
            trace.after(self.step, metrics)
        self._tally.add(self.step, metrics)
        self._speed.step(self._setup.config.batch_size)
        if not self._compiled:  # the first step's time is that of the compiler
            self._compiled = True
            jax.block_until_ready(metrics)
            self._speed.flops = self._train_step.flops(self.state, parts)
            self._speed.restart()

    def _asked_to_stop(self) -> bool:
        """Whether any process wants to stop.

        All stop after the same step.
        """
        if jax.process_count() == 1:
            return self._should_stop()
        return self.step % _ASK_OTHERS == 0 and any_process(self._should_stop())

    def _report(self, ended: bool, due: bool) -> None:
        """Reads the metrics of the steps before.

        Writes a row of the log, and a checkpoint if one is due.

        Args:
          ended: whether an epoch ends with this step; then the held-out examples are evaluated.
          due: whether a checkpoint is due.
        """
        self._tally.settle(self._run.last_good())
        self._speed.pause()
        if ended or self.step % self._setup.config.log_every == 0:
            row = self._row(ended)
            if ended:
                self._tally.start_epoch()
                row |= self._evaluated()
                self.stopping.see(row)
            self._run.log(row)
            if self._observer is not None and jax.process_index() == 0:
                self._observer(row)
        if due:
            self._run.save(self._setup.layout.across(self.state), self._tally, self.stopping)
        self._speed.restart()

    def _row(self, ended: bool) -> Row:
        return {
            "kind": "epoch" if ended else "step",
            "step": self.step,
            "epoch": -(-self.step // self._setup.epoch_steps),
            **(self._tally.means() if ended else self._tally.last),
            "learning_rate": float(np.asarray(self._setup.schedule(self.step - 1))),
            **self._speed.row(),
        }

    def _evaluated(self) -> Row:
        """The results on held-out examples.

        They are those of the parameters, and of their moving averages.
        """
        setup, state = self._setup, self.state
        if setup.held_out is None:
            return {}
        evaluate = functools.partial(evaluate_state, setup.eval_step, setup.layout, task=setup.task)
        results = evaluate((state.params, state.rest), setup.held_out)
        row: Row = {"eval_split": setup.held_out.split, "eval_loss": results.loss}
        row |= {f"eval_{name}": value for name, value in results.metrics.items()}
        if state.average is not None:
            results = evaluate(state.trained(), setup.held_out)
            wanted = (setup.task.METRICS[0], setup.config.monitor)
            row["ema_loss"] = results.loss
            row |= {f"ema_{name}": value for name, value in results.metrics.items() if name in wanted}
        return row

    def _profile(self, steps: int) -> Profile:
        folder = self._run.path
        if folder is None:
            raise ValueError(f"`profile` needs a `folder` to write to; got {steps} without one.")
        writing = functools.partial(self._run.writing, "profile", "a trace")
        return Profile(folder / "profile", self.step + 3, steps, writing)


def on_devices(batches: Iterator[Batch], accumulate: int, layout: Layout) -> Iterator[list[Batch]]:
    """Batches in parts, moved to the devices one batch in advance."""

    def put(batch: Batch) -> list[Batch]:
        size = len(batch.labels) // accumulate
        cuts = [slice(start, start + size) for start in range(0, len(batch.labels), size)]
        return [layout.put(jax.tree.map(lambda a, cut=cut: a[cut], batch)) for cut in cuts]

    ready: list[Batch] | None = None
    for batch in batches:
        coming = put(batch)
        if ready is not None:
            yield ready
        ready = coming
    if ready is not None:
        yield ready
