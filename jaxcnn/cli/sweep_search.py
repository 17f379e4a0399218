"""Settings that are chosen from the results so far, by Optuna."""

import importlib.util
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcnn.cli import sweep_plan
from jaxcnn.cli.sweep_plan import Plan
from jaxcnn.cli.sweep_result import Summary, summaries
from jaxcnn.cli.sweep_trials import progress
from jaxcnn.training import METRICS


def check_installed() -> None:
    """Refuses to search with Optuna where it is not installed.

    Raises:
      ModuleNotFoundError: if it is not.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ModuleNotFoundError("`search` optuna needs Optuna: pip install 'jaxcnn[sweep]'.")


def decide(out: Path) -> bool:
    """Chooses the setting of the next trial.

    It is written into the plan.

    Args:
      out: folder of the sweep.

    Returns:
      Whether there was one to choose.
    """
    with sweep_plan.alone(out):
        content = sweep_plan.read(out)
        settings = content["settings"]
        plan, where = progress(out)
        if len(settings) >= plan.trials:
            return False
        settings[str(len(settings))] = suggested(plan, summaries(where), len(settings))
        sweep_plan.update(out, settings=settings)
    return True


def suggested(plan: Plan, results: Sequence[Summary], number: int) -> dict[str, Any]:
    """Returns the setting that Optuna's TPE sampler suggests.

    Args:
      plan: the plan.
      results: what was measured so far.
      number: number of the trial, which with the sweep's seed determines the random numbers.

    Returns:
      The setting.
    """
    import optuna  # pyright: ignore[reportMissingImports]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds: dict[str, Any] = {}
    for option in plan.space:
        if option.values:
            kinds[option.name] = optuna.distributions.CategoricalDistribution(tuple(range(len(option.values))))
        elif option.whole:
            kinds[option.name] = optuna.distributions.IntDistribution(int(option.low), int(option.high), option.log)
        else:
            kinds[option.name] = optuna.distributions.FloatDistribution(option.low, option.high, option.log)
    seed = random.Random(f"{plan.search_seed} {number}").getrandbits(32)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for result in results:
        if result.mean is not None:
            found = {
                option.name: option.values.index(result.setting[option.name])
                if option.values
                else result.setting[option.name]
                for option in plan.space
            }
            value = result.mean if METRICS[result.metric].rises else -result.mean
            study.add_trial(optuna.trial.create_trial(params=found, distributions=kinds, value=value))
    asked = study.ask(fixed_distributions=kinds).params
    return {
        option.name: option.values[asked[option.name]] if option.values else option.rounded(asked[option.name])
        for option in plan.space
    }
