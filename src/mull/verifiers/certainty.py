"""Self-certainty: how far a language model's next-token distributions are from knowing nothing.

The mean, over the tokens of a solution, of the Kullback-Leibler divergence of the model's distribution
from the uniform one (nats): -log V - mean over the vocabulary of log p ("Scalable Best-of-N Selection via
Self-Certainty", Kang et al. 2025, arXiv 2502.18581). It needs whole distributions, which no server gives, so
the proposer's checkpoint is read here and run over prompt and solution, one trace at a time. A step's value
is 1 - exp(-c), c the mean so far: in [0, 1) and in the same order. Extra ``prm``.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mull.cost import Cost, ModelSize
from mull.engines.local.loading import backbone, folder_of
from mull.errors import MullError
from mull.trace import Need, Scores, Trace
from mull.verifiers.base import Verdict
from mull.verifiers.prm.tokens import Tokenizer

#: Positions whose distributions are held at a time.
CHUNK = 128


class SelfCertainty:
    """Implements :class:`mull.verifiers.base.Verifier`.

    ``shown`` says how the proposer sees the problem: "chat", as a user's message in its own template with
    ``system`` before it if there is one, or "text", as it is.
    """

    kind: Need = "process"

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        name: str,
        shown: Literal["chat", "text"] = "chat",
        system: str = "",
    ) -> None:
        if shown not in ("chat", "text"):
            raise MullError(f"self-certainty shows a problem as 'chat' or 'text', not {shown!r}")
        self.model, self.tokenizer, self.shown, self.system = model, tokenizer, shown, system
        self._name = name
        config = model.config
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        inputs = model.get_input_embeddings().weight
        tied = model.get_output_embeddings().weight is inputs
        parameters = sum(p.numel() for p in model.parameters()) - (0 if tied else inputs.numel())
        self.size = ModelSize(parameters, config.num_hidden_layers * config.num_attention_heads * width)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, where: str, *, device: str = "auto", dtype: str = "auto", **how: Any) -> SelfCertainty:
        """Read a checkpoint folder or a Hugging Face repository."""
        tokenizer = Tokenizer.load(where)
        model = backbone(folder_of(where), device=device, dtype=dtype, language=True)
        return cls(model, tokenizer, Path(where).name or where, **how)

    @property
    def name(self) -> str:
        """Model and measure."""
        return f"{self._name} (self-certainty)"

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order; the model runs in a thread beside the event loop."""
        return await asyncio.to_thread(self.score_now, traces)

    def score_now(self, traces: Sequence[Trace]) -> list[Verdict]:
        """What :meth:`score` does, for code that is not async."""
        with self._lock:
            return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> Verdict:
        if not trace.steps or not trace.text:
            return Verdict(None, Cost(), "the trace has no text")
        prompt = trace.problem.prompt
        if self.shown == "chat":
            messages = [{"role": "system", "content": self.system}] if self.system else []
            messages.append({"role": "user", "content": prompt})
            prompt = self.tokenizer.chat(messages, "self-certainty", open_end=True)
            head = self.tokenizer.ids(prompt, special=False)
        else:
            head = self.tokenizer.ids(prompt, special=True)
        ids, spans = self.tokenizer.spans(trace.text)
        limit = self.model.config.max_position_embeddings
        if not head or len(head) + len(ids) > limit:
            why = f"context too long: {len(head) + len(ids)} tokens do not fit the verifier's {limit}"
            return Verdict(None, Cost(), why if head else "the prompt has no tokens")
        certain = self._certainties(head, ids)
        values, at, end, total = [], 0, 0, 0.0
        for number, step in enumerate(trace.steps, 1):
            end += len(step.text)
            while at < len(ids) and spans[at][1] <= end:
                total += certain[at]
                at += 1
            if at == 0:
                return Verdict(None, Cost(), f"step {number} ends within its first token")
            values.append(-math.expm1(-max(0.0, total / at)))
        tokens = len(head) + len(ids)
        cost = Cost(verifier_tokens=tokens, verifier_flops=self.size.flops(tokens, 0))
        if any(math.isnan(value) for value in values):
            return Verdict(None, cost, "the model's output is not a number")
        return Verdict(Scores(tuple(values)), cost)

    def _certainties(self, head: list[int], ids: list[int]) -> list[float]:
        """Of each token of the solution, the divergence of the distribution that it was drawn from."""
        import torch

        with torch.inference_mode():
            whole = torch.tensor([[*head, *ids]], device=self.model.device)
            hidden = self.model.base_model(input_ids=whole).last_hidden_state[0, len(head) - 1 : -1]
            found: list[float] = []
            for part in hidden.split(CHUNK):
                logs = self.model.get_output_embeddings()(part).float().log_softmax(-1)
                found += (-math.log(logs.shape[-1]) - logs.mean(-1)).tolist()
        return found
