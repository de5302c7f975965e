"""The only place that repairs RecBole 1.2.1 on the libraries of today.

RecBole 1.2.1 (February 2025) was written for numpy 1, pandas 1, scipy below 1.13 and torch below 2.6. Each break has
one function or class here with a link to where it is known upstream, and a test that fails without it. All repairs only
add what is missing or override in a subclass, so a library that has (or gets back) the missing piece is left alone.

* :mod:`~recbole_painvrl.compat.libraries`: what numpy, scipy and torch dropped, put back by :func:`apply`, and
  :func:`anomaly_detection_kept` around imports of its models;
* :mod:`~recbole_painvrl.compat.dataset`: :class:`DatasetRepairs`, reading and remapping under pandas 2 and 3;
* :mod:`~recbole_painvrl.compat.evaluation`: :class:`Collector`, the metrics that crash in 1.2.1 itself;
* :mod:`~recbole_painvrl.compat.models`: single models that need a hand, and those that cannot run at all;
* :mod:`~recbole_painvrl.compat.trainers`: trainers of models that are trained in stages.

Checkpoints are read and written by :mod:`recbole_painvrl.checkpoint`; ``recbole.quick_start`` is never imported, as it
imports Ray; ``thop`` (RecBole's FLOP counter) is never called.
"""

from __future__ import annotations

from recbole_painvrl.compat.dataset import DatasetRepairs
from recbole_painvrl.compat.evaluation import Collector
from recbole_painvrl.compat.libraries import LIBRARY_REPAIRS, anomaly_detection_kept, apply
from recbole_painvrl.compat.models import UNUSABLE, repaired_model
from recbole_painvrl.compat.trainers import PretrainRepairs

__all__ = [
    "LIBRARY_REPAIRS",
    "UNUSABLE",
    "Collector",
    "DatasetRepairs",
    "PretrainRepairs",
    "anomaly_detection_kept",
    "apply",
    "repaired_model",
]
