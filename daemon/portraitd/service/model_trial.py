"""Compare another embedding model with the one in use, by what people confirmed and corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from portraitd.clustering.pair_scores import PairScore, compare_pairs, score_pairs
from portraitd.config import Settings
from portraitd.faces.models.model_registry import (
    find_embedder,
    find_space,
    require_at_hand,
)
from portraitd.ingest import media_jobs
from portraitd.ingest.dispatcher import encode_options
from portraitd.model.errors import ConfigError
from portraitd.model.face import Embeddings, StoredPortrait
from portraitd.service.pools import decoding_pool
from portraitd.store.confirmed_faces import read_confirmed_sample
from portraitd.store.database import Database
from portraitd.store.embedding_space import stored_spaces

BATCH_FACES = 32


@dataclass(frozen=True, slots=True)
class ModelTrial:
    """The result of a trial.

    Attributes:
        faces: How many faces were compared: one of each track.
        people: How many confirmed people they are of.
        left_out: Faces whose portraits are too small for the other model.
        same: Pairs of faces of one person.
        different: Pairs of faces of two people.
        in_use, other: The names of the two models.
        in_use_score, other_score: What each of them achieved.
    """

    faces: int
    people: int
    left_out: int
    same: int
    different: int
    in_use: str
    in_use_score: PairScore
    other: str
    other_score: PairScore


def try_model(settings: Settings, name: str, sample: int) -> ModelTrial | None:
    """Embed portraits of confirmed people with another model, and compare both.

    Args:
        settings: Of the home.
        name: Of the other model, which was added.
        sample: Largest number of faces.

    Returns:
        None if fewer than two people were confirmed, or none of them has two tracks.

    Raises:
        StoreError: Nothing has been processed in this home yet.
        ConfigError: The model is not known, was not added, or is the one in use.
    """
    card = find_embedder(name, settings.models_dir)
    require_at_hand(card, settings.models_dir)
    with Database.open_to_read(settings.state_dir) as database:
        spaces = stored_spaces(database)
        if not spaces:
            return None
        in_use = find_space(spaces[0], settings.models_dir)
        if in_use.name == card.name:
            raise ConfigError(f"{name} is the model in use; name another one to compare it with")
        confirmed = read_confirmed_sample(database, spaces[0], sample)
    counts = np.unique(confirmed.people, return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:
        return None
    vectors = embed_with(settings, name, confirmed.portraits)
    usable = np.isfinite(vectors).all(axis=1)
    people = confirmed.people[usable]
    known = compare_pairs(confirmed.embeddings[usable], people)
    found = compare_pairs(vectors[usable], people)
    return ModelTrial(
        faces=len(people),
        people=len(np.unique(people)),
        left_out=int((~usable).sum()),
        same=len(found.same),
        different=len(found.different),
        in_use=in_use.name,
        in_use_score=score_pairs(known, in_use.rules),
        other=card.name,
        other_score=score_pairs(found, card.rules),
    )


def embed_with(settings: Settings, name: str, portraits: list[StoredPortrait]) -> Embeddings:
    """Embed portraits in workers, each with the model loaded; shape ``(n, d)``."""
    of_model = settings.encoder.model_copy(update={"kind": "onnx", "embedder": name})
    encoder = encode_options(settings.model_copy(update={"encoder": of_model})).encoder
    executor = decoding_pool(settings, encoder)
    try:
        jobs = [
            executor.submit(
                media_jobs.embed_portraits, portraits[start : start + BATCH_FACES], encoder
            )
            for start in range(0, len(portraits), BATCH_FACES)
        ]
        return np.concatenate([job.result() for job in jobs])
    finally:
        executor.shutdown(cancel_futures=True)
