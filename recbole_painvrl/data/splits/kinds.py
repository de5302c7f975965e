"""Each kind of split: which interactions of a data set it holds out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.data.splits.clusters import cluster_items
from recbole_painvrl.data.splits.environment import find_environments
from recbole_painvrl.data.splits.group import hold_values
from recbole_painvrl.data.splits.items import draw_clusters, draw_items, release
from recbole_painvrl.data.splits.latest import hold_latest
from recbole_painvrl.data.splits.popularity import hold_uniform
from recbole_painvrl.data.splits.raw import find_column, read_times
from recbole_painvrl.data.splits.rules import Assigned, assign_sets
from recbole_painvrl.data.splits.source import Source
from recbole_painvrl.errors import UserError
from recbole_painvrl.randomness import derive_seed

Settings = Mapping[str, Any]
KEPT_OF_A_USER = 0.2


@dataclass(frozen=True)
class Held:
    """What a kind holds out.

    Attributes:
        rows: [n] whether an interaction is held out.
        whole_items: Whether items are held out with all their interactions.
        details: What was drawn or found, as plain data.
    """

    rows: NDArray[Any]
    whole_items: bool = False
    details: dict[str, Any] = field(default_factory=dict)


def split_source(source: Source, settings: Settings) -> tuple[Assigned, dict[str, Any]]:
    """Splits a data set.

    Args:
        source: The data set.
        settings: From :func:`recbole_painvrl.data.splits.settings.resolve_split`. Their seed is the only one used.

    Returns:
        Where each interaction goes, and what was drawn.

    Raises:
        UserError: The data lack what the kind needs, or a set would be empty.
    """
    held = _HOLD[settings["kind"]](source, settings)
    assigned = assign_sets(
        source.table,
        held.rows,
        source.table.in_sets(settings["sets"]),
        held.whole_items,
        settings["cold_users"] == "keep",
        settings["validation_share"],
        _random(settings, "validation"),
    )
    return assigned, held.details


def _random(settings: Settings, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(settings["seed"], f"ood_split:{purpose}"))


def _popularity(source: Source, settings: Settings) -> Held:
    eligible = source.table.in_sets(settings["sets"])
    random = _random(settings, "popularity")
    return Held(hold_uniform(source.table, eligible, settings["share"], settings["cap"], random))


def _time(source: Source, settings: Settings) -> Held:
    times = read_times(source.files, source.fields["time"], source.rows)
    rows = hold_latest(times, settings["share"])
    return Held(rows, details={"from": float(times[rows].min())})


def _items(source: Source, settings: Settings) -> Held:
    drawn = draw_items(source.table.n_items, settings["share"], _random(settings, "items"))
    return Held(drawn[source.table.items], True, {"items": source.items[drawn].tolist()})


def _drawn_clusters(source: Source, settings: Settings) -> Held:
    """Holds out clusters; equal settings give equal clusters to both kinds that use them."""
    seed = derive_seed(settings["seed"], "ood_split:kmeans") % 2**32
    cluster_of_item = cluster_items(source.features(settings), settings["clusters"], seed)
    clusters = draw_clusters(cluster_of_item, settings["share"], _random(settings, "clusters"))
    drawn = np.isin(cluster_of_item, clusters)
    sizes = np.bincount(cluster_of_item, minlength=settings["clusters"]).tolist()
    details = {"clusters": clusters, "cluster_sizes": sizes, "items": source.items[drawn].tolist()}
    return Held(drawn[source.table.items], True, details)


def _rare_clusters(source: Source, settings: Settings) -> Held:
    held, table = _drawn_clusters(source, settings), source.table
    rows = release(table, held.rows, table.items, settings["keep"], _random(settings, "keep"))
    return Held(rows, False, held.details)


def _group(source: Source, settings: Settings) -> Held:
    suffix, separator = find_column(source.files, settings["field"])
    column = f"column {settings['field']} of .{suffix}"
    rows = hold_values(source.cells(suffix, settings["field"]), settings["values"], separator, column)
    keep = settings["keep"] if settings["keep"] is not None else KEPT_OF_A_USER * (suffix == "user")
    if keep > 0:
        units = source.table.items if suffix == "item" else source.table.users
        rows = _whole_pairs(source, rows)
        rows = release(source.table, rows, units, keep, _random(settings, "keep"))
    return Held(rows, suffix == "item" and keep == 0, {"column": f".{suffix}", "keep": keep})


def _whole_pairs(source: Source, rows: NDArray[Any]) -> NDArray[Any]:
    """Leaves out held rows whose pair is not held in another row."""
    table = source.table
    outside = np.bincount(table.pairs, weights=~rows, minlength=len(table.first_rows)) > 0
    whole: NDArray[Any] = rows & ~outside[table.pairs]
    return whole


def _environment(source: Source, settings: Settings) -> Held:
    labels = _environments(source, settings)
    names, sizes = np.unique(labels, return_counts=True)
    if len(names) < 2:
        raise UserError(f"ood_split: all interactions are of one environment ({names[0]}); two are needed")
    chosen = settings["values"] or [str(_random(settings, "environment").choice(names))]
    rows = hold_values(labels, chosen, None, f"column {settings['field']}")
    return Held(rows, False, {"held_out": chosen, "sizes": dict(zip(names.tolist(), sizes.tolist(), strict=True))})


def _environments(source: Source, settings: Settings) -> NDArray[Any]:
    """Returns the environment of each interaction as text, from a column or identified."""
    if settings["field"]:
        suffix, _ = find_column(source.files, settings["field"])
        return source.cells(suffix, settings["field"]).astype(str)
    features = source.features(settings)
    return find_environments(source.table, features, settings["environments"], settings["seed"]).astype(str)


_HOLD: dict[str, Callable[[Source, Settings], Held]] = {
    "popularity": _popularity,
    "time": _time,
    "feature_cluster": _rare_clusters,
    "cold_items": _items,
    "cold_clusters": _drawn_clusters,
    "group": _group,
    "environment": _environment,
}
