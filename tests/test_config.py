"""Configuration: precedence, keys, values, round trip, device."""

from __future__ import annotations

import os
import pickle
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from recbole.utils import dataset_arguments

from recbole_painvrl.config import Config, config_hash, properties_folder
from recbole_painvrl.config_keys import RECBOLE_PROPERTIES, Loader, known_keys, read_yaml
from recbole_painvrl.errors import UserError

PACKAGE = Path(__file__).resolve().parent.parent / "recbole_painvrl"


def bpr(**settings: Any) -> Config:
    return Config("BPR", "ml-100k", config_dict=settings)


def data_folder(parent: Path, name: str, text: str = "") -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / f"{name}.inter").write_text("user_id:token\titem_id:token\nu\ti\n")
    if text:
        (folder / f"{name}.yaml").write_text(text)
    return folder


# ---- precedence


def test_command_line_over_dict_over_files_over_defaults(tmp_path: Path) -> None:
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text("epochs: 1\nseed: 1\nembedding_size: 1\nstopping_step: 1\n")
    second.write_text("epochs: 2\nseed: 2\nembedding_size: 2\n")
    config = Config("BPR", "ml-100k", [first, second], {"epochs": 3, "seed": 3}, {"epochs": "4"})
    assert [config[key] for key in ("epochs", "seed", "embedding_size", "stopping_step")] == [4, 3, 2, 1]
    assert config["eval_batch_size"] == read_yaml(properties_folder() / "overall.yaml")["eval_batch_size"]
    assert config["learner"] == "adam"  # RecBole's overall.yaml


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "marked.yaml"
    file.write_text("epochs: 3\nseed: 4\n", encoding="utf-8-sig")
    assert read_yaml(file) == {"epochs": 3, "seed": 4}


def test_yaml_beside_the_data_is_a_default(tmp_path: Path) -> None:
    data_folder(tmp_path, "mine", "epochs: 7\nseed: 8\n")
    config = Config("BPR", "mine", config_dict={"data_path": str(tmp_path), "seed": 9})
    assert (config["epochs"], config["seed"]) == (7, 9)
    data_folder(tmp_path, "wrong", "epoch: 7\n")
    with pytest.raises(UserError, match=r"unknown key 'epoch' \(from .*wrong\.yaml\)\. Did you mean 'epochs'"):
        Config("BPR", "wrong", config_dict={"data_path": str(tmp_path)})


def test_recboles_choice_for_a_model_type_wins_over_ours() -> None:
    config = Config("FM", "ml-100k")
    assert config["metrics"] == ["AUC", "LogLoss"] and config["valid_metric"] == "AUC"
    assert config["eval_args"]["mode"] == {"valid": "labeled", "test": "labeled"}


def test_sys_argv_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["prog", "--seed=7", "--node-ip-address=1.2.3.4"])
    assert bpr(seed=3)["seed"] == 3


def test_model_and_dataset_from_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("model: BPR\n")
    config = Config(config_file_list=[file], command_line={"dataset": "ml-100k"})
    assert (config["model"], config["dataset"], config.model_class.__name__) == ("BPR", "ml-100k", "BPR")
    with pytest.raises(UserError, match="no dataset is named"):
        Config("BPR")


# ---- keys


@pytest.mark.parametrize(
    ("arguments", "origin"),
    [
        ({"config_dict": {"learing_rate": 1}}, "parameter dictionary"),
        ({"command_line": {"learing_rate": "1"}}, "command line"),
        ({"config_file_list": "c.yaml"}, "c.yaml"),
    ],
)
def test_unknown_keys_are_refused(arguments: dict[str, Any], origin: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text("learing_rate: 1\n")
    with pytest.raises(UserError, match=rf"'learing_rate' \(from .*{origin}\)\. Did you mean 'learning_rate'\?"):
        Config("BPR", "ml-100k", **arguments)


def test_keys_of_other_models_are_known() -> None:
    assert {"n_environments", "n_layers", "time-aware", "tail_ratio", "local_rank", "kg_reverse_r"} <= known_keys()
    assert bpr(n_environments=4)["n_environments"] == 4


def test_two_configs_of_one_process_are_alike(tmp_path: Path) -> None:
    before = list(dataset_arguments)
    first = bpr()
    data_folder(tmp_path, "other", "epochs: 7\n")
    Config("FM", "other", config_dict={"data_path": str(tmp_path)})
    second = bpr()
    assert list(dataset_arguments) == before
    assert first.parameters == second.parameters and first.plain() == second.plain()
    assert yaml.safe_load("1e-4") == "1e-4"  # RecBole changes this for everybody


def test_every_key_of_our_properties_is_read() -> None:
    """A key that nobody reads is a promise that nobody keeps."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    recbole_keys = set(read_yaml(RECBOLE_PROPERTIES / "overall.yaml"))
    files = [properties_folder() / "overall.yaml", *(properties_folder() / "model").glob("*.yaml")]
    unread = {
        f"{path.name}: {key}"
        for path in files
        for key in set(read_yaml(path)) - recbole_keys
        if not re.search(rf"[\"']{re.escape(key)}[\"']", source)
    }
    assert not unread


# ---- values


def test_texts_are_yaml_and_never_code(tmp_path: Path) -> None:
    config = Config(
        "BPR",
        "ml-100k",
        config_dict={"metrics": "['Recall', 'NDCG']", "use_gpu": "False", "field_separator": "\t"},
        command_line={
            "topk": "[5, 10]",
            "learning_rate": "1e-4",
            "train_neg_sample_args": "{'distribution':'popularity','sample_num':2}",
            "user_inter_num_interval": "[5,inf)",
            "clip_grad_norm": "None",
            "data_path": "__import__('os').getcwd()",
        },
    )
    assert config["topk"] == [5, 10] and config["learning_rate"] == 1e-4 and config["use_gpu"] is False
    assert config["metrics"] == ["Recall", "NDCG"] and config["field_separator"] == "\t"
    assert config["train_neg_sample_args"]["sample_num"] == 2
    assert config["user_inter_num_interval"] == "[5,inf)" and config["clip_grad_norm"] is None
    assert config.plain()["data_path"].endswith("__import__('os').getcwd()")


@pytest.mark.parametrize(("text", "groups"), [("3", 3), ("modality", "modality")])
def test_a_key_of_texts_and_numbers_takes_both(text: str, groups: str | int) -> None:
    assert Config("PaInvRL", "ml-100k", command_line={"mask_groups": text})["mask_groups"] == groups


@pytest.mark.parametrize("text", ["1e-4", "1.5e3", "-2E+1", ".5e1", "1.0", "3"])
def test_numbers_of_yaml(text: str) -> None:
    assert yaml.load(text, Loader=Loader) == float(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": "many"}, "epochs: expected a whole number from 0, found 'many' .from the parameter dictionary"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"learning_rate": 0}, "learning_rate: expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"use_gpu": "maybe"}, "use_gpu: expected True or False"),
        ({"learner": "adma"}, "learner: expected one of adam, "),
        ({"seed": -1}, "seed: expected a whole number from 0"),
        ({"topk": [10, 0]}, "topk: expected whole numbers above 0"),
        ({"topk": "[10"}, "topk: cannot read"),
        ({"topk": []}, "topk"),
        ({"metrics": ["Recal"]}, "no metric 'Recal'.*Did you mean 'Recall'"),
        ({"metrics": ["Recall", "AUC"]}, "not both"),
        ({"valid_metric": "MRR@5"}, r"valid_metric: 'MRR@5' is not among the results.*NDCG@20"),
        ({"eval_args": {"splitt": None}}, "unknown key 'splitt'.*Did you mean 'split'"),
        ({"eval_args": {"split": {"RS": [0.8, 0.2]}}}, "eval_args.split"),
        ({"eval_args": {"mode": "uni"}}, "eval_args.mode"),
        ({"benchmark_filename": ["train", "test"]}, "benchmark_filename: expected a list of at least three"),
        ({"save_dataset": True}, "pickled data sets"),
        ({"embedding_size": "wide"}, "embedding_size: expected a number"),
        ({"state": object()}, "state: expected a number, text, list or dict, found object"),
    ],
)
def test_wrong_values_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bpr(**settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "NDCG@20"),
        ({"topk": 5}, "NDCG@5"),
        ({"topk": [50, 5]}, "NDCG@50"),
        ({"metrics": ["Hit"], "topk": [5]}, "Hit@5"),
        ({"metrics": "GAUC"}, "GAUC"),
        ({"topk": [5], "valid_metric": "mrr@5"}, "mrr@5"),
    ],
)
def test_valid_metric_follows_metrics_and_topk(settings: dict[str, Any], expected: str) -> None:
    assert bpr(**settings)["valid_metric"] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "'a' is there twice"),
        ("- 1\n", "key: value"),
        ("a: [\n", "line 2"),
        ("a: !!python/name:os.sep\n", "YAML"),
    ],
)
def test_broken_files_are_told_by_name(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=rf"broken\.yaml.*{message}"):
        Config("BPR", "ml-100k", [file])
    with pytest.raises(UserError, match="does not exist"):
        Config("BPR", "ml-100k", [tmp_path / "none.yaml"])


# ---- data


def test_ml_100k_is_in_the_wheel_unless_there_is_an_own_one(tmp_path: Path) -> None:
    settings = {"data_path": str(tmp_path)}
    assert "dataset_example" in Config("BPR", "ml-100k", config_dict=settings)["data_path"]
    folder = data_folder(tmp_path, "ml-100k")
    assert Config("BPR", "ml-100k", config_dict=settings)["data_path"] == str(folder)


def test_unknown_data_set_lists_what_is_there(tmp_path: Path) -> None:
    data_folder(tmp_path, "tiktok")
    with pytest.raises(UserError, match=r"no data set 'ticktok'.*holds tiktok.*Did you mean 'tiktok'"):
        Config("BPR", "ticktok", config_dict={"data_path": str(tmp_path)})
    with pytest.raises(UserError, match="does not exist"):
        Config("BPR", "x", config_dict={"data_path": str(tmp_path / "none")})
    assert sorted(os.listdir(tmp_path)) == ["tiktok"]  # nothing was downloaded


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no model 'LightGNC'.*Did you mean 'LightGCN'"):
        Config("LightGNC", "ml-100k")


# ---- device


def test_use_gpu_is_honored_and_the_environment_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert bpr()["device"].type == "cuda"
    assert bpr(use_gpu=False)["device"].type == "cpu"
    assert bpr(gpu_id=None)["device"].type == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert bpr(gpu_id="")["device"].type == "cpu"
    assert bpr(gpu_id=[0, 1])["gpu_id"] == "0,1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


# ---- round trip


@pytest.mark.parametrize("model", ["BPR", "PaInvRL", "MultiVAE", "NeuMF", "EASE", "FM"])
def test_plain_makes_the_same_configuration(model: str, tmp_path: Path) -> None:
    config = Config(model, "ml-100k", command_line={"topk": "[5]", "seed": "4"})
    plain = config.plain()
    again = Config(config_dict=plain)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(plain, sort_keys=False))
    read = Config(config_file_list=[file])
    assert again.plain() == plain == read.plain()
    assert config_hash(again) == config_hash(config) == config_hash(read)
    assert {**again.final_config_dict, "data_path": ""} == {**config.final_config_dict, "data_path": ""}


def test_plain_after_negatives_were_turned_off() -> None:
    config = bpr(train_neg_sample_args=None)
    assert config["train_neg_sample_args"]["distribution"] == "none"
    assert Config(config_dict=config.plain())["train_neg_sample_args"]["distribution"] == "none"


def test_hash_ignores_places_and_nothing_else(tmp_path: Path) -> None:
    same = config_hash(bpr())
    assert same == config_hash(bpr(output_dir="elsewhere", show_progress=False, gpu_id="", state="error"))
    assert re.fullmatch("[0-9a-f]{8}", same)
    others = [bpr(seed=1), bpr(learning_rate=0.01), bpr(metric_decimal_place=4), Config("NeuMF", "ml-100k")]
    assert len({same, *map(config_hash, others)}) == 5


def test_a_younger_key_leaves_the_hash_as_it_was_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that has a key more finds the finished runs of one that had not."""
    at_rest, changed = (Config("ERM", "ml-100k", config_dict={"new_item_length": length}) for length in (1.0, 0.5))
    younger = config_hash(at_rest)
    assert config_hash(changed) != younger
    before = {key: value for key, value in at_rest.plain().items() if key != "new_item_length"}
    monkeypatch.setattr(Config, "plain", lambda self: before)
    assert config_hash(at_rest) == younger


def test_hash_knows_the_data_by_their_files(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        data_folder(tmp_path / parent, "d")
    a, b = (Config("BPR", "d", config_dict={"data_path": str(tmp_path / parent)}) for parent in ("a", "b"))
    assert config_hash(a) == config_hash(b)
    with open(tmp_path / "b" / "d" / "d.inter", "a") as file:
        file.write("u\tj\n")
    assert config_hash(a) != config_hash(b)


@pytest.mark.parametrize(("model", "counts"), [("BPR", False), ("CFKG", True)])
def test_a_knowledge_graph_counts_for_models_that_read_it(tmp_path: Path, model: str, counts: bool) -> None:
    """RecBole's wheel has one beside its MovieLens, a user's own copy has none."""
    data_folder(tmp_path, "d")
    config = Config(model, "d", config_dict={"data_path": str(tmp_path)})
    before = config_hash(config)
    (tmp_path / "d" / "d.kg").write_text("head_id:token\trelation_id:token\ttail_id:token\n")
    assert (config_hash(config) != before) == counts


def test_config_can_be_pickled() -> None:
    config = bpr(topk=[5])
    again = pickle.loads(pickle.dumps(config))
    assert again.plain() == config.plain() and again["device"] == config["device"]


def test_arguments_are_not_changed() -> None:
    settings = {"eval_args": {"mode": "uni10"}, "topk": "[5]", "train_neg_sample_args": {"sample_num": 3}}
    before = pickle.dumps(settings)
    config = bpr(**settings)
    assert pickle.dumps(settings) == before
    assert config["eval_args"]["mode"] == {"valid": "uni10", "test": "uni10"}


@pytest.mark.parametrize("key", ["local_rank", "world_size", "nproc", "ip", "port", "offset"])
def test_keys_of_a_process_are_the_launchers_alone(tmp_path: Path, key: str) -> None:
    file = tmp_path / "several.yaml"
    file.write_text(f"{key}: 2\n")
    told = rf"the key '{key}' \(from %s\) is set by .*; leave it out, and give --nproc=N .* or start .* by torchrun"
    with pytest.raises(UserError, match=told % ".*several.yaml"):
        Config("MF", "ml-100k", [file])
    with pytest.raises(UserError, match=told % "the command line"):
        Config("MF", "ml-100k", command_line={key: "0"})
    with pytest.raises(UserError, match=told % "the parameter dictionary"):
        Config("MF", "ml-100k", config_dict={key: 2})
    data_folder(tmp_path, "mine", f"{key}: 2\n")
    with pytest.raises(UserError, match=told % ".*mine.yaml"):
        Config("MF", "mine", config_dict={"data_path": str(tmp_path)})


def test_processes_meet_on_the_cpu() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"local_rank": 0, "offset": 0, "world_size": 1, "nproc": 1, "ip": "127.0.0.1", "port": port}
    with pytest.raises(UserError, match="--nproc: BPR is trained in one process only"):
        bpr(use_gpu=False, **place)
    try:
        config = Config("MF", "ml-100k", config_dict={"use_gpu": False, **place})
        assert torch.distributed.get_backend() == "gloo"
        assert config["single_spec"] is True and config["device"].type == "cpu"
        assert not set(place) & set(config.plain())
    finally:
        torch.distributed.destroy_process_group()
