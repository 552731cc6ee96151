# SPDX-License-Identifier: MIT
"""One network for all tests that leave it as it is; nothing here is trained."""

from collections.abc import Callable
from pathlib import Path

import pytest

import solo_plugins


@pytest.fixture(scope="session")
def shared_run(run_below: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run's folder, which tests leave as it is."""
    return run_below(tmp_path_factory.mktemp("inference"))


@pytest.fixture(scope="session")
def shared_model(shared_run: Path, registered: Callable) -> solo_plugins.Encoder:
    """Return its network, which tests leave as it is."""
    with registered():
        return solo_plugins.load(shared_run)
