"""Sampling one trace over HTTP: requests until its steps are there, and what became of them.

A :class:`Run` is one job on its way. It knows where a step ends (the format's rule) and what
of an answer is the model's own; it knows nothing of other jobs. Text that a server
cut off at a stop is put back, so a trace's text is what the model wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mull.cost import Cost, ModelSize
from mull.engines.base import Continuation, Job
from mull.engines.openai import asking, reply
from mull.engines.openai.capabilities import Route
from mull.engines.openai.reply import Choice, Reply, Usage
from mull.engines.openai.thinking import split, think
from mull.engines.openai.wire import Failed, Wire
from mull.engines.pieces import Piece, cut, step_of
from mull.engines.prompts import Format, Prompt
from mull.errors import MullError
from mull.trace import Finish, Step, ThinkingBudget

#: Answers of white space alone that are put up with, one after the other.
MOST_BLANK = 3
Ending = Literal["step", "blank", "stop", "length"]


@dataclass(frozen=True)
class Settings:
    """What all requests of an engine have in common. ``notes`` counts what could not be had."""

    wire: Wire
    model: str
    route: Route
    format: Format
    size: ModelSize
    logprobs: bool
    notes: Counter[str] = field(default_factory=Counter)

    async def ask(
        self,
        prompt: Prompt,
        job: Job,
        limit: int,
        seed: int | None,
        n: int = 1,
        *,
        thinking: bool = False,
    ) -> Reply:
        """One request for ``n`` continuations of the prompt; by stream where steps need that.

        With ``thinking`` it goes on to the end of the thinking. Thinking in a field of its own is text
        wherever a trace is continued: then the server cannot know what is what.
        """
        form = self.format
        part = thinking or job.steps is not None
        by_stops = part and self.route.step_by_stops
        ends = (form.marks.close,) if thinking else form.rule.stops
        stops = (ends if by_stops else ()) + (() if thinking else form.stops)
        sent = asking.body(
            self.model,
            prompt,
            self.route,
            limit=limit,
            temperature=job.temperature,
            stops=stops[:4],
            seed=seed,
            n=n,
            logprobs=self.logprobs,
        )
        path, chat = asking.path(form.chat), form.chat
        if part and not by_stops and self.route.stream:
            if self.route.stream_usage:
                sent |= asking.streamed(self.route)
            over = form.marks.closed if thinking else form.rule.ended
            found = await self.wire.stream(path, sent, _Stream(self, prompt.so_far, chat, over).read)
        else:
            found = reply.read(await self.wire.post(path, sent), chat=chat)
        reply.check_model(found, self.model)
        if len(found.choices) < n:
            raise Failed(
                f"the server gave {len(found.choices)} choices where {n} were asked for; probe it again"
            )
        choices = found.choices
        if prompt.so_far or part:
            if job.steps is not None and not form.thinks and any(c.thinking for c in choices):
                raise MullError(
                    f"{self.model!r} thinks before its solution, so its steps cannot be told apart: name it "
                    'with thinking = "<think>...</think>"'
                )
            choices = tuple(replace(c, text=c.thinking + c.text, thinking="") for c in choices)
        own = (self.newly(choice, prompt.so_far) for choice in choices)
        return replace(found, choices=tuple(own))

    def newly(self, choice: Choice, given: str) -> Choice:
        """A choice with what of it is new."""
        pieces, text = choice.pieces, self.own(choice.text, given)
        if self.route.trims and given != given.rstrip():
            # The lost white space was sampled once more.
            blank = next((k for k, piece in enumerate(pieces) if piece.spells.strip()), len(pieces))
            pieces = pieces[blank:]
        return replace(choice, text=text, pieces=pieces)

    def own(self, text: str, given: str) -> str:
        """What of an answer is new: without the given beginning and white space lost by trimming."""
        if self.route.echoes:
            sent = given.rstrip() if self.route.trims else given
            if sent.startswith(text):
                return ""
            text = text.removeprefix(sent)
        return text.lstrip() if self.route.trims and given != given.rstrip() else text

    def cost(self, usage: Usage | None, completion: int, first: bool = True) -> Cost:
        """What one choice cost; of several choices the ``first`` pays for request and prompt."""
        if usage is None:
            self.notes["answers without usage: their prompt tokens are not counted"] += first
            usage = Usage(0, 0, 0)
        cached = (usage.cached or 0) if first else usage.prompt
        forward = max(usage.prompt - cached - 1, 0) + completion
        flops = self.size.flops(forward, cached) if self.size.parameters else 0.0
        if not first:
            return Cost(completion_tokens=completion, flops=flops)
        return Cost(
            requests=1,
            prompt_tokens=usage.prompt,
            cached_tokens=cached,
            completion_tokens=completion,
            flops=flops,
        )

    def completions(self, found: Reply) -> list[int]:
        """Sampled tokens of every choice: of one the server's count, of several as their pieces tell.

        Without pieces several choices' tokens are all counted at the first; without usage
        the pieces are counted, or the parts of a stream, and it is noted.
        """
        choices, usage = found.choices, found.usage
        if usage is not None and len(choices) == 1:
            return [usage.completion]
        if all(choice.pieces for choice in choices):
            return [len(choice.pieces) for choice in choices]
        if usage is not None:
            return [usage.completion] + [0] * (len(choices) - 1)
        self.notes[
            "answers without usage: completion tokens counted by parts of the stream, or not at all"
        ] += 1
        return [choice.parts for choice in choices]


class _Stream:
    """Reads one streamed choice as far as it is wanted: until ``over`` says so, at a step's end or such."""

    def __init__(self, settings: Settings, given: str, chat: bool, over: Callable[[str], bool]) -> None:
        self.settings, self.given, self.chat, self.over = settings, given, chat, over

    async def read(self, events: AsyncIterator[dict[str, Any]]) -> Reply:
        """The choice so far when it is over, else the whole."""
        text, model, parts = "", "", 0
        finish: str | None = None
        stop: str | None = None
        found: list[Piece] = []
        usage: Usage | None = None
        async for event in events:
            added, ended, pieces = reply.part(event, chat=self.chat)
            text, parts, found = text + added, parts + bool(added), [*found, *pieces]
            model = model or str(event.get("model") or "")
            usage = reply.usage(event) or usage
            finish = ended or finish
            if finish is None and self.over(self.settings.own(text, self.given)):
                choice = Choice(text, "stop", pieces=tuple(found), parts=parts)
                return Reply(model, (choice,), usage)
        if finish is None:
            raise Failed("the connection broke: the stream ended before the answer did")
        kind = reply.finish(finish)
        return Reply(model, (Choice(text, kind, stop, tuple(found), parts),), usage)


class Run:
    """One job on its way: :meth:`take` an answer, or :meth:`go` to the end."""

    def __init__(self, settings: Settings, job: Job, seed: int | None) -> None:
        self.settings, self.job, self.seed = settings, job, seed
        self.prompt = settings.format.prompt(job.trace)
        self.steps: list[Step] = []
        self.fragment: list[Choice] = []  # white space, or what a step began with
        self.left = job.max_tokens
        self.cost = Cost()
        self.asked = 0
        self.done: Continuation | None = None
        form, fresh = settings.format, not job.trace.steps and job.trace.thinking is None
        self.thinking = job.trace.thinking
        self.budget = (job.thinking or form.budget) if form.thinks and fresh else None
        #: Whether the thinking is asked for by itself first; else it comes with the solution, if at all.
        self.thinks_first = form.thinks and fresh and (self.budget is not None or job.steps is not None)
        self.whole = fresh and not self.thinks_first

    async def go(self) -> Continuation:
        """Ask until the job is done."""
        if self.thinks_first:
            await self.think()
        while self.done is None:
            made = "".join(step.text for step in self.steps) + "".join(c.text for c in self.fragment)
            prompt = replace(self.prompt, so_far=self.prompt.so_far + made)
            seed = self.seed_of(self.asked)
            found = await self.settings.ask(prompt, self.job, self.left, seed)
            self.take(found.choices[0], found.usage, self.settings.completions(found)[0])
        return self.done

    def seed_of(self, request: int) -> int | None:
        """The seed of a request: later ones of a job draw with others, as the same would repeat itself."""
        return None if self.seed is None else self.seed + 0x9E3779B1 * request

    async def think(self) -> None:
        """Have the model think first, and show that before the solution."""
        settings, marks = self.settings, self.settings.format.marks

        async def ask(so_far: str, limit: int, number: int) -> Reply:
            prompt = replace(self.prompt, so_far=so_far)
            return await settings.ask(prompt, self.job, limit, self.seed_of(number), thinking=True)

        def price(found: Reply) -> tuple[Cost, int]:
            self.asked += 1
            count = settings.completions(found)[0]
            cost = settings.cost(found.usage, count)
            self.cost += cost
            return cost, count

        found = await think(ask, price, marks, self.budget or ThinkingBudget(self.job.max_tokens))
        self.thinking = found.thinking
        self.prompt = replace(self.prompt, so_far=marks.shown(found.thinking.text))
        if self.budget is None:
            self.left -= found.spent
            if self.left <= 0:
                self.finish("length")

    def take(
        self, choice: Choice, usage: Usage | None, completion: int, first: bool = True, alone: bool = True
    ) -> None:
        """Add one answer to the job; ``alone`` if the ``usage`` is of this choice only."""
        self.asked += 1
        self.cost += self.settings.cost(usage, completion, first)
        self.left -= completion
        if self.whole and self.asked == 1:
            choice, self.thinking = split(choice, self.settings.format, usage if alone else None)
        rule, before = self.settings.format.rule, "".join(c.text for c in self.fragment)
        choice, ending = ended(choice, before, self.settings.format, self.job.steps is not None)
        self.fragment.append(choice)
        if ending == "blank":
            if len(self.fragment) > MOST_BLANK:
                self.fail(
                    f"the server answered {MOST_BLANK + 1} times with white space where a step should be"
                )
        elif ending == "step":
            self.steps.extend(self.cut(1))
            self.fragment = []
            if len(self.steps) == self.job.steps:
                self.finish(None)
        else:
            self.steps.extend(self.cut(len(rule.steps(before + choice.text))))
            self.finish(ending)
        if self.done is None and self.left <= 0:
            self.finish("length")

    def cut(self, count: int) -> list[Step]:
        """The fragments as ``count`` steps (one step exactly where one was asked for)."""
        text = "".join(c.text for c in self.fragment)
        texts = [text] if self.job.steps is not None and count else self.settings.format.rule.steps(text)
        pieces = [piece for c in self.fragment for piece in reply.aligned(c)]
        if b"".join(p.spells for p in pieces)[: len(text.encode())] != text.encode():
            pieces = []
        return [step_of(text, part) for text, part in zip(texts, cut(pieces, texts), strict=True)]

    def finish(self, finish: Finish | None) -> None:
        """End the job."""
        trace = replace(self.job.trace, thinking=self.thinking)
        self.done = Continuation(trace.then(tuple(self.steps), finish), self.cost)

    def fail(self, why: str, first: bool = True) -> Continuation:
        """End the job with an error; the steps that it has got are dropped, their cost is not.

        The failed request is counted with the ``first`` of the jobs that shared it.
        """
        self.cost += Cost(requests=int(first))
        self.done = Continuation(self.job.trace.then((), "error", why), self.cost)
        return self.done


def ended(choice: Choice, before: str, form: Format, stepwise: bool) -> tuple[Choice, Ending]:
    """How an answer that goes on from ``before`` ended, with its text put right.

    A stop text that the server names and has cut is put back; what follows the end of a
    step, or of the solution, is dropped.
    """
    text, rule = choice.text, form.rule
    if stepwise and choice.stop in rule.stops and choice.stop and not text.endswith(choice.stop):
        text += choice.stop
    full = before + text
    over = min((found for stop in form.stops if (found := full.find(stop)) >= 0), default=len(full))
    at = rule.end(full) if stepwise else None
    ending: Ending = choice.finish
    if at is not None and at <= over:
        full, ending = full[:at], "step"
    elif over < len(full):
        full, ending = full[:over], "stop"
    elif stepwise and choice.finish == "stop" and any(stop in text for stop in rule.stops):
        # It stopped at the white space before the step.
        kept = min(text.find(stop) + len(stop) for stop in rule.stops if stop in text)
        full, ending = before + text[:kept], "blank"
    return replace(choice, text=full[len(before) :]), ending
