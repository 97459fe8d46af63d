"""What ``test_vllm_engine.py`` runs in a Python that has vLLM: jobs from standard input, results as JSON."""

import asyncio
import json
import sys
import time

from mull.engines.base import Job
from mull.engines.prompts import FORMATS
from mull.engines.vllm import VLLMEngine
from mull.problems import Problem
from mull.tiny.load import checkpoint
from mull.trace import Step, Trace


def main() -> None:
    began = time.monotonic()
    engine = VLLMEngine.load(
        checkpoint("proposer"),
        FORMATS["text"],
        dtype="float32",
        enforce_eager=True,
        block_size=32,
        max_num_seqs=64,
    )
    size = engine.size
    said = {"name": engine.name, "size": [size.parameters, size.attention], "start": time.monotonic() - began}
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        jobs = []
        for prompt, steps, wanted, temperature, seed, limit in json.loads(line):
            trace = Trace(Problem(prompt, prompt), tuple(Step(text, tuple(ids)) for text, ids in steps))
            jobs.append(Job(trace, wanted, temperature, seed, limit))
        began = time.monotonic()
        made = asyncio.run(engine.sample(jobs))
        rows = [
            {
                "steps": [[s.text, list(s.tokens), list(s.logprobs)] for s in m.trace.steps],
                "finish": m.trace.finish,
                "error": m.trace.error,
                "cost": [
                    m.cost.requests,
                    m.cost.prompt_tokens,
                    m.cost.cached_tokens,
                    m.cost.completion_tokens,
                ],
            }
            for m in made
        ]
        print(json.dumps({"seconds": time.monotonic() - began, "rows": rows}), flush=True)


if __name__ == "__main__":
    main()
