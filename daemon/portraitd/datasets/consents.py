"""Who may be in a training set by a consent, and why others may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from portraitd.datasets.annotations import ConsentAnswer, DatasetRule, PersonConsent
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.people.names import folder_name
from portraitd.people.tree.consent_files import FolderConsent
from portraitd.store.dataset_store import DatasetStore, NamedPerson


def judge_consents(found: Sequence[FolderConsent], today: date) -> tuple[PersonConsent, ...]:
    """Return the consent of each person who has one; of several files, that with the latest date.

    Args:
        found: The files.
        today: The day for which they are judged. The last day of a consent counts.
    """
    best: dict[int, FolderConsent] = {}
    for one in sorted(found, key=lambda one: (one.until or date.min, one.name)):
        best[one.person_id] = one
    return tuple(_judge(one, today) for _, one in sorted(best.items()))


def _judge(one: FolderConsent, today: date) -> PersonConsent:
    if one.until is None:
        return PersonConsent(one.person_id, "", one.name, ReasonCode.CONSENT_UNREADABLE.value)
    code = ReasonCode.NONE if one.until >= today else ReasonCode.CONSENT_EXPIRED
    return PersonConsent(one.person_id, one.until.isoformat(), one.name, code.value)


def select_consenting(
    people: Sequence[NamedPerson], store: DatasetStore, rule: DatasetRule
) -> tuple[list[NamedPerson], tuple[ConsentAnswer, ...]]:
    """Return who may be in the set, and what the consents of all say; nothing if none is required.

    The consent of a person who was merged into another one counts for that one.
    """
    if rule.consents is None:
        return list(people), ()
    of_person = _find_latest(rule.consents, store.merged_people())
    answers = [_answer(person, of_person.get(person.id)) for person in people]
    allowed = [one for one, answer in zip(people, answers, strict=True) if not answer.code]
    return allowed, tuple(answers)


def _find_latest(
    consents: Sequence[PersonConsent], merged: Mapping[int, int]
) -> dict[int, PersonConsent]:
    latest: dict[int, PersonConsent] = {}
    for one in sorted(consents, key=lambda one: one.until):
        latest[merged.get(one.person_id, one.person_id)] = one
    return latest


def _answer(person: NamedPerson, consent: PersonConsent | None) -> ConsentAnswer:
    name = folder_name(person.id, person.name)
    if consent is None:
        code, until, file_name = ReasonCode.CONSENT_MISSING.value, "", ""
    else:
        code, until, file_name = consent.code, consent.until, consent.file_name
    reason = Reason.of(ReasonCode(code), until=until, name=file_name).text if code else ""
    return ConsentAnswer(name, until, code, reason)


def list_expired(consents: Mapping[str, str], today: date) -> list[str]:
    """Return the names of people whose consent has ended.

    Args:
        consents: The last day of each, as ISO 8601, by name.
        today: The day.
    """
    return [name for name, until in consents.items() if until < today.isoformat()]
