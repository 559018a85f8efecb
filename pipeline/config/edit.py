"""Values written into a params.yaml, its comments and order kept."""

import io
import json
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.config.params import PARAMS, changed, flatten, load_params
from pipeline.errors import UserError
from pipeline.writing import write_whole

WIDE = 4096  # characters: no line of params.yaml is broken
NULL = "tag:yaml.org,2002:null"


def differences(changes: Mapping[str, Any], path: Path = PARAMS) -> dict[str, tuple[Any, Any]]:
    """The values, by dotted name, that these changes would change, before and after.

    Raises `ConfigError` if they contradict other parameters there.
    """
    before = load_params(path)
    after = flatten(changed(before, changes))
    return {name: (value, after[name]) for name, value in flatten(before).items() if value != after[name]}


def apply(changes: Mapping[str, Any], path: Path = PARAMS) -> dict[str, tuple[Any, Any]]:
    """Write parameters into params.yaml; returns the `differences`. The file stays as it is if that raises."""
    different = differences(changes, path)
    if not different:
        return {}
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, WIDE
    yaml.representer.add_representer(type(None), lambda dumper, _: dumper.represent_scalar(NULL, "null"))
    content = yaml.load(path.read_text(encoding="utf-8-sig"))
    for name, (_, value) in different.items():
        *sections, key = name.split(".")
        section = reduce(getitem, sections, content)
        if isinstance(section.get(key), list):
            section[key][:] = value  # stays on one line if it was
        elif key in section:
            section[key] = value
        else:  # a default: before the last line, whose comment may be about the next section
            section.insert(len(section) - 1, key, value)
    text = io.StringIO()
    yaml.dump(content, text)
    try:
        write_whole(path, text.getvalue().encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from error
    return different


def yaml_text(value: Any) -> str:
    """The value of a parameter as in YAML, without spaces."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":")).replace('"', "")
