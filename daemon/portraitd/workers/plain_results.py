"""What short jobs may return: a number, a sentence, nothing."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from msgspec import Meta

from portraitd.model.errors import ConfigError
from portraitd.workers.result_codec import ResultSchema, pack_plain
from portraitd.workers.wire_types import Name

T = TypeVar("T")


def _of_any_arguments(value: T, *args: Any, **kwargs: Any) -> T:
    return value


NOTHING = ResultSchema[None](None, pack_plain, _of_any_arguments, errors=(ConfigError,))

SIZE = ResultSchema[int](
    Annotated[int, Meta(ge=1, le=1 << 20)], pack_plain, _of_any_arguments, errors=(ConfigError,)
)

REFUSALS = ResultSchema[dict[str, bool]](dict[Name, bool], pack_plain, _of_any_arguments)
