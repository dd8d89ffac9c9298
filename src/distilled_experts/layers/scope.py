"""How many experts a scope compares."""

from __future__ import annotations

import re

from distilled_experts.errors import InvalidParameterError

_SCOPE = re.compile(r"active\+([1-9][0-9]*)")


def extra_experts(scope: str, n_experts: int, top_k: int | None) -> int:
    """Give the number of experts that are compared beside the active ones, for one of the names of a scope.

    Raises
    ------
    InvalidParameterError
        The scope has no such name, or asks for more experts than there are.
    """
    spare = n_experts - (top_k or n_experts)
    if scope == "active":
        return 0
    if scope == "all":
        return spare
    match = _SCOPE.fullmatch(scope)
    if match is None:
        raise InvalidParameterError("scope", scope, "active, all, active+m with a whole number m ≥ 1")
    extra = int(match[1])
    if extra > spare:
        allowed = f"active, all, active+m with m at most {spare}, the number of experts that are not active"
        raise InvalidParameterError("scope", scope, allowed)
    return extra
