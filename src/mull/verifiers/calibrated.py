"""A calibrated verifier: another's scores, each as the chance of being right that was fitted for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mull.errors import MullError
from mull.trace import Scores, Trace
from mull.verifiers.base import Verdict, Verifier
from mull.verifiers.calibration import Calibration


class Calibrated:
    """Implements :class:`mull.verifiers.base.Verifier`.

    :class:`MullError` for a calibration that was fitted for another verifier. Every step's value goes through
    the same map, which keeps their order.
    """

    def __init__(self, inner: Verifier, calibration: Calibration) -> None:
        if calibration.verifier and calibration.verifier != inner.name:
            raise MullError(
                f"the calibration was fitted for verifier {calibration.verifier!r}, not for {inner.name!r}; "
                "fit it again"
            )
        self.inner, self.calibration = inner, calibration

    @classmethod
    def load(cls, inner: Verifier, path: Path) -> Calibrated:
        """With a saved calibration; :class:`MullError` if it cannot be read."""
        return cls(inner, Calibration.load(path))

    @property
    def name(self) -> str:
        """The verifier's name and the method."""
        return f"{self.inner.name}, {self.calibration.method}"

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order; costs are the verifier's."""
        return [self._one(verdict) for verdict in await self.inner.score(traces)]

    def _one(self, verdict: Verdict) -> Verdict:
        if verdict.scores is None:
            return verdict
        try:
            found = self.calibration(verdict.scores.steps)
        except ValueError:
            bad = [x for x in verdict.scores.steps if not 0 <= x <= 1]
            return replace(verdict, scores=None, error=f"the verifier gave {bad[0]}, which is not in [0, 1]")
        return replace(verdict, scores=Scores(tuple(float(x) for x in found)))
