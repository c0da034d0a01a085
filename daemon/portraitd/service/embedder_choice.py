"""Choose the embedding model: that of the stored faces, until all of them have changed over."""

from __future__ import annotations

from typing import NamedTuple

from portraitd.config import Settings
from portraitd.faces.interface import MIRRORED, EncoderSpec
from portraitd.faces.models.cards import EmbedderCard
from portraitd.faces.models.model_registry import (
    find_embedder,
    find_space,
    is_at_hand,
    wanted_detector,
    wanted_embedder,
)
from portraitd.faces.models.user_models import ARCFACE
from portraitd.ingest.dispatcher import encode_options
from portraitd.model.errors import ConfigError
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_spaces
from portraitd.store.reembedding import Reembedding


class EncoderChoice(NamedTuple):
    """How faces are embedded now, and how they shall be.

    Attributes:
        settings: The settings with the embedder that new faces get.
        target: Names the model that all stored faces are changed over to; None if they have it.
    """

    settings: Settings
    target: EncoderSpec | None


def choose_encoder(
    settings: Settings, database: Database, is_reprocessing: bool = False
) -> EncoderChoice:
    """Return which model new faces get, and which one the stored faces are changed over to.

    Vectors of two models cannot be compared, so new faces get the model of the stored ones until
    all have changed over. Reprocessing keeps its vectors apart from those in use, so it takes the
    new model at once.

    Args:
        settings: The active settings.
        database: The store.
        is_reprocessing: Whether all files will be read again.

    Raises:
        ConfigError: The settings name a model that does not exist.
    """
    encoder = settings.encoder
    card = wanted_embedder(encoder.embedder, encoder.kind, settings.models_dir)
    wanted = _with_encoder(settings, embedder=card.name)
    target = encode_options(wanted).encoder
    if not Reembedding(database, target.embedding_space).needed:
        return EncoderChoice(wanted, None)
    stored = stored_spaces(database)
    if stored and target.embedding_space not in stored and not is_reprocessing:
        known = _usable_embedder(stored[0], settings)
        if known is not None:
            # Without the numbers of a model, its vectors cannot be grouped.
            is_measured = card.rules is not None
            suffix = stored[0].partition("+")[2]
            # The reference encoder runs dlib's network only.
            kind = encoder.kind if known.alignment == "dlib" else "onnx"
            in_use = _with_encoder(
                settings, embedder=known.name, mirror=suffix == MIRRORED, kind=kind
            )
            return EncoderChoice(in_use, target if is_measured else None)
    # New faces in the new space at once: grouping waits until the old ones have followed.
    return EncoderChoice(wanted, target)


def models_in_use(settings: Settings) -> tuple[str, str]:
    """Return the names of the embedder and the detector that the settings ask for now.

    Raises:
        ConfigError: The settings name a model that does not exist.
    """
    encoder = settings.encoder
    embedder = wanted_embedder(encoder.embedder, encoder.kind, settings.models_dir).name
    detector = wanted_detector(encoder.detector, encoder.kind, settings.models_dir)
    return embedder, detector


def identify_models(settings: Settings) -> tuple[str, str]:
    """Return the embedder and the detector that the settings ask for now, so that others differ.

    The model that the user brought may be replaced by another file under the same name.

    Raises:
        ConfigError: The settings name a model that does not exist, or its card is damaged.
    """
    embedder, detector = models_in_use(settings)
    if embedder == ARCFACE:
        card = find_embedder(embedder, settings.models_dir)
        embedder = f"{card.space} {card.channels} {card.pixel_mean} {card.pixel_scale} {card.rules}"
    return embedder, detector


def _usable_embedder(space: str, settings: Settings) -> EmbedderCard | None:
    """Return the card of an embedding space; None if its model is not at hand any more."""
    try:
        card = find_space(space, settings.models_dir)
    except ConfigError:
        return None
    return card if is_at_hand(card, settings.models_dir) else None


def _with_encoder(settings: Settings, **update: object) -> Settings:
    encoder = settings.encoder.model_copy(update=update)
    return settings.model_copy(update={"encoder": encoder})
