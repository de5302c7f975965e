"""Runs many configurations side by side, one thread each, and returns what their run folders recorded."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from recbole_painvrl.allocator import keep_freed_memory
from recbole_painvrl.experiment import run_folder
from recbole_painvrl.quick_start import configure, resume, run_recbole_painvrl
from recbole_painvrl.report.records import RunFolder


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Runs one configuration, or finds or continues its run, and returns its ``result.json`` and its folder."""
    torch.set_num_threads(1)
    keep_freed_memory()
    folder = RunFolder(run_folder(configure(config_dict=settings)))
    if folder.started and not folder.finished:
        resume(folder.path)
    else:
        run_recbole_painvrl(config_dict=settings)
    return {**folder.read_json("result.json"), "folder": str(folder.path)}


def run_all(settings: Sequence[dict[str, Any]], jobs: int) -> list[dict[str, Any]]:
    """Runs every configuration, ``jobs`` at a time, in processes of their own; returns their results in order."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        return list(pool.map(run, settings))


def run_cells(settings: Sequence[dict[str, Any]], n_seeds: int, jobs: int) -> Iterator[list[dict[str, Any]]]:
    """Runs every configuration as :func:`run_all` does; yields the results of each cell, ``n_seeds`` in a row."""
    found = run_all(settings, jobs)
    yield from (found[start : start + n_seeds] for start in range(0, len(found), n_seeds))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
