"""Installation: ``pip install .`` or ``pip install -e ".[tune,report,test]"``."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "recbole_painvrl" / "__init__.py").read_text("utf-8")).group(1)

INSTALL_REQUIRES = [
    "recbole==1.2.1",  # private methods of it are overridden; tests/test_compat.py says when to move
    "torch>=2.6",  # checkpoints are read with weights_only=True, its default from here on
    "numpy>=1.26",  # 1.26 and 2.4 are tested; the names that RecBole needs are put back
    "pandas>=2.2,<3",  # pandas 3 ignores in-place fills in silence; ours are repaired, stock RecBole beside us is not
    "scipy>=1.11.1",  # 1.17 is tested; dok_matrix._update is put back; 1.11.0 was withdrawn
    "scikit-learn>=1.3",  # clusters and encoders; a dependency of RecBole anyway
    "pyyaml>=6.0",  # likewise; the first with wheels for Python 3.11
    "psutil>=5.9",  # whether the owner of a folder still works; a dependency of RecBole too
]
EXTRAS_REQUIRE = {
    # RecBole pins ray<=2.6.3; that ray uses np.bool8 (gone in numpy 2), pkg_resources (gone in setuptools 82), and the
    # pyarrow from 26 on refuses numpy 1.
    "tune": ["ray[tune]>=2.6,<=2.6.3", "numpy<2", "pyarrow<26", "setuptools<82"],
    # 0.2.5 is the newest that runs an exhaustive search on today's numpy, and it imports pkg_resources.
    "hyperopt": ["hyperopt==0.2.5", "setuptools<82"],
    "report": ["matplotlib>=3.8"],
    # its folder of results and its names of mutants are those of version 3
    "mutation": ["mutmut>=3.8,<4"],
    # setuptools builds a wheel without the package wheel from there on; another mypy may judge otherwise than this one.
    # hypothesis makes the input of tests/fuzz; derandomized cases may differ between versions, and all must end well.
    # coverage follows the processes that tests start from 7.10 on
    "test": ["pytest>=7", "setuptools>=70.1", "mypy>=2.4,<2.5", "hypothesis>=6.100", "coverage>=7.10"],
}

setup(
    name="recbole_painvrl",
    version=VERSION,
    description="Pareto invariant representation learning for multimedia recommendation, on RecBole",
    long_description=README.read_text("utf-8") if README.is_file() else "",
    long_description_content_type="text/markdown",
    # 3.12 and later are held back by RecBole alone: it requires ray<=2.6.3, which has wheels up to Python 3.11 only.
    python_requires=">=3.11,<3.12",
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    # properties/ stays at the top of the repository and becomes part of the package when it is installed.
    packages=[*find_packages(include=["recbole_painvrl", "recbole_painvrl.*"]), "recbole_painvrl.properties"],
    package_dir={"recbole_painvrl.properties": "properties"},
    package_data={"recbole_painvrl.properties": ["*.yaml", "*/*.yaml", "*/*/*.yaml", "*/*.hyper"]},
    entry_points={"console_scripts": ["recbole-painvrl = recbole_painvrl.cli:main"]},
)
