"""Declare what a job returns; see ``result_codec``.

The service and commands name jobs without loading what checks their results, so a job names its
schema as ``module:object``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from portraitd.workers.result_codec import ResultSchema

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])

_SCHEMA = "portraitd_result_schema"


def returns(name: str) -> Callable[[Function], Function]:
    """Declare the schema of a job's result.

    Args:
        name: ``module:object``; the module is imported when the job runs.
    """

    def declare(function: Function) -> Function:
        setattr(function, _SCHEMA, name)
        return function

    return declare


def schema_of(function: Callable[..., T]) -> ResultSchema[T]:
    """Return the schema that a job declares.

    Raises:
        LookupError: It declares none, so nothing that a worker says of it can be accepted.
    """
    name = getattr(function, _SCHEMA, None)
    if not isinstance(name, str):
        raise LookupError(
            f"{function.__module__}.{getattr(function, '__qualname__', function)} "
            "does not declare what it returns"
        )
    return _find_schema(name)


@lru_cache(maxsize=64)
def _find_schema(name: str) -> ResultSchema[Any]:
    module, _, attribute = name.partition(":")
    from portraitd.workers.result_codec import ResultSchema

    schema = getattr(import_module(module), attribute)
    if not isinstance(schema, ResultSchema):
        raise LookupError(f"{name} is not a schema")
    return schema
