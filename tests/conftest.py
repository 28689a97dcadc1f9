"""Fixtures, and how the tests are to be run."""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.command import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# What a shell runs in the background ignores Ctrl-C, and so would every command under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One run is like another: a failure that Hypothesis finds is found by everyone.
settings.register_profile(
    "qkv",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("long", parent=settings.get_profile("qkv"), max_examples=5_000)
settings.register_profile("mutants", parent=settings.get_profile("qkv"), max_examples=12)
settings.load_profile("qkv")


@pytest.fixture
def samples() -> Path:
    """Return the folder of the bundled sample data."""
    return SAMPLES


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes | str], str]:
    """Return a function that writes a file in an empty folder and returns its path."""

    def write(name: str, data: bytes | str) -> str:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    return write


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """Close generators before the next test, whose warnings would be another's."""
    yield
    gc.collect(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests first that fork a process thousands of times: it is smallest then."""
    items.sort(key=lambda item: item.path.name != "test_faults.py")
