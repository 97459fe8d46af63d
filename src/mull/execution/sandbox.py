"""The sandbox: candidate programs run on tests, where neither can do harm or cheat.

Two confined processes stand beside the caller's. One forks a process for each program, the other
for the tests; the caller's process only passes a socket from the first to the second, watches the
clock, and takes down verdicts. So a program's result is a function of the program, the suite and
the limits (hash seed and random seed are fixed): no program influences another, and no program can
reach a verdict. What the operating system enforces is in :data:`mull.execution.limits.GUARANTEES`,
by level; :attr:`Sandbox.level` says which one a system gave. The caller's process never compiles,
imports or decodes anything of a program's.
"""

from __future__ import annotations

import json
import math
import os
import signal
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from mull.errors import MullError
from mull.execution.launch import Launch, Running
from mull.execution.limits import GUARANTEES, Level, Limits
from mull.execution.suite import Outcome, Suite, Verdict
from mull.execution.wire import Ended

_STATUSES = ("pass", "fail", "error")


class Sandbox:
    """Runs programs on suites, one at a time; a context manager, not to be shared by threads.

    The strongest level of isolation that the system offers is used. Where that is only "weak",
    :class:`MullError` is raised unless ``weak`` allows it; ``level`` asks for one level by name.
    """

    def __init__(
        self, limits: Limits | None = None, *, level: Level | None = None, weak: bool = False
    ) -> None:
        self.limits = limits or Limits()
        if level is not None and level not in GUARANTEES:
            raise MullError(f"there is no isolation level {level!r}; known: {', '.join(GUARANTEES)}")
        wanted = [level] if level else [name for name in GUARANTEES if name != "weak" or weak]
        self._subjects = Launch.strongest("subject", self.limits, wanted)
        self.level: Level = self._subjects.level
        self._examiners = Launch.strongest("examiner", self.limits, [self.level])
        self._suite: Suite | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process of the sandbox."""
        self._subjects.close()
        self._examiners.close()

    def run_all(self, programs: Sequence[str], suite: Suite) -> tuple[Outcome, ...]:
        """One outcome a program, in order; equal programs are run once."""
        known: dict[str, Outcome] = {}
        for program in programs:
            if program not in known:
                known[program] = self.run(program, suite)
        return tuple(known[program] for program in programs)

    def run(self, program: str, suite: Suite) -> Outcome:
        """The program's outcome on the suite.

        Tests run in order in one process of the program's, and what a test leaves behind in the
        program is there for the next. After a test on which the program ended or ran out of time it
        is loaded anew; so it is before and after a test that may leave something behind in the
        process that runs the tests. Raises :class:`MullError` if the suite's preamble cannot be run.
        """
        count = len(suite.tests) + len(suite.probes)
        verdicts: list[Verdict | None] = [None] * count
        pending = deque(range(count))
        strikes, loaded, output = 0, True, ""
        try:
            while pending:
                subject, failure = self._load(program, count)
                if subject is None:
                    loaded = loaded and len(pending) < count
                    for index in pending:
                        verdicts[index] = failure
                    break
                strikes += self._examine(subject, suite, pending, verdicts)
                output = self._output(subject) or output
                self._subjects.kill()
                if strikes >= self.limits.strikes:
                    for index in pending:
                        verdicts[index] = Verdict(
                            "timeout", f"not run: {strikes} tests had ended the program"
                        )
                    break
        except BaseException:
            self._subjects.kill()
            self._dismiss()
            raise
        self._subjects.kill()
        done = tuple(v for v in verdicts if v is not None)
        assert len(done) == count
        return Outcome(done[: len(suite.tests)], done[len(suite.tests) :], loaded, output)

    def _load(self, program: str, tests: int) -> tuple[Running | None, Verdict]:
        """The program in a process of its own, ready to be called; or why it is not."""
        nonce = os.urandom(8).hex()
        order = json.dumps({"load": program, "nonce": nonce}).encode()
        if len(order) > self._subjects.frame:
            return None, Verdict("error", f"the program is {len(order)} bytes long; see value_kb")
        subject = self._subjects.start(math.ceil(self.limits.cpu_seconds * (tests + 1)) + 1)
        verdict = Verdict("error", "ended its process while it was loaded")
        try:
            subject.send(order)
            reply = subject.receive(self.limits, subject)
            if reply is None:
                verdict = Verdict("timeout", "while it was loaded")
            elif reply["to"] != nonce:
                verdict = Verdict("error", "wrote to what is not its own while it was loaded")
            elif "error" not in reply:
                return subject, verdict
            else:
                _, own, text = map(str, reply["error"])
                verdict = Verdict("error", f"{own}: {text}"[:400].rstrip(": "))
        except (Ended, ValueError, TypeError, KeyError):
            pass
        died = _died(self._subjects.status())
        return None, Verdict(verdict.status, verdict.detail + (died if "ended" in verdict.detail else ""))

    def _examine(
        self, subject: Running, suite: Suite, pending: deque[int], verdicts: list[Verdict | None]
    ) -> int:
        """Run pending tests while the program is fit for it; the strikes that it took."""
        examiner = self._handed(subject, suite, pending)
        alone = False
        while pending:
            try:
                frame = examiner.receive(self.limits, subject, examiner)
                if frame is None:
                    verdicts[pending.popleft()] = Verdict("timeout", "")
                    self._subjects.kill()
                    # The test was waiting for the program, or is itself what takes so long.
                    if alone or not self._given_up(examiner):
                        self._dismiss()
                    return 1
                if frame["test"] != pending[0]:
                    raise Ended
                if frame.get("renew"):
                    self._dismiss()
                    return 0
                if "alone" in frame:
                    alone = True
                    continue
                verdict = _verdict(frame)
            except (Ended, KeyError, TypeError, ValueError):
                verdicts[pending.popleft()] = Verdict("error", "the test ended its own process")
                self._dismiss()
                return 0
            lost = frame.get("lost") is True
            if lost:
                verdict = Verdict("error", verdict.detail + _died(self._subjects.status()))
            verdicts[pending.popleft()] = verdict
            if alone:
                self._dismiss()
            if lost or alone:
                return int(lost)
        return 0

    def _handed(self, subject: Running, suite: Suite, pending: deque[int]) -> Running:
        """The examiner, with the program and the tests that are to be run on it."""
        order = json.dumps(list(pending)).encode()
        try:
            examiner = self._examiner(suite)
            examiner.send(order, subject.channel.socket.fileno())
        except Ended:  # one that was kept may have ended since
            self._dismiss()
            examiner = self._examiner(suite)
            examiner.send(order, subject.channel.socket.fileno())
        return examiner

    def _given_up(self, examiner: Running) -> bool:
        """Whether the examiner came back from a test whose program was ended under it."""
        try:
            frame = examiner.receive(self.limits, examiner)
            return frame is not None and frame.get("lost") is True
        except (Ended, AttributeError, ValueError, TypeError):
            return False

    def _examiner(self, suite: Suite) -> Running:
        """A process that holds the suite's tests; the last one if it is still fit."""
        running = self._examiners.running
        if running is not None and self._suite == suite:
            return running
        self._dismiss()
        running = self._examiners.start(0)
        body = {
            "names": suite.names,
            "preamble": suite.preamble,
            "tests": suite.tests + suite.probes,
            "probes": len(suite.tests),
        }
        try:
            running.send(json.dumps(body).encode())
            reply = running.receive(self.limits, running)
        except Ended:
            reply = {"error": ("", "it", "ended its process")}
        except ValueError as error:
            raise MullError(f"the suite is too large: {error}; raise value_kb") from None
        if reply is None or "error" in reply:
            why = "ran out of time" if reply is None else ": ".join(map(str, reply["error"][1:]))
            raise MullError(f"the tests' preamble cannot be run: {why}")
        self._suite = suite
        return running

    def _dismiss(self) -> None:
        self._examiners.kill()
        self._suite = None

    def _output(self, subject: Running) -> str:
        """The head of what the program printed, as far as it still says."""
        if not self.limits.output_chars or self._subjects.running is not subject:
            return ""
        try:
            subject.send(json.dumps({"output": True, "nonce": ""}).encode())
            output = subject.receive(self.limits, subject)["output"]
        except (Ended, ValueError, TypeError, KeyError):
            return ""
        return output[: self.limits.output_chars] if isinstance(output, str) else ""


def run_many(
    jobs: Sequence[tuple[Sequence[str], Suite]],
    limits: Limits | None = None,
    *,
    workers: int = 1,
    weak: bool = False,
) -> tuple[tuple[Outcome, ...], ...]:
    """Every job's programs on its suite, by ``workers`` sandboxes side by side."""
    idle: SimpleQueue[Sandbox] = SimpleQueue()
    sandboxes: list[Sandbox] = []

    def work(job: tuple[Sequence[str], Suite]) -> tuple[Outcome, ...]:
        sandbox = idle.get()
        try:
            return sandbox.run_all(*job)
        finally:
            idle.put(sandbox)

    try:
        for _ in range(max(1, min(workers, len(jobs)))):
            sandboxes.append(Sandbox(limits, weak=weak))
            idle.put(sandboxes[-1])
        with ThreadPoolExecutor(len(sandboxes)) as pool:
            return tuple(pool.map(work, jobs))
    finally:
        for sandbox in sandboxes:
            sandbox.close()


def _verdict(frame: dict[str, Any]) -> Verdict:
    status, value = frame["status"], frame.get("value")
    if status not in _STATUSES or not (value is None or isinstance(value, str)):
        raise ValueError("not a verdict")
    return Verdict(status, str(frame.get("detail", ""))[:400], value)


def _died(status: int) -> str:
    """How a process ended, from its wait status; nothing where it was ended from outside."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        return f" ({signal.Signals(os.WTERMSIG(status)).name})"
    return ""
