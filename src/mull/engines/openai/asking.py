"""Request bodies: a prompt and settings as the JSON that a route takes. Nothing is sent here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mull.engines.openai.capabilities import Route
from mull.engines.prompts import Prompt

#: What leaves the model's distribution as the temperature makes it. Without these llama.cpp cuts it (top_k
#: 40, top_p 0.95, min_p 0.05), and vLLM as the model's generation_config.json says; ``transformers serve``
#: takes the likeliest token whatever the temperature, or where that file says to sample, one of 50.
WHOLE: dict[str, dict[str, Any]] = {
    "all": {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0},
    "generation_config": {
        "top_p": 1.0,
        "generation_config": json.dumps({"do_sample": True, "top_k": 0, "repetition_penalty": 1.0}),
    },
    "top_p": {"top_p": 1.0},
}
#: Seeds are sent with so many bits: some servers take no more.
SEED_BITS = 31


def path(chat: bool) -> str:
    """Where requests go, below the server's address."""
    return "/chat/completions" if chat else "/completions"


def body(
    model: str,
    prompt: Prompt,
    route: Route,
    *,
    limit: int,
    temperature: float,
    stops: Sequence[str] = (),
    seed: int | None = None,
    n: int = 1,
    logprobs: bool = False,
) -> dict[str, Any]:
    """One request for ``n`` continuations of the prompt and its solution so far.

    It asks for what the route is said to do: log-probabilities and token ids, and the kept
    stop text, only where it can.
    """
    chat = bool(prompt.messages)
    found: dict[str, Any] = {"model": model, route.max_tokens_field: limit, "temperature": temperature}
    if chat:
        found["messages"] = [{"role": m.role, "content": m.content} for m in prompt.messages]
        if prompt.so_far:
            given = prompt.so_far.rstrip() if route.trims else prompt.so_far
            last: dict[str, Any] = {"role": "assistant", "content": given}
            if route.continues == "prefix":
                last["prefix"] = True
            elif route.continues == "continue_final_message":
                found |= {"add_generation_prompt": False, "continue_final_message": True}
            found["messages"].append(last)
    else:
        found["prompt"] = prompt.text + prompt.so_far
    if temperature > 0:
        found |= WHOLE.get(route.whole, {})
    if n > 1:
        found["n"] = n
    if seed is not None:
        found["seed"] = seed % (1 << SEED_BITS)
    if stops and route.stop != "refused":
        found["stop"] = list(stops)
        if route.stop_keeps:
            found["include_stop_str_in_output"] = True
    if logprobs and route.logprobs:
        found["logprobs"] = True if chat else 1
        if route.ids == "token_ids":
            found["return_token_ids"] = True
    return found


def streamed(route: Route) -> dict[str, Any]:
    """The fields that make a streamed answer tell its usage, as the route is said to take them."""
    found: dict[str, Any] = {"stream_options": {"include_usage": True}}
    if route.stream_counts == "continuous_usage_stats":
        found["stream_options"]["continuous_usage_stats"] = True
    elif route.stream_counts == "timings_per_token":
        found["timings_per_token"] = True
    return found
