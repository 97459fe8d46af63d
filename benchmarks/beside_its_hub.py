"""mull beside its_hub on one vLLM server: best-of-16 and beam of 16, with the same reward model.

The server must be vLLM (its own counters are the requests and tokens of the table, and its_hub's
search garbles on servers that return the given beginning), serving the small world's proposer
under ``--chat-template`` as docs/engines.md says; the reward model is the small world's PRM, in
this process, for both. its_hub takes a problem a call: it is run one call after the other, as its
documentation shows, and with all calls at once.

    pip install 'its-hub[lm]' 'mull[http]'
    python benchmarks/beside_its_hub.py http://localhost:8000 [--problems 50] [--budget 16]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import time
import urllib.request
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from mull.answers import extract_answer, is_correct
from mull.drive import Driver, Task
from mull.engines.openai import OpenAIEngine
from mull.engines.prompts import FORMATS, RULES
from mull.problems import Problem
from mull.strategies.base import Arm
from mull.tiny.load import checkpoint, problems
from mull.trace import Step, Trace
from mull.verifiers.small import SmallVerifier

MAX_TOKENS = 200
COUNTERS = {
    "requests": "vllm:request_success_total",
    "prompt": "vllm:prompt_tokens_total",
    "cached": "vllm:prefix_cache_hits_total",
    "completion": "vllm:generation_tokens_total",
}


def counted(url: str) -> dict[str, float]:
    """The server's counters."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        told = answer.read().decode()
    if COUNTERS["requests"] not in told:
        raise SystemExit(f"{url}/metrics has no {COUNTERS['requests']}: it is no vLLM")
    return {
        name: sum(float(value) for value in re.findall(rf"^{key}\{{.*\}} (\S+)$", told, re.MULTILINE))
        for name, key in COUNTERS.items()
    }


@dataclass
class Judge:
    """The PRM as its_hub's reward models: of a text the value at its last step."""

    prm: SmallVerifier

    async def scored(self, prompt: str, texts: list[str]) -> list[float]:
        """A value a text."""

        def trace(text: str) -> Trace:
            finish = "stop" if "Answer:" in text else None
            return Trace(Problem("p", prompt)).then(
                tuple(Step(s, ()) for s in RULES["newline"].steps(text)), finish
            )

        found = await self.prm.score([trace(text) for text in texts])
        return [each.scores.last if each.scores else 0.0 for each in found]


def its_hub(
    url: str, model: str, prm: SmallVerifier, budget: int
) -> dict[str, Callable[[str], Awaitable[str]]]:
    """Of either algorithm: a problem's text in, the chosen solution out."""
    from its_hub.api import AbstractOutcomeRewardModel, AbstractProcessRewardModel
    from its_hub.core.algorithms.beam_search import BeamSearch
    from its_hub.core.algorithms.bon import BestOfN
    from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
    from its_hub.core.lms.step_generation import StepGeneration
    from its_hub.core.orchestrator import LMOrchestrator

    judge = Judge(prm)

    class Outcome(AbstractOutcomeRewardModel):
        def score(self, messages, **_):
            raise NotImplementedError

        async def ascore(self, messages, orchestrator=None, **_):
            return await judge.scored(messages[0][0].content, [each[-1].content for each in messages])

    class Process(AbstractProcessRewardModel):
        def score(self, prompt_or_messages, steps):
            raise NotImplementedError

        async def ascore(self, prompt_or_messages, steps):
            return await judge.scored(prompt_or_messages, steps)

    lm = OpenAICompatibleLanguageModel(
        f"{url}/v1", "none", model, temperature=1.0, max_completion_tokens=MAX_TOKENS
    )
    steps = StepGeneration(40, "\n", "Answer:", temperature=1.0)
    # Its default of 32 in flight blocks a thread for every request that waits; on two cores these are all the
    # threads there are, and with none left to look up the server's name every request runs into a time-out.
    best = BestOfN(Outcome(), LMOrchestrator(max_concurrency=-1))
    beam = BeamSearch(steps, Process(), 4)

    async def run(algorithm, prompt: str) -> str:
        return str((await algorithm.ainfer(lm, prompt, budget))["content"])

    return {"best_of_n": lambda p: run(best, p), "beam": lambda p: run(beam, p)}


def measured(url: str, name: str, work: Callable[[], tuple[int, int]]) -> str:
    """A row of the table, as ``work`` goes."""
    before, wall, cpu = counted(url), time.perf_counter(), time.process_time()
    good, count = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    time.sleep(1.0)  # the server counts a little later
    used = {key: value - before[key] for key, value in counted(url).items()}
    return (
        f"| {name} | {wall:.1f} s | {cpu:.1f} s | {used['requests']:,.0f} | {used['prompt']:,.0f} | "
        f"{used['cached'] / max(used['prompt'], 1):.0%} | {used['completion']:,.0f} | {good} of {count} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--problems", type=int, default=50)
    parser.add_argument("--budget", type=int, default=16)
    args = parser.parse_args()
    url = args.url.rstrip("/").removesuffix("/v1")
    warnings.simplefilter("ignore", DeprecationWarning)
    logging.disable(logging.ERROR)
    prm = SmallVerifier.load(checkpoint("prm"))
    asked = problems(count=args.problems)
    chat = replace(FORMATS["chat"], rule=RULES["newline"])

    def one_by_one(algorithm: Callable[[str], Awaitable[str]]) -> tuple[int, int]:
        async def run() -> list[str]:
            return [await algorithm(problem.prompt) for problem in asked]

        return graded(asyncio.run(run()))

    def at_once(algorithm: Callable[[str], Awaitable[str]]) -> tuple[int, int]:
        async def run() -> list[str]:
            return list(await asyncio.gather(*(algorithm(problem.prompt) for problem in asked)))

        return graded(asyncio.run(run()))

    def graded(texts: list[str]) -> tuple[int, int]:
        pairs = zip(asked, texts, strict=True)
        return sum(is_correct(extract_answer(text), problem.gold or "") for problem, text in pairs), len(
            asked
        )

    def ours(strategy: str, seeded: bool) -> tuple[int, int]:
        engine = OpenAIEngine(url, args.model, chat, seeded=seeded)
        driver = Driver(engine, prm.fresh(), seed=1, max_tokens=MAX_TOKENS)
        results = driver.run([Task(problem, Arm(strategy, args.budget)) for problem in asked])
        return sum(bool(each.correct) for each in results), len(asked)

    asyncio.run(OpenAIEngine(url, args.model, chat).capabilities())  # probed before anything is timed
    print("| | wall | CPU here | requests | prompt tokens | from cache | completion tokens | right |")
    print("|---|---|---|---|---|---|---|---|")
    for strategy in ("best_of_n", "beam"):
        label = f"{strategy} {args.budget}"
        algorithm = its_hub(url, args.model, prm.fresh(), args.budget)[strategy]
        print(
            measured(url, f"its_hub {label}, a problem at a time", lambda a=algorithm: one_by_one(a)),
            flush=True,
        )
        algorithm = its_hub(url, args.model, prm.fresh(), args.budget)[strategy]
        print(measured(url, f"its_hub {label}, all at once", lambda a=algorithm: at_once(a)), flush=True)
        for seeded in (True, False):
            name = f"mull {label}{'' if seeded else ', without seeds'}"
            print(measured(url, name, lambda s=strategy, d=seeded: ours(s, d)), flush=True)


if __name__ == "__main__":
    main()
