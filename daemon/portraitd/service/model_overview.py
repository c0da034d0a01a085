"""Which models there are in a home, and which ones its service uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from portraitd.config import Settings
from portraitd.faces.models.cards import DETECTORS, EMBEDDERS, INSTALLED, ModelCard
from portraitd.faces.models.model_registry import (
    find_embedder,
    find_model,
    is_intact,
    missing_recommended,
    model_path,
    wanted_detector,
)
from portraitd.faces.models.user_models import ARCFACE, read_user_card
from portraitd.model.errors import ConfigError, StoreError
from portraitd.service.embedder_choice import choose_encoder, models_in_use
from portraitd.service.own_model import needs_space
from portraitd.store.database import Database

ModelState = Literal["in_use", "changing_over", "installed", "added", "not_added", "damaged"]
"""``changing_over``: stored faces are being embedded with it."""


class ModelsInUse(NamedTuple):
    """The models of a home.

    Attributes:
        detector: What finds faces.
        embedder: What new faces are embedded with.
        target: What the stored faces are changed over to; empty if they have it.
    """

    detector: str
    embedder: str
    target: str


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model, and what it is in a home."""

    card: ModelCard
    state: ModelState


def find_models_in_use(settings: Settings) -> ModelsInUse:
    """Return what the service of a home uses, whatever its settings ask for.

    Raises:
        ConfigError: The settings name a model that was not added.
    """
    try:
        with Database.open_to_read(settings.state_dir) as database:
            choice = choose_encoder(settings, database)
    except StoreError:
        # Nothing has been processed yet.
        embedder, detector = models_in_use(settings)
        return ModelsInUse(detector, embedder, "")
    encoder = choice.settings.encoder
    return ModelsInUse(
        wanted_detector(encoder.detector, encoder.kind, settings.models_dir),
        encoder.embedder,
        choice.target.embedder
        if choice.target and choice.target.embedder != encoder.embedder
        else "",
    )


def list_models(settings: Settings) -> list[ListedModel]:
    """Return all models, detectors first, and that of the user if there is one.

    Raises:
        ConfigError: The card of the user's model is damaged.
    """
    try:
        used = find_models_in_use(settings)
    except ConfigError:
        # The settings name a model that was not added: no service can run.
        used = ModelsInUse("", "", "")
    own = read_user_card(settings.models_dir)
    cards: list[ModelCard] = [*DETECTORS.values(), *EMBEDDERS.values()]
    return [
        ListedModel(card, _state_of(card, used, settings))
        for card in [*cards, *([own] if own else [])]
    ]


def list_missing(settings: Settings) -> list[str]:
    """Return the names of the recommended models that the settings would use if they were there."""
    encoder = settings.encoder
    return missing_recommended(
        encoder.kind, encoder.detector, encoder.embedder, settings.models_dir
    )


def require_unneeded(card: ModelCard, settings: Settings) -> None:
    """Check that a home can do without a model.

    Raises:
        ConfigError: Its faces or its settings need it. The message says what to change first.
    """
    key = f"encoder.{card.role}"
    chosen = settings.encoder.detector if card.role == "detector" else settings.encoder.embedder
    if chosen == card.name:
        raise ConfigError(f'the settings name it: {key} = "{card.name}"; change that first')
    if card.role == "embedder":
        embedder = find_embedder(card.name, settings.models_dir)
        if needs_space(settings, embedder):
            raise ConfigError(
                f"the stored faces need {card.name}; change them over to another model first: "
                "portraitd models use dlib"
            )


def find_card(name: str, settings: Settings) -> ModelCard:
    """Return the card of a model, also of the one that the user brought.

    Raises:
        ConfigError: There is none with this name.
    """
    return find_embedder(name, settings.models_dir) if name == ARCFACE else find_model(name)


def _state_of(card: ModelCard, used: ModelsInUse, settings: Settings) -> ModelState:
    is_installed = card.name in INSTALLED
    if not is_installed and not model_path(card, settings.models_dir).is_file():
        return "not_added"
    if not is_installed and not is_intact(card, settings.models_dir):
        return "damaged"
    if card.name in (used.detector, used.embedder):
        return "in_use"
    if card.name == used.target:
        return "changing_over"
    return "installed" if is_installed else "added"
