"""Where the user's files are. Each place is named here and nowhere else."""

from __future__ import annotations

from pathlib import Path

import platformdirs

_NAME = "llamachat"


def config_file() -> Path:
    return platformdirs.user_config_path(_NAME) / "config.toml"


def models_folder() -> Path:
    return platformdirs.user_data_path(_NAME) / "models"


def transcripts_file(given: Path | None = None) -> Path:
    """`given` if the user names a file."""
    return given.expanduser() if given else platformdirs.user_data_path(_NAME) / "transcripts.db"


def input_history_file() -> Path:
    return platformdirs.user_state_path(_NAME) / "input_history"


def templates_folder() -> Path:
    return platformdirs.user_config_path(_NAME) / "templates"


def running_folder() -> Path:
    """Where each running server has a file."""
    return platformdirs.user_state_path(_NAME) / "running"


def network_key_file() -> Path:
    """The key that other computers need."""
    return platformdirs.user_state_path(_NAME) / "network_key"


def kv_cache_folder() -> Path:
    """Where the engine keeps KV state between starts."""
    return platformdirs.user_cache_path(_NAME) / "kv"
