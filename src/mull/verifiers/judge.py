"""A chat model as the verifier: asked whether a step, or a whole solution, is right.

Where the server gives log-probabilities the value is the chance of the good word against the bad one at the
place of the verdict; else the verdict itself, 1 or 0, or its mean over ``samples``. A verdict that cannot be
found is no value. Steps that were judged before are not asked about again, so a growing trace costs its new
steps. Extra ``http``.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from mull.cost import Cost, ModelSize
from mull.engines.openai.engine import address, together
from mull.engines.openai.wire import Failed, Refused, Wire
from mull.errors import MullError
from mull.trace import Need, Scores, Trace
from mull.verifiers.base import Verdict

#: Judgements that are kept.
REMEMBERED = 1 << 16
_DIRECT = "Answer with one word: Yes or No."
_THOUGHT = "Think it through first. Then end with one line: 'Verdict: Yes' or 'Verdict: No'."
_SOLUTION = (
    "Problem:\n{problem}\n\nProposed solution:\n{solution}\n\n"
    "Is this solution, with its final answer, correct?"
)
_STEP = (
    "Problem:\n{problem}\n\nA solution so far, step by step:\n{solution}\n\n"
    "Look at the last step, step {k}: {step}\nIs it correct, given the problem and the steps before it?"
)


@dataclass(frozen=True)
class Question:
    """What a judge is asked: of a solution or of each step, in one word or after thought.

    ``ask`` holds {problem} and {solution} (of steps: up to and with the one asked about), and for steps
    {step} and {k}. ``good`` and ``bad`` are the words of the verdict, ``before`` what stands before it in
    a thought-out answer.
    """

    name: str
    of: Literal["solution", "step"]
    ask: str
    good: str = "Yes"
    bad: str = "No"
    before: str = ""

    def __post_init__(self) -> None:
        if "{problem}" not in self.ask or "{solution}" not in self.ask:
            raise MullError(f"judge {self.name!r}: 'ask' must hold {{problem}} and {{solution}}")

    def messages(self, problem: str, steps: Sequence[str]) -> list[dict[str, str]]:
        """The chat that asks about the last of some steps, or about them all."""
        if self.of == "step":
            shown = "\n".join(f"Step {k}: {step.strip()}" for k, step in enumerate(steps, 1))
        else:
            shown = "".join(steps).strip()
        fields = {"problem": problem, "solution": shown, "step": steps[-1].strip(), "k": str(len(steps))}
        text = re.sub(r"\{(problem|solution|step|k)\}", lambda m: fields[m.group(1)], self.ask)
        return [{"role": "user", "content": text}]

    def find(self, text: str) -> tuple[int, bool] | None:
        """Where the verdict's word begins in an answer, and whether it is the good one."""
        words = rf"({re.escape(self.good)}|{re.escape(self.bad)})\b"
        if self.before:
            found = list(re.finditer(rf"{re.escape(self.before)}[\s*\"'`]*{words}", text, re.IGNORECASE))
        else:
            first = re.match(rf"[\s*\"'`]*{words}", text, re.IGNORECASE)
            found = [first] if first else []
        if not found:
            return None
        return found[-1].start(1), found[-1].group(1).lower() == self.good.lower()


QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        each.name: each
        for each in (
            Question("judge", "solution", f"{_SOLUTION} {_DIRECT}"),
            Question("judge-steps", "step", f"{_STEP} {_DIRECT}"),
            Question("judge-thought", "solution", f"{_SOLUTION} {_THOUGHT}", before="Verdict:"),
            Question("judge-steps-thought", "step", f"{_STEP} {_THOUGHT}", before="Verdict:"),
        )
    }
)


class Judge:
    """Implements :class:`mull.verifiers.base.Verifier`; ``kind`` is "process" where it is asked of steps.

    ``max_tokens`` (None: 4, or 2,048 for thought) limits an answer; ``samples`` answers are drawn at
    ``temperature`` (None: 0 for one, 1 for several) and their values averaged.
    """

    def __init__(
        self,
        question: Question,
        url: str,
        model: str,
        *,
        key: str | None = None,
        size: ModelSize | None = None,
        max_tokens: int | None = None,
        samples: int = 1,
        temperature: float | None = None,
        logprobs: bool = True,
        timeout: float = 600.0,
        retries: int = 5,
        concurrency: int = 64,
    ) -> None:
        self.question, self.model = question, model
        self.wire = Wire(address(url), key, timeout, retries, concurrency)
        self.kind: Need = "process" if question.of == "step" else "outcome"
        self.max_tokens = max_tokens or (2048 if question.before else 4)
        self.samples = samples
        self.temperature = temperature if temperature is not None else (0.0 if samples == 1 else 1.0)
        self.logprobs, self._size = logprobs, size or ModelSize(0)
        self._known: OrderedDict[tuple[str, tuple[str, ...]], float] = OrderedDict()

    @property
    def name(self) -> str:
        """Model, question and number of samples."""
        many = f", {self.samples} samples" if self.samples > 1 else ""
        return f"{self.model} ({self.question.name}{many})"

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        return self._size

    async def aclose(self) -> None:
        """Close this event loop's connections; a loop that ends does it too."""
        await self.wire.aclose()

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order; each distinct question is asked once, and its first trace pays."""
        wanted: dict[tuple[str, tuple[str, ...]], int] = {}
        keys = []
        for i, trace in enumerate(traces):
            steps = tuple(step.text for step in trace.steps)
            ends = range(1, len(steps) + 1) if self.question.of == "step" else [len(steps)]
            mine = [(trace.problem.prompt, steps[:end]) for end in ends]
            keys.append(mine if "".join(steps).strip() and all(s.strip() for s in steps) else [])
            for key in keys[-1]:
                if key not in self._known:
                    wanted.setdefault(key, i)
        told = await together(self._ask(*key) for key in wanted)
        answers = dict(zip(wanted, told, strict=True))
        costs = [Cost() for _ in traces]
        for (key, i), (value, cost, _) in zip(wanted.items(), told, strict=True):
            costs[i] += cost
            if value is not None:
                self._known[key] = value
        verdicts = []
        for mine, cost in zip(keys, costs, strict=True):
            why = "" if mine else "the solution is empty, or a step of it is"
            values = []
            for number, key in enumerate(mine, 1):
                value, _, error = answers.get(key, (self._known.get(key), None, ""))
                if value is None:
                    why = f"step {number}: {error}" if self.question.of == "step" else error
                    break
                values.append(value)
            verdicts.append(Verdict(None if why else Scores(tuple(values)), cost, why))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return verdicts

    async def _ask(self, problem: str, steps: tuple[str, ...]) -> tuple[float | None, Cost, str]:
        """A value, what it cost, and why there is none."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": self.question.messages(problem, steps),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": 20}
        cost, values = Cost(), []
        try:
            for answer in await asyncio.gather(
                *(self.wire.post("/chat/completions", body) for _ in range(self.samples))
            ):
                cost += self._cost(answer)
                value, why = self._value(answer)
                if value is None:
                    return None, cost, why
                values.append(value)
        except Refused as error:
            if error.status in (401, 403, 404):
                raise MullError(f"judge {self.model!r} at {self.wire.url}: {error}") from None
            if "context" in error.said.lower():
                return None, cost, f"context too long: {error.said}"
            return None, cost, str(error)
        except Failed as error:
            return None, cost, str(error)
        return math.fsum(values) / len(values), cost, ""

    def _cost(self, answer: dict[str, Any]) -> Cost:
        usage = answer.get("usage")
        counts = (
            [usage.get(n) for n in ("prompt_tokens", "completion_tokens")] if isinstance(usage, dict) else []
        )
        tokens = sum(count for count in counts if isinstance(count, int))
        return Cost(verifier_tokens=tokens, verifier_flops=self._size.flops(tokens, 0))

    def _value(self, answer: dict[str, Any]) -> tuple[float | None, str]:
        served = answer.get("model")
        if isinstance(served, str) and served and served.rsplit("/", 1)[-1] != self.model.rsplit("/", 1)[-1]:
            base, asked = served.rsplit("/", 1)[-1], self.model.rsplit("/", 1)[-1]
            if not base.startswith(asked):  # dated names of the asked one are it
                raise MullError(f"{self.wire.url} answered with model {served!r}, not with {self.model!r}")
        try:
            choice = answer["choices"][0]
            text = str(choice["message"]["content"] or "")
        except (KeyError, IndexError, TypeError):
            return None, f"the judge's answer has no text; its fields are {sorted(answer)}"
        logprobs = choice.get("logprobs")
        pieces = logprobs.get("content") if isinstance(logprobs, dict) else None
        found = self.question.find(text)
        place = found[0] if found else None if self.question.before else 0
        if place is not None and isinstance(pieces, list):
            chance = self._chance(pieces, text, place)
            if chance is not None:
                return chance, ""
        if found is None:
            shown = " ".join(text.split())[-80:]
            cut = " (cut by length: raise max_tokens)" if choice.get("finish_reason") == "length" else ""
            return None, f"the judge gave no verdict{cut}: {shown!r}"
        return float(found[1]), ""

    def _chance(self, pieces: list[Any], text: str, place: int) -> float | None:
        """The chance of the good word against the bad one, at the token that holds character ``place``."""
        at = 0
        for piece in pieces:
            if not isinstance(piece, dict):
                return None
            spelt = str(piece.get("token", ""))
            if not text.startswith(spelt, at):
                return None  # bytes of a character, or another spelling: the words do
            at += len(spelt)
            if at > place:
                return self._share(piece.get("top_logprobs") or [])
        return None

    def _share(self, top: list[Any]) -> float | None:
        good = bad = 0.0
        for each in top:
            try:
                word, chance = str(each["token"]).strip(" \n\t*\"'`").lower(), math.exp(each["logprob"])
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
            if word and self.question.good.lower().startswith(word):
                good += chance
            elif word and self.question.bad.lower().startswith(word):
                bad += chance
        return good / (good + bad) if good + bad > 0 else None
