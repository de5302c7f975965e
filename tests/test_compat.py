"""Each repair is shown to be needed: the test takes the missing piece away and sees RecBole fail without the repair."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import recbole.config
import scipy.sparse
import torch
from recbole.data.dataset import Dataset
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import Collector as StockCollector
from recbole.evaluator.metrics import NDCG

from recbole_painvrl import compat
from recbole_painvrl.compat import Collector, DatasetRepairs
from recbole_painvrl.compat.libraries import LIBRARY_REPAIRS, NUMPY_ALIASES
from recbole_painvrl.compat.models import RandomRepairs, repaired_model
from recbole_painvrl.config import Config
from recbole_painvrl.errors import UserError
from recbole_painvrl.utils import get_model

REPOSITORY = Path(__file__).resolve().parent.parent
ITEM_METRICS = ["ItemCoverage", "AveragePopularity", "GiniIndex", "TailPercentage", "ShannonEntropy"]


class RepairedDataset(DatasetRepairs, Dataset):
    """RecBole's data set with nothing but the repairs."""


@pytest.fixture
def bare_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy without the names that 1.24 and 2.0 removed."""
    for alias in NUMPY_ALIASES:
        monkeypatch.delattr(np, alias, raising=False)


def test_numpy_names(bare_numpy: None) -> None:
    with pytest.raises(AttributeError):
        recbole.config.Config("BPR", "ml-100k")
    with pytest.raises(AttributeError):
        NDCG({"topk": [1], "metric_decimal_place": 4}).metric_info(np.array([[1]]), np.array([1]))
    assert "numpy names" in compat.apply()
    config = Config("BPR", "ml-100k")
    assert NDCG(config).metric_info(np.array([[0, 1]]), np.array([1]))[0, 1] == pytest.approx(1 / np.log2(3))


def test_numpy_names_that_are_there_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "long", "untouched", raising=False)
    compat.apply()
    assert np.long == "untouched"


def test_second_call_changes_nothing() -> None:
    compat.apply()
    assert compat.apply() == []
    assert not any(repair.needed() for repair in LIBRARY_REPAIRS)


def test_process_that_only_unpickles_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "config.pickle"
    file.write_bytes(pickle.dumps(Config("BPR", "ml-100k")))
    code = (
        "import pickle, sys, numpy as np\n"
        "config = pickle.load(open(sys.argv[1], 'rb'))\n"
        "from recbole.evaluator.metrics import Hit, NDCG\n"
        "print(NDCG(config).metric_info(np.array([[1]]), np.array([1]))[0, 0])\n"
    )
    command = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "1.0", done.stderr


def test_dok_matrix_update(monkeypatch: pytest.MonkeyPatch) -> None:
    if any("_update" in vars(base) for base in scipy.sparse.dok_matrix.__mro__[1:]):
        pytest.skip("this scipy still has it, in a base class")
    monkeypatch.delattr(scipy.sparse.dok_matrix, "_update", raising=False)
    matrix = scipy.sparse.dok_matrix((2, 3), dtype=np.float32)
    with pytest.raises(AttributeError):
        matrix._update({(0, 1): 1})
    assert "scipy dok_matrix._update" in compat.apply()
    matrix._update({(0, 1): 1, (1, 2): 2})
    assert matrix.toarray().tolist() == [[0, 1, 0], [0, 0, 2]]


def test_amp_warning_is_silenced_in_the_trainer_alone() -> None:
    call = compile("import torch\ntorch.cuda.amp.GradScaler(enabled=False)", "caller", "exec")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FutureWarning):
            exec(call, {"__name__": "recbole.trainer.trainer"})
        compat.apply()
        exec(call, {"__name__": "recbole.trainer.trainer"})
        with pytest.raises(FutureWarning):
            exec(call, {"__name__": "anything.else"})


# ---- data sets


def write(folder: Path, **files: str) -> Path:
    """Writes ``t/t.<suffix>`` with columns separated by blanks in the text; ``_`` is an empty cell, ``+`` a blank."""
    (folder / "t").mkdir()
    for suffix, text in files.items():
        lines = [line.strip().replace(" ", "\t").replace("_\t", "\t") for line in text.strip().splitlines()]
        lines = [line.removesuffix("_").replace("+", " ") for line in lines]
        (folder / "t" / f"t.{suffix}").write_text("\n".join(lines).replace("!", "_") + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def item_config(tmp_path: Path) -> Config:
    write(
        tmp_path,
        inter="user!id:token item!id:token\nu1 a\nu1 b\nu2 a\nu2 c",
        item=(
            "item!id:token class:token year:float tags:token!seq numbers:float!seq\n"
            "a x 1 p+q 1+2+3\nb _ _ q 4\nc y 3 _ 7+8\nd x 5 p 9"
        ),
    )
    settings = {"data_path": str(tmp_path), "load_col": None, "normalize_all": False}
    return Config("BPR", "t", config_dict=settings)


def tensors(dataset: Dataset) -> dict[str, torch.Tensor]:
    dataset._change_feat_format()
    return {**dataset.inter_feat.interaction, **dataset.item_feat.interaction}


def test_filled_and_remapped_columns(item_config: Config) -> None:
    found = tensors(RepairedDataset(item_config))
    assert found["item_id"].tolist() == [0, 1, 2, 3, 4]
    assert found["class"].tolist() == [0, 1, 0, 2, 1]
    assert found["year"].tolist() == [3, 1, 3, 3, 5]  # padding and b get the mean of 1, 3 and 5
    assert found["tags"].tolist() == [[0, 0], [1, 2], [2, 0], [0, 0], [1, 0]]
    assert found["numbers"].tolist() == [[0, 0, 0], [1, 2, 3], [4, 0, 0], [7, 8, 0], [9, 0, 0]]


@pytest.mark.skipif(not pd.__version__.startswith("2."), reason="pandas 3 is what this simulates")
@pytest.mark.parametrize("normalize", [False, True])
def test_equal_under_the_rules_of_pandas_3(
    item_config: Config, monkeypatch: pytest.MonkeyPatch, normalize: bool
) -> None:
    item_config["normalize_all"] = normalize
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        expected = tensors(Dataset(item_config))
        with pd.option_context("mode.copy_on_write", True):
            monkeypatch.setattr(pd.Series, "agg", lambda self, function: function(self))
            with pytest.raises((AttributeError, TypeError, ValueError)):
                Dataset(item_config)
            found = tensors(RepairedDataset(item_config))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.skipif(not pd.__version__.startswith("2."), reason="stock RecBole fails under pandas 3")
def test_equal_to_recbole_on_ml_100k() -> None:
    columns = {
        "inter": ["user_id", "item_id", "rating", "timestamp"],
        "item": ["item_id", "movie_title", "release_year", "class"],
    }
    config = Config("BPR", "ml-100k", config_dict={"load_col": columns})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        expected = tensors(Dataset(config))
    found = tensors(RepairedDataset(config))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_rows_without_a_user_or_an_item_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inter = "user!id:token item!id:token mark:token\nu1 a 1\n_ b 2\nu2 b 3\nu2 _ 4\n_ _ 5\nu3 c 6\nu3 d 7"
    write(tmp_path, inter=inter, item="item!id:token class:token\na x\n_ y\nc z")
    keys = {"data_path": str(tmp_path), "load_col": None, "filter_inter_by_user_or_item": False}
    config = Config("BPR", "t", config_dict=keys)
    repaired = RepairedDataset(config)
    assert repaired.id2token("mark", repaired.inter_feat["mark"]).tolist() == ["1", "3", "6", "7"]
    assert (repaired.inter_feat[["user_id", "item_id"]] > 0).all(axis=None)
    assert repaired.item_feat["class"].tolist() == [0, 1, 0, 2, 0]  # padding, a, b, c, d
    monkeypatch.delattr(DatasetRepairs, "_filter_nan_user_or_item")
    assert (RepairedDataset(config).inter_feat["item_id"] == 0).any()


def test_bad_header_and_bad_number_name_the_file(tmp_path: Path) -> None:
    write(tmp_path, inter="user!id:token item!id:tokn\nu1 a")
    config = Config("BPR", "t", config_dict={"data_path": str(tmp_path), "load_col": None})
    with pytest.raises(UserError, match=r"t\.inter.*item_id:tokn"):
        RepairedDataset(config)
    (tmp_path / "t" / "t.inter").write_text("user_id:token\titem_id:token\trating:float\nu\ti\tfive\n")
    with pytest.raises(UserError, match=r"t\.inter.*five"):
        RepairedDataset(config)


def test_nothing_is_downloaded(item_config: Config) -> None:
    item_config["data_path"] += "-gone"
    with pytest.raises(UserError, match="nothing is downloaded"):
        RepairedDataset(item_config)


# ---- evaluation


def collected(collector: StockCollector) -> dict[str, float]:
    """Two users, four items and the padding; both are recommended item 1, then 2 or 3."""
    config = collector.config
    collector.data_struct.set("data.num_items", 5)
    collector.data_struct.set("data.num_users", 3)
    collector.data_struct.set("data.count_items", {1: 10, 2: 4, 3: 2, 4: 1})
    scores = torch.tensor([[-torch.inf, 9, 8, 1, 2], [-torch.inf, 9, 1, 8, 2]])
    collector.eval_batch_collect(scores, None, torch.tensor([0, 1]), torch.tensor([2, 4]))
    return Evaluator(config).evaluate(collector.get_data_struct())


def test_metrics_of_items() -> None:
    config = Config(
        "BPR", "ml-100k", config_dict={"metrics": [*ITEM_METRICS, "Hit"], "topk": [2], "valid_metric": "Hit@2"}
    )
    with pytest.raises(AttributeError, match="cpu"):
        collected(StockCollector(config))
    collector = Collector(config)
    results = collected(collector)
    assert results["itemcoverage@2"] == pytest.approx(3 / 5)
    assert results["averagepopularity@2"] == pytest.approx((10 + 4 + 10 + 2) / 4)
    assert results["hit@2"] == 0.5
    assert collected(collector) == results  # the counts stay, the lists of the first evaluation do not


# ---- single models


def test_random_scores_are_uniform_and_do_not_depend_on_the_batch() -> None:
    class Stub(RandomRepairs):
        n_items, _mix, USER_ID, ITEM_ID = 500, 12345, "user", "item"

        def __init__(self) -> None:
            """Needs no data set."""

    users = torch.arange(400)
    scores = Stub().full_sort_predict({"user": users}).view(400, 500)
    pairs = Stub().predict({"user": users, "item": torch.full((400,), 7)})
    assert torch.equal(pairs, scores[:, 7])
    assert scores.min() >= 0 and scores.max() < 1
    assert scores.mean().item() == pytest.approx(0.5, abs=0.005)
    assert scores.var().item() == pytest.approx(1 / 12, abs=0.002)
    assert torch.corrcoef(scores[:50]).fill_diagonal_(0).abs().max() < 0.2


def test_repaired_models_keep_their_name() -> None:
    assert get_model("NCL").__name__ == "NCL"
    assert repaired_model(get_model("BPR")) is get_model("BPR")
    assert get_model("NCL") is get_model("NCL")


@pytest.mark.parametrize("name", ["LightGBM", "XGBoost"])
def test_models_that_cannot_run_say_why(name: str) -> None:
    with pytest.raises(UserError, match="inside its own library"):
        get_model(name)


@pytest.mark.parametrize("asked", ["get_model('SASRec')", "model_names()"])
def test_models_leave_the_detection_of_anomalies_alone(asked: str) -> None:
    """In a fresh process, whose first look at RecBole's sequential models it is; a user's own choice stays."""
    script = (
        "import torch\n"
        "from recbole_painvrl.utils import get_model, model_names\n"
        f"{asked}\n"
        "assert not torch.is_anomaly_enabled()\n"
        "import recbole.model.sequential_recommender.sine\n"
        "torch.autograd.set_detect_anomaly(True, check_nan=False)\n"
        "get_model('GRU4Rec')\n"
        "assert torch.is_anomaly_enabled() and not torch.is_anomaly_check_nan_enabled()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_recbole_still_turns_the_detection_of_anomalies_on() -> None:
    """Once it does not, the repair can go."""
    script = "import torch, recbole.model.sequential_recommender\nassert torch.is_anomaly_enabled()"
    subprocess.run([sys.executable, "-c", script], check=True)
