"""The embedding space of the stored faces, and the model that made them."""

from __future__ import annotations

from portraitd.config import MODELS_FOLDER
from portraitd.faces.models.cards import DLIB, EmbedderCard
from portraitd.faces.models.model_registry import find_space, require_rules
from portraitd.model.errors import ConfigError
from portraitd.model.face_quality import QualityRule
from portraitd.store.database import Database


def stored_spaces(database: Database) -> list[str]:
    """Return the embedding spaces of the faces that are grouped, sorted.

    Faces of different spaces cannot be compared.
    """
    rows = database.execute("select distinct encoder from grouped_faces order by encoder")
    return [row["encoder"] for row in rows]


def stored_quality_rule(database: Database) -> QualityRule:
    """Return how much a stored face says about whose it is.

    It is dlib's rule while there are no faces, and for a model that nothing is known about.
    """
    try:
        card = stored_embedder(database)
    except ConfigError:
        card = None
    rules = card.rules if card else None
    return (rules or require_rules(DLIB)).quality


def stored_embedder(database: Database) -> EmbedderCard | None:
    """Return the card of the model that made the stored vectors; None while there are none.

    Raises:
        ConfigError: The model is not known.
    """
    spaces = stored_spaces(database)
    return find_space(spaces[0], database.folder / MODELS_FOLDER) if spaces else None


def name_stored_embedder(database: Database) -> str:
    """Return the name of the model that made the stored vectors, or of its space if unknown."""
    try:
        card = stored_embedder(database)
    except ConfigError:
        return stored_spaces(database)[0]
    return (card or DLIB).name
