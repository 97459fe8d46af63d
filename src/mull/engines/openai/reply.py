"""What a server answered, read and checked: choices, sampled pieces, usage.

Servers differ in the fields they send; this is the one place that knows them. It reads what
is there, says what is wrong (:class:`~mull.engines.openai.wire.Failed`), and makes nothing up:
a count that is not in the answer is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from mull.engines.openai.wire import Failed
from mull.engines.pieces import Piece
from mull.errors import MullError

#: How the servers' words for an ending map to ours.
FINISHES: dict[str, Literal["stop", "length"]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
}


@dataclass(frozen=True)
class Choice:
    """One continuation. ``stop`` is the stop text that ended it where the server says so.

    ``thinking`` is what the server gave in a field of its own; thinking in the text is not told apart
    here. ``pieces`` are empty unless the server gave log-probabilities. Of a stream ``parts`` is the
    number of its parts with text.
    """

    text: str
    finish: Literal["stop", "length"]
    stop: str | None = None
    pieces: tuple[Piece, ...] = ()
    parts: int = 0
    thinking: str = ""


@dataclass(frozen=True)
class Usage:
    """Tokens as the server counts them: prompt, of these cached (None: it does not say), completion.

    ``thinking`` are those of the completion that were spent thinking, None where it does not say.
    """

    prompt: int
    cached: int | None
    completion: int
    thinking: int | None = None


@dataclass(frozen=True)
class Reply:
    """A read answer: the model's name as the server gives it, choices in order, usage if there is one."""

    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None


def read(answer: dict[str, Any], *, chat: bool) -> Reply:
    """An answer to one request."""
    listed = answer.get("choices")
    if not isinstance(listed, list) or not listed or not all(isinstance(each, dict) for each in listed):
        raise Failed(f"the server's answer has no choices; its fields are {sorted(answer)}")
    listed = sorted(listed, key=lambda each: each.get("index") or 0)
    return Reply(str(answer.get("model") or ""), tuple(_choice(each, chat) for each in listed), usage(answer))


def _choice(given: dict[str, Any], chat: bool) -> Choice:
    text = _text(given, "message" if chat else None)
    if text is None:
        where = "message.content" if chat else "text"
        raise Failed(f"the server's answer has no text in choices[].{where}; there are {sorted(given)}")
    thought = _thinking(given, "message") if chat else ""
    ending = finish(given.get("finish_reason"))
    return Choice(text, ending, stop_text(given), tuple(pieces(given)), thinking=thought)


def _thinking(given: dict[str, Any], within: str) -> str:
    """The thinking in a field of its own: ``reasoning_content`` (DeepSeek, SGLang), ``reasoning`` (vLLM)."""
    message = given.get(within)
    found = message if isinstance(message, dict) else {}
    return next((found[f] for f in ("reasoning_content", "reasoning") if isinstance(found.get(f), str)), "")


def _text(given: dict[str, Any], within: str | None) -> str | None:
    """The text of a choice or of a streamed part of one; a part without content is ""."""
    if within is None:
        found = given.get("text")
        return found if isinstance(found, str) else None
    message = given.get(within)
    if not isinstance(message, dict):
        return None
    found = message.get("content")
    return "" if found is None else found if isinstance(found, str) else None


def finish(word: object) -> Literal["stop", "length"]:
    """Our word for a server's; :class:`Failed` for endings that are no ending of a solution."""
    if not isinstance(word, str) or word not in FINISHES:
        raise Failed(f"the server ended the answer with {word!r}, which is neither a stop nor a length")
    return FINISHES[word]


def stop_text(given: dict[str, Any]) -> str | None:
    """The stop text that a server names as the reason (vLLM, SGLang)."""
    for name in ("stop_reason", "matched_stop"):
        if isinstance(given.get(name), str):
            return str(given[name])
    return None


def pieces(given: dict[str, Any]) -> Iterable[Piece]:
    """The sampled tokens of a choice, from either form of log-probabilities and from token ids."""
    found: list[Piece] = []
    given_logprobs = given.get("logprobs")
    if isinstance(given_logprobs, dict):
        content, tokens = given_logprobs.get("content"), given_logprobs.get("tokens")
        if isinstance(content, list):
            found = [_piece(each) for each in content if isinstance(each, dict)]
        elif isinstance(tokens, list):
            values = given_logprobs.get("token_logprobs") or [None] * len(tokens)
            found = [
                Piece(str(token).encode(), None if value is None else float(value))
                for token, value in zip(tokens, values, strict=False)
            ]
    ids = given.get("token_ids")
    if isinstance(ids, list) and len(ids) == len(found):
        found = [replace(piece, id=int(token)) for piece, token in zip(found, ids, strict=True)]
    return found


def _piece(given: dict[str, Any]) -> Piece:
    spelt, value, token = given.get("bytes"), given.get("logprob"), given.get("id")
    text = bytes(spelt) if isinstance(spelt, list) else str(given.get("token", "")).encode()
    return Piece(text, None if value is None else float(value), token if isinstance(token, int) else None)


def usage(answer: dict[str, Any]) -> Usage | None:
    """The counts of an answer, None unless both counts are there."""
    given = answer.get("usage")
    if not isinstance(given, dict):
        return _timings(answer.get("timings"))
    prompt, completion = given.get("prompt_tokens"), given.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    details = given.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    details = given.get("completion_tokens_details")
    thinking = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return Usage(
        prompt,
        cached if isinstance(cached, int) else None,
        completion,
        thinking if isinstance(thinking, int) else None,
    )


def _timings(given: object) -> Usage | None:
    """llama.cpp's counts: of the prompt what came from its cache and what did not, and what was sampled."""
    if not isinstance(given, dict):
        return None
    cached, new, sampled = (given.get(name) for name in ("cache_n", "prompt_n", "predicted_n"))
    if not isinstance(cached, int) or not isinstance(new, int) or not isinstance(sampled, int):
        return None
    return Usage(cached + new, cached, sampled)


def part(event: dict[str, Any], *, chat: bool) -> tuple[str, str | None, list[Piece]]:
    """Text, ending (None: goes on) and sampled tokens of one event of a stream of one choice.

    Thinking in a field of its own is text here: a stream is read where a trace is continued.
    """
    if "error" in event:
        raise Failed(f"the server broke off: {event['error']}")
    listed = event.get("choices")
    if not isinstance(listed, list):
        raise Failed(f"a part of the server's answer has no choices; its fields are {sorted(event)}")
    if not listed:
        return "", None, []
    given = listed[0]
    within = ("delta" if "delta" in given else "message") if chat else None
    text = _text(given, within)
    if within is not None:
        text = _thinking(given, within) + (text or "")
    word = given.get("finish_reason")
    return text or "", None if word is None else finish(word), list(pieces(given))


def aligned(choice: Choice) -> tuple[Piece, ...]:
    """The choice's pieces if, in order, they spell its text; else none.

    A last piece may spell nothing of the text: that is the end token.
    """
    text = choice.text.encode()
    found = choice.pieces
    whole = b"".join(piece.spells for piece in found)
    if found and whole != text and b"".join(p.spells for p in found[:-1]) == text:
        return (*found[:-1], replace(found[-1], spells=b""))
    return found if whole == text else ()


def check_model(reply: Reply, asked: str) -> None:
    """:class:`MullError` if another model answered; dated names and revisions of the asked one are it."""
    one, other = (name.rsplit("/", 1)[-1] for name in (reply.model, asked))
    if reply.model and not one.startswith(other) and not other.startswith(one):
        raise MullError(
            f"the server answered with model {reply.model!r}, not with {asked!r}; "
            "name the model that it serves, or serve the one that you mean"
        )
