"""What every test may use: a home of its own, and one real server on the real small model for the session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

from tests.support import ServerProcess, clean_env

# Many models compute at the same time here, and OpenMP's threads would wait for each other in busy loops:
# with more threads than CPUs that makes an answer take twenty times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The program speaks the user's language, and the tests read its English.
for name in ("LC_ALL", "LC_MESSAGES", "LANGUAGE"):
    os.environ.pop(name, None)
os.environ["LANG"] = "C.UTF-8"

# Examples take as long as the other tests leave them.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are CPUs: a third of the time, a test waits for something else."""
    return (psutil.cpu_count() or 1) * 3 // 2


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment whose configuration, data, cache and state are this test's own."""
    return clean_env(tmp_path / "home")


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`llamachat serve`, ready, on a free port: `base_url`, `api_key`, `process`. Don't stop it."""
    home = tmp_path_factory.mktemp("serve")
    with ServerProcess(env=clean_env(home), cwd=home) as server:
        yield server.wait_until_ready()


@pytest.fixture(scope="session")
def small_model() -> Path:
    """The bundled model's file."""
    from llamachat.hub.local_models import bundled_model

    model = bundled_model()
    assert model is not None, "the demo extra is not installed"
    return model.path
