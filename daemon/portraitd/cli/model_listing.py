"""What ``portraitd models list`` and ``models try`` print."""

from __future__ import annotations

from typing import Any

from portraitd.clustering.pair_scores import PairScore
from portraitd.faces.models.cards import RECOMMENDED
from portraitd.model.wording import counted
from portraitd.service.model_overview import ListedModel, ModelState
from portraitd.service.model_trial import ModelTrial

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


def describe_trial(trial: ModelTrial) -> list[str]:
    """Return the result of a trial as lines of text."""
    small = f"; {counted(trial.left_out, 'portrait')} too small" if trial.left_out else ""
    faces = counted(trial.faces, "face")
    people = counted(trial.people, "confirmed person", "confirmed people")
    return [
        f"{faces} of {people}, one of each track{small}: {trial.same:,} pairs of one person, "
        f"{trial.different:,} of two",
        f"{'':24}{'precision':>10}{'recall':>8}{'at distance':>13}{'recall at 0.1 % false':>23}",
        _score_line(f"{trial.in_use} (in use)", trial.in_use_score),
        _score_line(trial.other, trial.other_score),
    ]


def _score_line(name: str, score: PairScore) -> str:
    def shown(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.3f}"

    return (
        f"{name:24}{shown(score.precision):>10}{shown(score.recall):>8}"
        f"{shown(score.distance):>13}{shown(score.recall_at_rate):>23}"
    )
