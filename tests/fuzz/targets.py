"""All targets of the fuzz suite."""

from __future__ import annotations

from tests.fuzz import configuration, conversion, method, reading, spaces, training
from tests.fuzz.target import Target

MODULES = (conversion, reading, configuration, spaces, method, training)
TARGETS: list[Target] = [target for module in MODULES for target in module.TARGETS]
