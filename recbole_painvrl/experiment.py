"""One run from a configuration to its folder: prepare, train, test, record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import yaml
from recbole.utils import init_seed, set_color

from recbole_painvrl.allocator import return_freed_memory
from recbole_painvrl.config import Config, config_hash, data_files
from recbole_painvrl.data.contents import check_same_data, data_contents
from recbole_painvrl.data.preparation import data_preparation, further_test_loaders, further_validation_loaders
from recbole_painvrl.data.splits.save import save_split
from recbole_painvrl.distributed import Lost, ranks
from recbole_painvrl.errors import UserError
from recbole_painvrl.evaluator.groupings import Groupings
from recbole_painvrl.evaluator.groups import groups_csv
from recbole_painvrl.logs import silence, start_logging, stop_logging
from recbole_painvrl.randomness import generators_kept, repeat_on
from recbole_painvrl.report.onlooker import Onlooker
from recbole_painvrl.report.records import DATA, PER_USER, RunFolder
from recbole_painvrl.report.summary import gaps, iid_ood_table
from recbole_painvrl.signals import Ending
from recbole_painvrl.surroundings import peak_rss_mb, versions
from recbole_painvrl.trainer.state import forget_optimizers
from recbole_painvrl.utils import create_dataset, get_trainer

# parameters, Adam's two moments, both kept models and the temporary copy of one of them
CHECKPOINT_COPIES = 3 * 3


class Interrupted(KeyboardInterrupt):
    """The user stopped a run that can be continued.

    Attributes:
        folder: The run's folder.
        status: The exit status: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, folder: Path, status: int = 130) -> None:
        super().__init__(f"interrupted; continue with --resume={folder}")
        self.folder, self.status = folder, status


@dataclass(frozen=True)
class Prepared:
    """Data and model of a configuration, made in RecBole's order from RecBole's seeds."""

    dataset: Any
    train: Any
    valid: Any
    test: Any
    model: torch.nn.Module


@dataclass(frozen=True)
class Trained:
    """What training left: data, trainer, the groups of test pairs, the best validation score and its result."""

    data: Prepared
    trainer: Any
    groupings: Groupings
    score: float
    valid: dict[str, float] | None


def run_folder(config: Config) -> Path:
    """Returns the folder of the run of ``config``: the same configuration and seed always get the same one."""
    name = f"{config['seed']}-{config_hash(config)}"
    return Path(config["output_dir"]) / config["dataset"] / config["model"] / name


def prepare(config: Config) -> Prepared:
    """Reads and splits the data and builds the model.

    The seed is set before the data set is made: splitting draws from the global generators, and another split would put
    test interactions into training.
    """
    logger = logging.getLogger()
    init_seed(config["seed"], config["reproducibility"])
    repeat_on(config["device"], config["reproducibility"])
    dataset = create_dataset(config)
    logger.info(dataset)
    train, valid, test = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = config.model_class(config, train._dataset).to(config["device"])
    logger.info(model)
    return Prepared(dataset, train, valid, test, model)


def execute(config: Config, saved: bool = True, verbose: bool = True, continued: Path | None = None) -> dict[str, Any]:
    """Runs ``config`` once, or returns what was recorded if that has been done before.

    Args:
        config: The configuration.
        saved: Whether to keep models; without them a run cannot be continued.
        verbose: Whether to log epochs.
        continued: The folder of the interrupted run to continue, or None for a new run.

    Returns:
        The content of ``result.json``.

    Raises:
        UserError: The folder holds an interrupted run, is in use or cannot be written; or the data are at fault.
        Interrupted: The user stopped the run.
        Lost: Another process of the run has ended.
    """
    run, processes = RunFolder(continued or run_folder(config)), ranks(config)
    if not processes.main:
        goes_on = processes.from_main(False)
        return _run(config, Onlooker(run.path), saved, False) if goes_on else run.read_json("result.json")
    check_same_data(run.path, data_files(config))
    if run.finished:
        processes.from_main(False)
        return _found(run)
    with held(run):
        if run.finished:  # by a process that held the folder until now
            processes.from_main(False)
            return _found(run)
        if run.started and not continued:
            raise UserError(
                f"{run.path} holds an interrupted run; continue it with --resume={run.path}, or delete it to start anew"
            )
        processes.from_main(True)
        return _run(config, run, saved, verbose)


@contextmanager
def held(run: RunFolder) -> Iterator[None]:
    """Keeps other processes out of a run's folder, and what it does to the global generators from the caller.

    Raises:
        UserError: The folder is in use or cannot be written.
        Interrupted: The user stopped what was done meanwhile.
        Lost: Another process of the run has ended meanwhile.
    """
    run.claim()
    try:
        with generators_kept():
            yield
    except Lost as lost:
        if run.started:
            raise Lost(f"; continue with --resume={run.path}") from lost
        raise
    except KeyboardInterrupt as interruption:
        if run.started:
            raise Interrupted(run.path, getattr(interruption, "status", 130)) from None
        raise
    finally:
        stop_logging()
        run.release()


def _found(run: RunFolder) -> dict[str, Any]:
    print(f"already done: {run.path}; delete it or change output_dir to run again")
    return run.read_json("result.json")


def train(
    config: Config, run: RunFolder, saved: bool, verbose: bool, validated: Callable[[int, float], None] | None = None
) -> Trained:
    """Trains a model from the start, or from where its folder was left, to its end; evaluates validation sets only.

    Arguments are those of :func:`execute`, and ``run``, the folder, which this process holds; ``validated`` is told the
    epoch and the best score so far after each validation of the final training. Scores of what comes before it, such as
    PaInvRL's warm-up, are of another model, which that training starts anew.
    """
    text = yaml.safe_dump(config.plain(), sort_keys=False, allow_unicode=True)
    config["checkpoint_dir"] = str(run.path)  # RecBole creates this folder, and would leave an empty one elsewhere
    processes = ranks(config)
    if processes.main:
        start_logging(config, config_hash(config))
    else:
        silence()
    logging.getLogger().info(config)
    data = prepare(config)
    if processes.main and getattr(data.dataset, "ood_split", None) is not None:
        save_split(data.dataset.ood_split, Path(config["output_dir"]) / "splits")
    run.check_space(CHECKPOINT_COPIES * _n_bytes(data.model) if saved else 0)
    trainer = get_trainer(config)(config, data.model)
    trainer.check_data(data.train)
    trainer.further_valid = further_validation_loaders(config, data.dataset, data.train, data.valid)
    groupings = Groupings(data.dataset, data.train._dataset, config["eval_groups"])
    if not run.started:  # what began on other data is not to be certified by what is there now
        run.write_json(DATA, data_contents(data_files(config)))
    run.write_text(run.config_file, text)  # not earlier: a run that never began leaves nothing to continue
    _begin(trainer, config, run)
    show = bool(config["show_progress"])

    def told(epoch: int, score: float) -> None:
        if validated and not trainer.is_preparation(epoch):
            validated(epoch, float(trainer.best_valid_score))

    return_freed_memory()  # of reading and splitting
    with Ending() as trainer.ending:
        score, valid = trainer.fit(data.train, data.valid, verbose, saved, show, told)
    return Trained(data, trainer, groupings, score, valid)


def _run(config: Config, run: RunFolder, saved: bool, verbose: bool) -> dict[str, Any]:
    trained = train(config, run, saved, verbose)
    data, trainer = trained.data, trained.trainer
    forget_optimizers(trainer)
    return_freed_memory()
    loaders = {"test": data.test, **further_test_loaders(config, data.dataset, data.train, data.valid)}
    tested = _test(run, data, trainer, saved, trained.groupings, loaders)
    trainer.write_artifacts(run)
    result = {
        **_identity(config),
        "valid_metric": config["valid_metric"].lower(),
        "best_valid_score": trained.score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": trained.valid,
        "test_result": tested["test_results"]["test"],
        **tested,
        **trainer.further_results(_whole_sets(data.valid, trainer, loaders)),
        "epochs": len(trainer.train_loss_dict),
        "seconds_train": round(trainer.seconds_train, 3),
        "seconds_eval": round(trainer.seconds_eval, 3),
        "peak_rss_mb": peak_rss_mb(),
        "n_parameters": sum(p.numel() for p in data.model.parameters() if p.requires_grad),
        "versions": versions(config["device"]),
    }
    _log_result(result)
    run.write_json("result.json", result)
    run.finish()
    return result


def _begin(trainer: Any, config: Config, run: RunFolder) -> None:
    """Puts the trainer at the start of a run, or at the point where it was interrupted if it was."""
    trainer.attach(run)
    if run.last_model.exists():
        trainer.resume_checkpoint(run.last_model)
    else:
        run.rewind(0)
        run.record("start", **_identity(config), config_hash=config_hash(config))


def _identity(config: Config) -> dict[str, Any]:
    return {key: config[key] for key in ("model", "dataset", "seed")}


def _test(
    run: RunFolder, data: Prepared, trainer: Any, saved: bool, groupings: Groupings, loaders: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Evaluates the best model on every test set and part of one, and stores the values of each user.

    Returns:
        ``test_results`` of whole sets, ``test_groups`` of their warm and cold parts, ``gap`` and ``groups``.
    """
    tests: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[str, Any]] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, loader in loaders.items():
        started = perf_counter()
        result = trainer.evaluate(loader, load_best_model=saved and not tests, show_progress=False)
        trainer.seconds_eval += perf_counter() - started
        per_user = trainer.per_user()
        sizes = _sizes(loader._dataset)
        run.record("test", test_set=name, result=result, **sizes)
        test_set, _, part = name.partition(":")
        if part:
            parts.setdefault(test_set, {})[part] = {**result, **sizes}
        else:
            tests[name] = result
            groups[name] = _groups(trainer, groupings, loader._dataset)
        tokens = data.dataset.id2token(data.dataset.uid_field, per_user.users)
        arrays[f"{name}/users"] = np.asarray(tokens, dtype=str)
        arrays.update({f"{name}/{metric}": values for metric, values in per_user.values.items()})
    run.write_arrays(PER_USER, arrays)
    run.write_text("groups.csv", groups_csv(groups))
    return {"test_results": tests, "test_groups": parts, "gap": gaps(tests), "groups": groups}


def _groups(trainer: Any, groupings: Groupings, part: Any) -> dict[str, Any]:
    """Returns the groups of the test set just evaluated; none if the run has no top-k metric."""
    lists = trainer.eval_collector.lists
    return {} if lists is None else {one.name: trainer.groups(one) for one in groupings.of(part, lists)}


def _whole_sets(valid: Any, trainer: Any, tests: Mapping[str, Any]) -> dict[str, Any]:
    whole = {name: loader for name, loader in tests.items() if ":" not in name}
    return {"valid": valid, **trainer.further_valid, **whole}


def _sizes(part: Any) -> dict[str, int]:
    return {"pairs": len(part), "users": len(np.unique(part.inter_feat[part.uid_field]))}


def _log_result(result: Mapping[str, Any]) -> None:
    logger = logging.getLogger()
    logger.info(set_color("best valid ", "yellow") + f": {result['best_valid_result']}")
    logger.info(set_color("test result", "yellow") + f": {result['test_result']}")
    logger.info(set_color("test results", "yellow") + ":\n" + iid_ood_table(result["test_results"]))


def _n_bytes(model: torch.nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
