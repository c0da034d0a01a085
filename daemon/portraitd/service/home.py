"""The folders of a home."""

from __future__ import annotations

from portraitd.config import Settings
from portraitd.model.errors import ConfigError


def make_home(settings: Settings) -> None:
    """Create the folders of a home that do not exist yet.

    Raises:
        ConfigError: One of them cannot be created.
    """
    for folder, mode in (
        (settings.home_dir, 0o777),
        (settings.inbox_dir, 0o777),
        (settings.people_dir, 0o777),
        (settings.state_dir, 0o700),
        (settings.requests_dir, 0o700),
    ):
        try:
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot create {folder}: {error.strerror}") from error
