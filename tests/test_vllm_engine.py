"""The vLLM engine in process, with the real vLLM on a CPU, against the built-in engine on the small world.

Minutes long, and nothing is installed here: name a Python that has vLLM, Polars and Rich in it.

    MULL_VLLM_PYTHON=.../bin/python pytest -m slow -s tests/test_vllm_engine.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mull.answers import extract_answer
from mull.cost import ModelSize
from mull.engines.base import Job
from mull.engines.small import SmallEngine
from mull.reading import answer_of
from mull.select import SELECTORS
from mull.tiny.load import checkpoint, problems
from mull.trace import Candidate, Step, Trace
from real_servers import named

pytestmark = pytest.mark.slow
SMALL = SmallEngine.load(checkpoint("proposer"))
PROBLEMS = problems(count=30)
MAX_TOKENS = 200


class Inside:
    """vLLM in a process of the Python that has it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.about = self.read()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        pytest.fail(f"vLLM ended with status {self.process.wait()}")

    def sample(self, jobs: list[Job]) -> list[tuple[Trace, list[int]]]:
        """Traces, and requests, prompt, cached and completion tokens."""
        asked = [
            [
                j.trace.problem.prompt,
                [[s.text, s.tokens] for s in j.trace.steps],
                *(j.steps, j.temperature, j.seed, j.max_tokens),
            ]
            for j in jobs
        ]
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        found = []
        for job, row in zip(jobs, self.read()["rows"], strict=True):
            steps = tuple(Step(text, tuple(ids), tuple(values)) for text, ids, values in row["steps"])
            found.append((Trace(job.trace.problem, steps, row["finish"], row["error"]), row["cost"]))
        return found


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    source = Path(__file__).parent.parent / "src"
    env = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    env |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    command = [named("MULL_VLLM_PYTHON"), str(Path(__file__).parent / "vllm_inside.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (tmp_path_factory.mktemp("vllm") / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, text=True, stderr=log, start_new_session=True, **pipes)
        try:
            yield Inside(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that vLLM starts
            process.wait()


def test_greedy_solutions_ids_and_logprobs_are_the_built_in_engine_s(vllm: Inside) -> None:
    assert ModelSize(*vllm.about["size"]) == SMALL.size
    asked = [Job(Trace(p), None, 0.0, 0, MAX_TOKENS) for p in PROBLEMS]
    worst = 0.0
    for (trace, cost), wanted in zip(vllm.sample(asked), SMALL.sample_now(asked), strict=True):
        assert [(s.text, s.tokens) for s in trace.steps] == [(s.text, s.tokens) for s in wanted.trace.steps]
        assert trace.finish == wanted.trace.finish
        assert cost[0] == 1 and cost[1] == wanted.cost.prompt_tokens and cost[3] == len(trace.tokens)
        pairs = zip(trace.steps, wanted.trace.steps, strict=True)
        worst = max(worst, *(float(np.abs(np.subtract(a.logprobs, b.logprobs)).max()) for a, b in pairs))
    print(f"\n30 greedy solutions equal; log-probabilities differ by at most {worst:.1e}")
    assert worst < 1e-3


def test_step_by_step_is_the_whole_and_comes_from_the_cache(vllm: Inside) -> None:
    traces, prompt, cached = [Trace(p) for p in PROBLEMS[:10]], 0, 0
    while any(t.open for t in traces):
        going = [i for i, t in enumerate(traces) if t.open]
        made = vllm.sample([Job(traces[i], 1, 0.0, 0, MAX_TOKENS) for i in going])
        for i, (found, cost) in zip(going, made, strict=True):
            new = found.steps[len(traces[i].steps) :]
            assert len(new) <= 1
            traces[i] = traces[i].then(new, found.finish)
            prompt, cached = prompt + cost[1], cached + cost[2]
    whole = SMALL.sample_now([Job(Trace(p), None, 0.0, 0, MAX_TOKENS) for p in PROBLEMS[:10]])
    assert [t.tokens for t in traces] == [m.trace.tokens for m in whole]
    print(f"\nstep by step: {cached} of {prompt} prompt tokens from the cache")
    assert cached > prompt / 4


def test_majority_of_16_is_as_good_as_the_built_in_engine_s(vllm: Inside) -> None:
    asked = [
        Job(Trace(p), None, 1.0, 7919 * at + i, MAX_TOKENS)
        for at, p in enumerate(PROBLEMS)
        for i in range(16)
    ]
    found = [trace for trace, _ in vllm.sample(asked)]
    again = [trace for trace, _ in vllm.sample(asked[:64])]
    repeated = sum(a.text == b.text for a, b in zip(found, again, strict=False))
    assert repeated >= 60, "seeds are the jobs'"
    right: dict[str, list[float]] = {}
    singles: dict[str, float] = {}
    for name, traces in (("vLLM", found), ("built-in", [m.trace for m in SMALL.sample_now(asked)])):
        answers = [answer_of(trace, extract_answer) for trace in traces]
        right[name] = []
        for at, problem in enumerate(PROBLEMS):
            mine = range(16 * at, 16 * at + 16)
            chosen = SELECTORS["majority"](problem.id, [Candidate(traces[i], answers[i]) for i in mine])
            right[name].append(float(chosen.answer == problem.gold))
        singles[name] = float(np.mean([a == PROBLEMS[i // 16].gold for i, a in enumerate(answers)]))
    share = {name: float(np.mean(values)) for name, values in right.items()}
    print(f"\nmajority of 16 on 30 problems: {share}; one sample: {singles}; {repeated} of 64 repeated alike")
    # The same 30 problems: twice the standard error of the mean difference of 16 x 30 samples, and of votes.
    assert abs(singles["vLLM"] - singles["built-in"]) < 2 * np.sqrt(2 * 0.25 / 480)
    assert abs(share["vLLM"] - share["built-in"]) < 2 * np.sqrt(2 * 0.25 / 30)
