"""The command lines' parser."""

from __future__ import annotations

import argparse
from typing import NoReturn

from recbole_painvrl.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, like every other mistake of a user."""

    def error(self, message: str) -> NoReturn:
        """Turns argparse's complaint into an error of this package.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{message}; see {self.prog} --help")
