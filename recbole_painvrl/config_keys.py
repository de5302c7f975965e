"""Where properties files lie, how they and texts are read, and which keys there are."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import recbole
import yaml
from recbole.utils import dataset_arguments, evaluation_arguments, general_arguments, training_arguments

from recbole_painvrl.errors import UserError
from recbole_painvrl.recorded import DEEPEST, bounded

_PACKAGE = Path(__file__).resolve().parent
RECBOLE_PROPERTIES = Path(recbole.__file__).resolve().parent / "properties"
RECBOLE_EXAMPLES = RECBOLE_PROPERTIES.parent / "dataset_example"

# Set by the launcher of several processes or by torchrun, and refused where a user gives them.
PROCESS_KEYS = frozenset({"local_rank", "world_size", "nproc", "ip", "port", "offset"})
# Read somewhere in RecBole, but in none of its properties files.
_UNLISTED = """
    model dataset config_files encoding tail_ratio token_num_threshold xgb_early_stopping_rounds cin contrast eta
    has_residual norm sim use_filter feature_num verbose
"""
# A text stays what it is for these, also if it looks like a number or a list: "[5,inf)", "\t", "0,1", "first".
_TEXTS = """
    model dataset field_separator seq_separator encoding gpu_id state data_path output_dir checkpoint_dir
    dataset_save_path dataloaders_save_path wandb_project learner valid_metric rm_dup_inter transform
    user_inter_num_interval item_inter_num_interval entity_kg_num_interval relation_kg_num_interval NEG_PREFIX
    LIST_SUFFIX ip pre_model_path pretrain_path mf_pretrain_path mlp_pretrain_path
"""
TEXT_KEYS = frozenset(_TEXTS.split())
TEXT_OR_NUMBER_KEYS = frozenset({"mask_groups"})  # whose default is a text
_TOP_LEVEL_KEY = re.compile(r"^([A-Za-z_][\w-]*)\s*:", re.MULTILINE)


class Loader(yaml.SafeLoader):
    """YAML without Python objects, with 1e-4 as a number (YAML 1.1 wants 1.0e-4) and without repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Builds a mapping; a key that is there twice is an error instead of a silent change of mind."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                raise yaml.MarkedYAMLError(problem=f"the key '{name}' is there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:
        """Begins a list or mapping in brackets; the time that nested ones take grows with the square of their depth."""
        self._check_depth(self.flow_level)
        super().fetch_flow_collection_start(TokenClass)

    def add_indent(self, column: int) -> bool:
        """Begins a list or mapping of its own indentation."""
        self._check_depth(len(self.indents))
        return super().add_indent(column)

    def _check_depth(self, depth: int) -> None:
        if depth > DEEPEST:
            problem = f"values are nested more than {DEEPEST} deep"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.get_mark())

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Builds a value; one that its tag does not fit, such as ``!!int x``, is an error of the file."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
            problem = f"a value does not fit its tag {node.tag} ({error})"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)

# A configuration has numbers, texts, lists and mappings: a date stays the text that it is, sets and bytes are refused.
_NO_VALUES = tuple(f"tag:yaml.org,2002:{name}" for name in ("timestamp", "binary", "set", "omap", "pairs"))
Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag not in _NO_VALUES]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}
Loader.yaml_constructors = {tag: build for tag, build in Loader.yaml_constructors.items() if tag not in _NO_VALUES}


def load_yaml(text: str) -> Any:
    """Returns the value of a YAML text, of plain data that end somewhere.

    Raises:
        yaml.YAMLError: The text is no YAML, or its values hold themselves, or are too many or too deep to be meant.
    """
    return bounded(yaml.load(text, Loader=Loader))


def properties_folder() -> Path:
    """Returns the folder of this package's properties: inside the package when installed, beside it in a checkout.

    Raises:
        UserError: If neither is there.
    """
    candidates = (_PACKAGE / "properties", _PACKAGE.parent / "properties")
    for folder in candidates:
        if (folder / "overall.yaml").is_file():
            return folder
    raise UserError(f"overall.yaml is in neither {candidates[0]} nor {candidates[1]}; install the package again")


def tuned_file(model: str, dataset: str) -> Path:
    """Returns where the values lie that a search on a data set chose for a model; most have none."""
    return properties_folder() / "tuned" / dataset / f"{model}.yaml"


def properties_files(kind: str) -> list[Path]:
    """Returns the properties files of a ``kind``, ``model`` or ``dataset``: ours, then RecBole's."""
    return [path for root in (properties_folder(), RECBOLE_PROPERTIES) for path in sorted((root / kind).glob("*.yaml"))]


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Returns the mapping in a YAML file, empty if there is none in it.

    Raises:
        UserError: If the file is missing, is no YAML, or holds something else than keys and values.
    """
    try:
        content = load_yaml(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"config file {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"config file {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"config file {path}: not valid YAML: {_yaml_problem(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"config file {path}: expected lines 'key: value', found {type(content).__name__}")
    return content


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return where + str(getattr(error, "problem", None) or error).replace("\n", " ")


def read_layer(path: Path) -> dict[str, Any]:
    """Returns the mapping of a properties file that need not exist."""
    return read_yaml(path) if path.is_file() else {}


@functools.cache
def _keys_of(path: Path) -> frozenset[str]:
    # One regular expression instead of a YAML parser: there are a hundred files, read at every start.
    return frozenset(_TOP_LEVEL_KEY.findall(path.read_text(encoding="utf-8")))


def general_keys() -> frozenset[str]:
    """Returns the keys that belong to no single model."""
    listed = (*general_arguments, *training_arguments, *evaluation_arguments, *dataset_arguments)
    files = [root / name for root in (RECBOLE_PROPERTIES, properties_folder()) for name in ("overall.yaml",)]
    files += [RECBOLE_PROPERTIES / "dataset" / "sample.yaml", *sorted((properties_folder() / "dataset").glob("*.yaml"))]
    return frozenset(listed).union(PROCESS_KEYS, _UNLISTED.split(), *map(_keys_of, files))


def known_keys() -> frozenset[str]:
    """Returns every key that RecBole, one of its models, this package or one of its models reads."""
    by_type = sorted((RECBOLE_PROPERTIES / "quick_start_config").glob("*.yaml"))
    return general_keys().union(*map(_keys_of, [*by_type, *properties_files("model")]))


def parse_text(text: str, key: str, default: Any, origin: str) -> Any:
    """Reads the value of ``key`` given as text, as YAML; nothing is evaluated.

    Args:
        text: The text, such as ``[10, 20]`` or ``1e-4``. ``None``, ``~`` and ``null`` mean no value, as ``True`` and
            ``False`` are meant as such in RecBole's documentation.
        key: The key; those of :data:`TEXT_KEYS` stay text.
        default: The default, which decides that a text stays a text, but for :data:`TEXT_OR_NUMBER_KEYS`.
        origin: Where the text came from, for the message.

    Raises:
        UserError: If the text is no YAML.
    """
    if text.strip() in ("None", "~", "null"):
        return None
    is_text = isinstance(default, str) and key not in TEXT_OR_NUMBER_KEYS
    if key in TEXT_KEYS or key.endswith("_FIELD") or is_text:
        return text
    try:
        return load_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"{key}: cannot read '{text}' ({origin}): {_yaml_problem(error)}") from error


def as_builtin(value: Any, key: str) -> Any:
    """Returns ``value`` as None, bool, int, float, text, list or dict, so that it can be written and read again.

    Raises:
        UserError: If it is something else.
    """
    if value is None or (isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {name: as_builtin(part, key) for name, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [as_builtin(part, key) for part in value]
    if isinstance(value, Path):
        return str(value)
    raise UserError(f"{key}: expected a number, text, list or dict, found {type(value).__name__}")
