"""Cost: what sampling and verifying took, counted once and in every unit.

A :class:`Cost` is a sum; costs add. Pruned branches, rollouts and verifier calls are
all in it. The module counts; it never limits (the driver does) and never guesses
a token count that an engine did not report.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSize:
    """What FLOPs depend on.

    ``parameters`` are those that take part in a token's forward pass (the output
    matrix counted, an untied input embedding not); ``attention`` is query heads x head
    size summed over layers: the multiply-adds that one position of context costs, halved.
    """

    parameters: int
    attention: int = 0

    def flops(self, tokens: int, context: int) -> float:
        """FLOPs to process ``tokens`` new tokens after ``context`` cached ones.

        2 FLOPs a parameter a token, and 4 x ``attention`` for every earlier position
        attended to (scores and values; Kaplan et al. 2020, table 1).
        """
        positions = tokens * context + tokens * (tokens + 1) / 2
        return 2.0 * self.parameters * tokens + 4.0 * self.attention * positions


@dataclass(frozen=True)
class Cost:
    """What was spent. All fields add up.

    ``generations`` is the paper's unit: a full solution is one; a beam search counts
    its widest round, and a lookahead of k counts that k + 1 times (Snell et al. 2024,
    section 5.2). ``completion_tokens`` counts every sampled token once, pruned branches
    and rollouts included, never an inherited prefix. ``flops`` is the proposer's,
    ``verifier_flops`` the verifier's.
    """

    generations: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    verifier_tokens: int = 0
    flops: float = 0.0
    verifier_flops: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.generations + other.generations,
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.verifier_tokens + other.verifier_tokens,
            self.flops + other.flops,
            self.verifier_flops + other.verifier_flops,
        )

    @property
    def total_flops(self) -> float:
        """Proposer's and verifier's FLOPs together."""
        return self.flops + self.verifier_flops


def paper_flops(parameters: int, tokens: float, *, convention: str = "iclr") -> float:
    """Inference FLOPs in the paper's accounting: 2ND (arXiv v1) or 4ND (ICLR, verifier included)."""
    factor = {"v1": 2.0, "iclr": 4.0}
    if convention not in factor:
        raise ValueError(f"convention must be one of {sorted(factor)}, not {convention!r}")
    return factor[convention] * parameters * tokens
