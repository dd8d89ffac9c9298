"""Pieces: what the paper shows in one place, and what our records say of it, as statements with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from distilled_experts.reproduction.study import Study, seconds_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["VERDICTS", "Claim", "Figures", "Finding", "Outcome", "Piece", "verdict_of"]

Figures: TypeAlias = "Mapping[str, Callable[[], Figure]]"
"""Figures by name, drawn when called."""

VERDICTS = ("holds", "holds in part", "does not hold", "could not be checked")


@dataclass(frozen=True)
class Claim:
    """A statement that records bear out or not.

    Attributes
    ----------
    text : str
        With its threshold, so that anyone can check it.
    holds : bool or None
        None: the records cannot tell.
    found : str
        The numbers that decide.
    """

    text: str
    holds: bool | None
    found: str


@dataclass(frozen=True)
class Finding:
    """What the records of a piece say: tables in Markdown, statements, and figures."""

    table: str
    claims: Sequence[Claim]
    figures: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A piece beside its records.

    Attributes
    ----------
    finding : Finding or None
        None: there are no records.
    verdict : str
        One of `VERDICTS`.
    seconds : float
        Cost of the records.
    missing : int
        Records that are still to be made.
    """

    finding: Finding | None
    verdict: str
    seconds: float
    missing: int


@dataclass(frozen=True)
class Piece:
    """One table, figure or statement of the paper.

    Attributes
    ----------
    id, title : str
    paper : str
        What the paper shows there, as far as it is known.
    number : str
        Such as "figure 3"; numbers of tables but the eighth are ours.
    studies : tuple of Study
        What it rests on.
    find : callable
        From the records of each study, one list a study, to what they say; called when every study has some.
    partly : bool
        `find` is called as soon as one study has records.
    """

    id: str
    title: str
    paper: str
    studies: tuple[Study, ...]
    find: Callable[..., Finding]
    number: str = ""
    partly: bool = False

    def examine(self, results: Path) -> Outcome:
        """What the records in a folder say."""
        records = [study.read(results) for study in self.studies]
        enough = any(records) if self.partly else all(records)
        finding = self.find(*records) if enough else None
        return Outcome(
            finding,
            verdict_of(finding.claims if finding else ()),
            sum(seconds_of(record) for of_study in records for record in of_study),
            sum(len(study.missing(results)) for study in self.studies),
        )


def verdict_of(claims: Sequence[Claim]) -> str:
    """The verdict in words: a piece holds where all its statements do, in part where some do.

    Examples
    --------
    >>> yes, no, unknown = (Claim("", holds, "") for holds in (True, False, None))
    >>> [verdict_of(claims) for claims in ([yes], [yes, no], [yes, unknown], [no, unknown], [unknown])]
    ['holds', 'holds in part', 'holds in part', 'does not hold', 'could not be checked']
    """
    found = [claim.holds for claim in claims]
    if all(holds is None for holds in found):
        return VERDICTS[3]
    if not any(found):
        return VERDICTS[2]
    return VERDICTS[0] if all(found) else VERDICTS[1]
