"""What ``portraitd models list`` prints."""

from __future__ import annotations

from typing import Any

from portraitd.faces.models.cards import RECOMMENDED
from portraitd.service.model_overview import ListedModel, ModelState

STATES: dict[ModelState, str] = {
    "in_use": "in use",
    "changing_over": "stored faces are changing over to it",
    "installed": "installed",
    "added": "added, not in use",
    "not_added": "not added",
    "damaged": "DAMAGED: add it again",
}


def describe_model(listed: ListedModel) -> list[str]:
    """Return lines of text about a model; the first one is enough to choose."""
    card = listed.card
    recommended = ", recommended" if card in RECOMMENDED else ""
    megabytes = f"{card.size_bytes / 1e6:.1f} MB"
    facts = {
        "quality": card.quality or "not measured",
        "speed": card.speed or "not measured",
        "licence": f"{card.licence}; trained on {card.trained_on}",
    }
    return [
        f"{card.name:14}{card.role:10}{megabytes:>8}  {STATES[listed.state]}{recommended}",
        f"    {card.purpose}",
        *(f"    {name + ':':9}{fact}" for name, fact in facts.items()),
    ]


def model_facts(listed: ListedModel) -> dict[str, Any]:
    """Return the facts about a model for scripts."""
    card = listed.card
    return {
        "name": card.name,
        "role": card.role,
        "state": listed.state,
        "recommended": card in RECOMMENDED,
        "file": card.file.name,
        "sha256": card.file.sha256,
        "size_bytes": card.size_bytes,
        "purpose": card.purpose,
        "quality": card.quality,
        "speed": card.speed,
        "licence": card.licence,
        "trained_on": card.trained_on,
        "url": card.url,
    }
