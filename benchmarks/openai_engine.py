"""What the engine for OpenAI-compatible servers costs a completion, against a server that answers at once.

The server is another process. Prints completions a second of the engine's CPU time (so that a busy
machine does not count) and of the wall clock, over several runs: minimum, median and maximum. Then
what a request through the engine takes longer than the same request through aiohttp alone, one
request at a time, the two in turn.

    python benchmarks/openai_engine.py [--runs 5] [--jobs 3000] [--in-flight 256]
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from statistics import median

from mull.engines.base import Job
from mull.engines.openai import Capabilities, OpenAIEngine, Route
from mull.problems import Problem
from mull.trace import Trace

SERVER = """
import asyncio, json
body = json.dumps({"model": "m", "choices": [{"index": 0, "text": "1 + 1 = 2\\nAnswer: 2",
    "finish_reason": "stop"}], "usage": {"prompt_tokens": 40, "completion_tokens": 12}}).encode()
head = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
class Serve(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.left = transport, b""
    def data_received(self, data):
        self.left += data
        while (end := self.left.find(b"\\r\\n\\r\\n")) >= 0:
            size = int(self.left[:end].lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
            if len(self.left) < end + 4 + size:
                return
            self.left = self.left[end + 4 + size:]
            self.transport.write(head + body)
async def main():
    server = await asyncio.get_running_loop().create_server(Serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


async def run(engine: OpenAIEngine, jobs: list[Job]) -> tuple[float, float]:
    """Completions a second of CPU time and of the wall clock, in calls of 16 jobs."""
    await engine.sample(jobs[:256])  # connections and pace
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(engine.sample(jobs[at : at + 16]) for at in range(0, len(jobs), 16)))
    return len(jobs) / (time.process_time() - cpu), len(jobs) / (time.perf_counter() - wall)


async def added(engine: OpenAIEngine, jobs: list[Job]) -> tuple[list[float], list[float]]:
    """Seconds of every request through the engine, and of one with the same body through aiohttp."""
    import aiohttp

    url = f"{engine.wire.url}/completions"
    ours, bare = [], []
    async with aiohttp.ClientSession() as session:
        for job in jobs:
            started = time.perf_counter()
            await engine.sample([job])
            ours.append(time.perf_counter() - started)
            body = {"model": "m", "prompt": job.trace.problem.prompt, "max_tokens": 400, "temperature": 1.0}
            started = time.perf_counter()
            async with session.post(url, json=body) as answer:
                await answer.json()
            bare.append(time.perf_counter() - started)
    return ours, bare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--in-flight", type=int, default=256)
    args = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        route = Route(True, continues="text", seed=True, stop_named=True, stop="cut")
        found = Capabilities(url, "m", route, Route(False))
        jobs = [
            Job(
                Trace(Problem(f"p{i // 16}", f"Problem {i // 16}: " + "words of it " * 20)), None, 1.0, i, 400
            )
            for i in range(args.jobs)
        ]
        engines = [
            OpenAIEngine(url, "m", capabilities=found, concurrency=args.in_flight) for _ in range(args.runs)
        ]
        rates = [asyncio.run(run(engine, jobs)) for engine in engines]
        ours, bare = (
            median(each) * 1000 for each in asyncio.run(added(engines[0], jobs[: min(1000, args.jobs)]))
        )
    finally:
        server.kill()
        server.wait()
    for name, values in zip(("a second of CPU time", "a second"), zip(*rates, strict=True), strict=True):
        low, middle, high = min(values), median(values), max(values)
        print(f"completions {name}: {low:.0f} .. {middle:.0f} .. {high:.0f}")
    print(f"CPU time a completion: {1000 / median(r[0] for r in rates):.2f} ms")
    print(f"one at a time, median: {ours:.2f} ms, aiohttp alone {bare:.2f} ms: adds {ours - bare:.2f} ms")


if __name__ == "__main__":
    main()
