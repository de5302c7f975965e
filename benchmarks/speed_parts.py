"""What ``benchmarks/speed.py`` measures: this package's data and models, and RecBole's own classes on the same data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import recbole.trainer
from recbole.config import Config as StockConfig
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.dataset import Dataset
from recbole.evaluator.collector import Collector
from recbole.sampler import Sampler
from recbole.utils import InputType

from benchmarks.problem import Problem
from recbole_painvrl.config import Config
from recbole_painvrl.experiment import Prepared, prepare
from recbole_painvrl.quick_start import configure
from recbole_painvrl.utils import create_dataset, get_trainer

STOCK_EVAL_BATCH = 4096  # RecBole's default


def best(part: Callable[[], object], times: int = 3) -> float:
    """Returns the least CPU seconds of a few calls."""
    seconds = []
    for _ in range(times):
        started = process_time()
        part()
        seconds.append(process_time() - started)
    return min(seconds)


@dataclass(frozen=True)
class Stage:
    """A model of this package, its data and its trainer, before the first epoch."""

    config: Config
    data: Prepared
    trainer: Any

    @classmethod
    def of(cls, model: str, settings: dict[str, Any], folder: str) -> Stage:
        """Makes data, model and trainer; nothing is recorded."""
        config = configure(config_dict={**settings, "model": model, "output_dir": folder, "checkpoint_dir": folder})
        data = prepare(config)
        trainer = get_trainer(config)(config, data.model)
        trainer.eval_collector.data_collect(data.train)
        return cls(config, data, trainer)

    def environment_settings(self, method: str) -> Any:
        """Returns the settings of identification with another method."""
        return replace(self.trainer.rounds.environment_settings, method=method)


def problem_of(stage: Stage) -> Callable[[], Problem]:
    """Returns what makes the step benchmark's problem of a multimedia model's data, in any process."""
    train, loader = stage.data.train.dataset, stage.data.train
    features = stage.data.model.features().detach().clone()
    return partial(Problem, train.dataset_name, loader.users, loader.items, features, train.user_num)


def _sampler(stage: Stage) -> Sampler:
    built = [loader._dataset for loader in (stage.data.train, stage.data.valid, stage.data.test)]
    return Sampler(["train", "valid", "test"], built)


def stock_loader(stage: Stage) -> TrainDataLoader:
    """Returns RecBole's training loader with as many negatives, drawn as it draws them."""
    config = configure(config_dict=stage.config.plain())
    negatives = {"distribution": "uniform", "sample_num": stage.data.train.n_negatives, "alpha": 1.0}
    config["train_neg_sample_args"] = {**negatives, "dynamic": False, "candidate_num": 0}
    config["MODEL_INPUT_TYPE"] = InputType.PAIRWISE
    sampler = _sampler(stage).set_phase("train")
    return TrainDataLoader(config, stage.data.train.dataset, sampler, shuffle=True)


def stock_evaluation(stage: Stage, loader_class: type = FullSortEvalDataLoader) -> float:
    """Returns the CPU seconds of RecBole's own evaluation of the same model and users, with its default batch."""
    config = configure(config_dict={**stage.config.plain(), "eval_batch_size": STOCK_EVAL_BATCH})
    trainer = recbole.trainer.Trainer(config, stage.data.model)
    trainer.eval_collector = Collector(config)
    trainer.eval_collector.data_collect(stage.data.train)
    sampler = _sampler(stage).set_phase("valid")
    loader = loader_class(config, stage.data.valid._dataset, sampler, shuffle=False)
    return best(lambda: trainer.evaluate(loader, load_best_model=False), 1)


def feature_loading(stage: Stage, folder: Path) -> tuple[float, float]:
    """Returns the CPU seconds that the features add to reading a data set: ours from ``.npy``, RecBole's from text."""
    plain = configure(config_dict={**stage.config.plain(), "modalities": {}})
    ours = best(lambda: create_dataset(stage.config)) - best(lambda: create_dataset(plain))
    _write_text(stage, folder / "text")
    seconds = []
    for columns in (["item_id", "features"], ["item_id"]):
        config = _stock_config(folder, columns)
        seconds.append(best(lambda config=config: Dataset(config)))
    return max(ours, 1e-6), seconds[0] - seconds[1]


def _write_text(stage: Stage, folder: Path) -> None:
    """Writes the training interactions and all features as atomic files, the features as one ``float_seq`` column."""
    folder.mkdir()
    train, features = stage.data.train, stage.data.model.features().detach().numpy().astype(np.float32)
    pairs = "\n".join(f"{user}\t{item}" for user, item in zip(train.users.tolist(), train.items.tolist(), strict=True))
    (folder / "text.inter").write_text(f"user_id:token\titem_id:token\n{pairs}\n")
    rows = "\n".join(f"{item}\t{' '.join(map(str, features[item]))}" for item in range(1, len(features)))
    (folder / "text.item").write_text(f"item_id:token\tfeatures:float_seq\n{rows}\n")


def _stock_config(folder: Path, columns: list[str]) -> StockConfig:
    settings = {"data_path": str(folder), "load_col": {"inter": ["user_id", "item_id"], "item": columns}}
    return configure("BPR", "text", config_dict={**settings, "output_dir": str(folder), "modalities": {}})
