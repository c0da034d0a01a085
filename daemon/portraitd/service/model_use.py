"""``portraitd models use``: choose a model, measure its distances if need be, or try it first."""

from __future__ import annotations

import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from portraitd.clustering.dry_run import Proposal, propose
from portraitd.clustering.rule_measurement import derive_rules, find_sure_pairs, measure_rules
from portraitd.clustering.track_building import summarise_tracks
from portraitd.config import MODELS_FOLDER, Settings
from portraitd.faces.models.cards import EmbedderCard
from portraitd.faces.models.model_registry import (
    choose,
    find_embedder,
    require_at_hand,
    require_rules,
    wanted_embedder,
)
from portraitd.faces.models.user_models import keep_rules
from portraitd.ingest.dispatcher import encode_options
from portraitd.ingest.reembedding_stage import ReembeddingStage
from portraitd.model.errors import ConfigError, StoreError
from portraitd.model.stage import Now
from portraitd.service.model_overview import find_card
from portraitd.service.model_trial import embed_with
from portraitd.service.pools import decoding_pool
from portraitd.store.database import FILE_NAME, Database
from portraitd.store.files import Files
from portraitd.store.maintenance.backup import back_up
from portraitd.store.reembedding import Reembedding
from portraitd.store.sure_faces import read_sure_sample

SAMPLE_FACES = 4000
"""Faces that the distances of an unknown model are measured on, at most."""


def use_model(settings: Settings, name: str) -> None:
    """Choose a model; the service takes it up, and the stored faces change over to it.

    Raises:
        ConfigError: The model is not known, was not added, or its distances can neither be
            measured nor derived; or the settings name another one.
    """
    card = find_card(name, settings)
    require_at_hand(card, settings.models_dir)
    asked = settings.encoder.embedder if card.role == "embedder" else settings.encoder.detector
    if asked not in ("auto", card.name):
        raise ConfigError(
            f'encoder.{card.role} = "{asked}" in the settings; write "auto" or "{card.name}" there'
        )
    if isinstance(card, EmbedderCard):
        # The reference runs dlib's networks only; this raises for others.
        wanted_embedder(card.name, settings.encoder.kind, settings.models_dir)
        _ensure_rules(settings, card)
    choose(card, settings.models_dir)


def propose_model(settings: Settings, name: str) -> Proposal:
    """Change a copy of the store over to a model, and return what the next grouping would change.

    Raises:
        StoreError: There is no database yet.
        ConfigError: As ``use_model``.
    """
    card = find_embedder(name, settings.models_dir)
    require_at_hand(card, settings.models_dir)
    _ensure_rules(settings, card)
    encoder = settings.encoder.model_copy(update={"embedder": card.name})
    with tempfile.TemporaryDirectory(prefix="portraitd-") as scratch:
        state = Path(scratch) / "state"
        state.mkdir(mode=0o700)
        back_up(settings.state_dir, state / FILE_NAME, time.time())
        (state / MODELS_FOLDER).symlink_to(settings.models_dir.absolute())
        paths = settings.paths.model_copy(update={"state": state})
        trial = settings.model_copy(update={"encoder": encoder, "paths": paths})
        _change_over(trial)
        return propose(trial)


def _change_over(settings: Settings) -> None:
    """Change all faces of a store over, and wait for it."""
    encoder = encode_options(settings).encoder
    rules = require_rules(find_embedder(encoder.embedder, settings.models_dir))
    executor = decoding_pool(settings, encoder)
    arrived = threading.Event()
    try:
        with Database.open(settings.state_dir) as database:
            stage = ReembeddingStage(
                Reembedding(database, encoder.embedding_space),
                Files(database, settings.inbox_dir),
                encoder,
                executor,
                settings.workers.processes,
                rules.quality,
                partial(summarise_tracks, vector_length=rules.vector_length),
                is_reprocessing=lambda: False,
                may_replace=lambda now: True,
                wake=arrived.set,
                attempts=1,
            )
            while stage.pending:
                arrived.clear()
                stage.tick(Now.read())
                if stage.blocked:
                    raise StoreError(stage.blocked)
                if stage.pending:
                    arrived.wait(1.0)
    finally:
        executor.shutdown(cancel_futures=True)


def _ensure_rules(settings: Settings, card: EmbedderCard) -> None:
    """Keep the distances of a model that has none: measured, or derived from the settings."""
    if card.rules is not None:
        return
    linkage = settings.grouping.linkage
    if linkage is not None:
        keep_rules(card, settings.models_dir, derive_rules(linkage, settings.grouping.eps))
        return
    with Database.open_to_read(settings.state_dir) as database:
        sample = read_sure_sample(database, SAMPLE_FACES)
    vectors = embed_with(settings, card.name, sample.portraits)
    pairs = find_sure_pairs(vectors, sample.tracks, sample.cannot_link)
    keep_rules(card, settings.models_dir, measure_rules(pairs))
