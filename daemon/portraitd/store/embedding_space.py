"""The embedding space of the stored faces, and the model that made them."""

from __future__ import annotations

from portraitd.config import MODELS_FOLDER
from portraitd.faces.models.cards import DLIB, EmbedderCard
from portraitd.faces.models.model_registry import find_space, require_rules
from portraitd.model.errors import ConfigError
from portraitd.model.face_quality import QualityRule
from portraitd.model.grouping_rules import EmbeddingRules
from portraitd.store.database import Database


def stored_spaces(database: Database) -> list[str]:
    """Return the embedding spaces of the faces that are grouped, sorted.

    Faces of different spaces cannot be compared.
    """
    spaces: list[str] = []
    # From one to the next in the index: there are millions of faces, and one space or two.
    after = ""
    while True:
        row = database.execute(
            "select min(encoder) as encoder from faces where encoder > ?", (after,)
        ).fetchone()
        if row["encoder"] is None:
            return spaces
        after = str(row["encoder"])
        if database.execute(
            "select 1 from grouped_faces where encoder = ? limit 1", (after,)
        ).fetchone():
            spaces.append(after)


def stored_quality_rule(database: Database) -> QualityRule:
    """Return the rule that rates how well a stored face identifies its person.

    It is dlib's rule while there are no faces, and for a model that nothing is known about.
    """
    return (stored_rules(database) or require_rules(DLIB)).quality


def stored_rules(database: Database) -> EmbeddingRules | None:
    """Return the numbers of the model that made the stored vectors, if they are known.

    They are dlib's while there are no faces.
    """
    try:
        return (stored_embedder(database) or DLIB).rules
    except ConfigError:
        return None


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
