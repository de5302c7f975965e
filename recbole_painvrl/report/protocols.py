"""Which runs of a data set can be compared: those of the same interactions, test sets and candidates.

A protocol is what decides on these: keys of the configuration, and the contents of the data files. What a model reads
beside the interactions (columns, modalities, features) may differ within one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_KEYS = """
    eval_args repeatable ood_split benchmark_filename test_candidates val_interval user_inter_num_interval
    item_inter_num_interval filter_inter_by_user_or_item rm_dup_inter threshold USER_ID_FIELD ITEM_ID_FIELD
    RATING_FIELD TIME_FIELD LABEL_FIELD
"""
KEYS = tuple(_KEYS.split())
INTERACTIONS = ".inter"
BY_CONTENT = ("cold_clusters", "environment", "feature_cluster", "group")  # kinds of ood_split that read other files
NO_VALUE = "~"
DIGITS = 8  # of a digest in a name
Settings = Mapping[str, str]


@dataclass
class Protocol:
    """What decides on whether runs can be compared.

    Attributes:
        keys: Texts of the values by key, the entries of a mapping under dotted keys.
        digests: Digests of the files that decide, as far as a run has recorded them.
    """

    keys: dict[str, str]
    digests: dict[str, str]

    def takes(self, other: Protocol) -> bool:
        """Returns whether the other one has these keys and no other contents of a file that both know."""
        return self.keys == other.keys and all(
            self.digests.get(file, digest) == digest for file, digest in other.digests.items()
        )

    @property
    def entries(self) -> dict[str, str]:
        """All of it as texts for a name."""
        return {**self.keys, **{file: digest[:DIGITS] for file, digest in self.digests.items()}}


def titles(dataset: str, runs: Sequence[tuple[Settings, Mapping[str, Any]]]) -> list[str]:
    """Returns the name under which each run of a data set is reported, the same for those that can be compared.

    Files are compared where both runs recorded them: an earlier version recorded none.

    Args:
        dataset: Name of the data set.
        runs: Of each run its settings as JSON texts by key, and the digest of each data file by its name.

    Returns:
        The data set's own name if all runs have one protocol; else with what differs, such as
        ``ml-100k (eval_args.mode.test=uni50)``.
    """
    protocols: list[Protocol] = []
    places = [_place(protocols, Protocol(_keys(settings), _digests(settings, data))) for settings, data in runs]
    if len(protocols) == 1:
        return [dataset] * len(runs)
    names = [f"{dataset} ({differs})" for differs in _differences(protocols)]
    return [names[place] for place in places]


def _place(protocols: list[Protocol], found: Protocol) -> int:
    """Returns the number of the first protocol that takes ``found``, a new one if none does, with its digests added."""
    for number, one in enumerate(protocols):
        if one.takes(found):
            one.digests.update(found.digests)
            return number
    protocols.append(found)
    return len(protocols) - 1


def _keys(settings: Settings) -> dict[str, str]:
    values = {key: _value(settings, key) for key in KEYS if key in settings}
    return {name: text for key, value in values.items() for name, text in _entries(key, value).items()}


def _value(settings: Settings, key: str) -> Any:
    value = json.loads(settings.get(key, "null"))
    return {"kind": value} if key == "ood_split" and isinstance(value, str) else value  # two ways to say the same


def _entries(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {name: value if isinstance(value, str) else json.dumps(value)}
    return {key: text for part, entry in value.items() for key, text in _entries(f"{name}.{part}", entry).items()}


def _digests(settings: Settings, data: Mapping[str, Any]) -> dict[str, str]:
    """Returns the digests of the files that decide: all of them where columns or features choose interactions."""
    split = _value(settings, "ood_split") or {}
    everything = split.get("kind") in BY_CONTENT or "val_interval" in settings
    return {file: str(digest) for file, digest in data.items() if everything or file.endswith(INTERACTIONS)}


def _differences(protocols: Sequence[Protocol]) -> Iterator[str]:
    """Yields of each protocol the entries in which it differs from another one."""
    names = sorted({name for one in protocols for name in one.entries if _differs(name, protocols)})
    for one in protocols:
        yield ", ".join(f"{name}={one.entries.get(name, NO_VALUE)}" for name in names)


def _differs(name: str, protocols: Sequence[Protocol]) -> bool:
    """A key that is missing is another value, a file that was not recorded is none."""
    is_file = any(name in one.digests for one in protocols)
    return len({one.entries.get(name) for one in protocols if name in one.entries or not is_file}) > 1
