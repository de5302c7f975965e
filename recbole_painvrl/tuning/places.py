"""Where the trials of a search are made and where its files go: ``search.json`` keeps it for ``--resume``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import check_target
from recbole_painvrl.shapes import NUMBER, check_shape
from recbole_painvrl.tuning.record import ADVICE, FILE, Record

_KEPT = {
    "address": str | None,
    "storage_path": str | None,
    "max_concurrent": int | None,
    "cpus": int | None,
    "gpus": NUMBER | None,
    "output_file": str | None,
}


@dataclass(frozen=True)
class Places:
    """Where the trials of a search are made; nothing here changes what is tried.

    Attributes:
        parallel: How many at once on this machine; None for a number that suits it.
        address: Ray: address of the cluster; None starts one here.
        storage_path: Ray: folder of Ray's own files; None for the search's folder.
        max_concurrent: Ray: how many at once at the most; None for as many as there is room for.
        cpus: Ray: cores of each trial; None for the threads that it has.
        gpus: Ray: GPUs of each trial, or a share of one; None for one where there are any.
        output_file: File of RecBole's text form; None for one in the search's folder.
    """

    parallel: int | None = None
    address: str | None = None
    storage_path: str | None = None
    max_concurrent: int | None = None
    cpus: int | None = None
    gpus: float | None = None
    output_file: str | None = None

    def check(self) -> None:
        """Makes sure that files can be put where the user says, before any trial is made.

        Raises:
            UserError: They cannot; the message names the flag.
        """
        if self.output_file:
            check_target(self.output_file, "--output_file")
        if self.storage_path and "://" in self.storage_path:
            raise UserError(
                f"--storage_path={self.storage_path}: is an address, expected a folder; give one that all machines of "
                "the cluster share, such as one that is mounted from there"
            )
        if self.storage_path:
            check_target(self.storage_path, "--storage_path", folder=True)

    def kept(self) -> dict[str, Any]:
        """Returns what was named of what a search that is continued has again."""
        return {name: value for name, value in asdict(self).items() if name in _KEPT and value is not None}

    def after(self, record: Record) -> Places:
        """Returns the places of a search that is continued: those recorded, but for those that are named here.

        A ``search.json`` of a time when none were recorded names none.

        Raises:
            UserError: The recorded ones are damaged.
        """
        former: Any = {} if record.places is None else record.places
        check_shape(f"{record.path / FILE}, places", former, _KEPT, ADVICE)
        named = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(self, **{**{name: former.get(name) for name in _KEPT}, **named})
