"""Tests of tracking read warnings from standard error, as users of a command do."""

import pytest

from pipeline.errors import show_logs


@pytest.fixture(autouse=True)
def _shown_logs() -> None:
    show_logs()
