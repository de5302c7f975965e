"""PaInvRL for RecBole: multimedia recommendation robust to spurious correlations.

Importing this package is cheap and imports neither RecBole nor torch, so that :mod:`recbole_painvrl.invariance` and
:mod:`recbole_painvrl.report` can be used on their own.
"""

__version__ = "0.1.0"
