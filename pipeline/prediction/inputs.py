"""Sources in the forms in which MLflow's clients send them: strings, or a table whose one column they are."""

import sys
from collections.abc import Collection
from itertools import islice
from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.text import shown

NAMED = 5  # columns that a message names


def sources_in(data: Any) -> list[str]:
    """The sources in a list, an array or a Series of strings, or in a table whose one column has any name.

    A table is a DataFrame, `{column: [strings]}`, `[{column: string}, ...]` or `[[string], ...]`. Raises `UserError`
    for several columns, and for anything but strings in the one.
    """
    if _is_of_pandas(data, "DataFrame"):
        if data.shape == (0, 0):  # of no records
            return []
        check_columns(data.columns)
        data = data.iloc[:, 0]
    elif isinstance(data, dict):
        check_columns(data)
        (data,) = data.values()
    else:
        data = _only_column(_plain(data))
    values = _plain(data)
    if not isinstance(values, list):
        raise UserError(f"the sources must be a list of strings or a table of one column, not {shown(values)}")
    values = list(map(_plain, values))
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str):
            raise UserError(f"source {number} is not a string but {shown(value)}")
    return values


def check_columns(names: Collection[Any]) -> None:
    """Raise `UserError`, with the names of the columns, unless there is one."""
    if len(names) != 1:
        named = ", ".join(map(shown, islice(names, NAMED))) + ", …" * (len(names) > NAMED)
        columns = f"there are {len(names):,} columns ({named})" if len(names) else "there is no column"
        raise UserError(f"{columns}, but there must be one, the sources")


def _only_column(data: Any) -> Any:
    """The values of a list of records or of rows; anything else as it is."""
    if not isinstance(data, list) or not data:
        return data
    if all(isinstance(row, dict) for row in data):
        names = dict.fromkeys(name for row in data for name in row)
        check_columns(names)
        return [row.get(*names) for row in data]
    rows = list(map(_plain, data))
    if all(isinstance(row, list) for row in rows):
        check_columns(range(max(map(len, rows))))
        return [row[0] if row else None for row in rows]
    return data


def _plain(value: Any) -> Any:
    """Lists and strings in place of arrays, which MLflow's own server makes of them, of Series and of tuples."""
    if isinstance(value, np.ndarray) or _is_of_pandas(value, "Series"):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _is_of_pandas(data: Any, kind: str) -> bool:
    """Whether data are a DataFrame or a Series; without importing pandas, which whoever made them has done."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, getattr(pandas, kind))
