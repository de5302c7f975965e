"""What a run was made with: memory, versions, device."""

from __future__ import annotations

import platform
import resource
import sys

import numpy as np
import pandas
import recbole
import scipy
import torch

import recbole_painvrl


def peak_rss_mb() -> float:
    """Returns the largest resident size of this process so far, in MB; macOS counts bytes, Linux KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024), 1)


def versions(device: torch.device) -> dict[str, str]:
    """Returns the versions of this package, Python and the libraries that make numbers, and the device's name."""
    modules = {"torch": torch, "recbole": recbole, "numpy": np, "pandas": pandas, "scipy": scipy}
    return {
        "recbole_painvrl": recbole_painvrl.__version__,
        "python": platform.python_version(),
        **{name: str(module.__version__) for name, module in modules.items()},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }
