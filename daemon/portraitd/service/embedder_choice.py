"""Choose the embedding model: that of the stored faces, until all of them have changed over."""

from __future__ import annotations

from portraitd.config import Settings
from portraitd.faces.models.model_registry import wanted_embedder
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_embedder


def keep_stored_embedder(settings: Settings, database: Database) -> Settings:
    """Return the settings with the embedder that new faces are given.

    Vectors of two models cannot be compared, so new faces get that of the stored ones.

    Raises:
        ConfigError: The embedder of the stored faces is not known.
    """
    stored = stored_embedder(database)
    name = settings.encoder.embedder
    wanted = wanted_embedder(name, settings.encoder.kind, settings.models_dir)
    in_use = stored or wanted
    encoder = settings.encoder.model_copy(update={"embedder": in_use.name})
    return settings.model_copy(update={"encoder": encoder})
