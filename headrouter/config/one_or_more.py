"""Define a list for which a single item may be given: ``replace="qi"`` is ``replace=("qi",)``."""

from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

T = TypeVar("T")


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


OneOrMore = Annotated[tuple[T, ...], BeforeValidator(_as_list)]
"""Several pieces of text, or one."""
