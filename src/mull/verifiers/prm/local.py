"""A reward model in this process: transformers' backbone, its own head, batches and a prefix cache.

Sound for causal decoders, which all known reward models of this field are: an output depends on
what stands before it alone. Cached positions are padded on the left and new ones on the right, so
distances between real tokens are kept (which sliding windows count), and every padded position is
masked; alone or in a batch, at once or bit by bit, outputs agree to rounding. Torch runs in one
thread beside the event loop; calls that come meanwhile wait and go together. Extra ``prm``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mull.cost import Cost, ModelSize
from mull.engines.local import kv
from mull.engines.local.loading import backbone, folder_of
from mull.errors import MullError
from mull.verifiers.prm import head
from mull.verifiers.prm.adapter import Adapter
from mull.verifiers.prm.backend import Ask, Row, Told
from mull.verifiers.prm.cache import Cache, Found, Prefix
from mull.verifiers.prm.tokens import Tokenizer

#: At most so many positions in one pass, padding included, unless a single trace has more.
MOST_POSITIONS = 1 << 15


class LocalModel:
    """Implements :class:`mull.verifiers.prm.backend.Backend`.

    ``model`` is the backbone, ``layers`` the head; ``batch`` traces go in one pass at most;
    ``limit`` (None: as the checkpoint says) is the longest context; ``cache_bytes`` is what the
    prefix cache may take, 0 for none.
    """

    def __init__(
        self,
        model: Any,
        layers: list[tuple[Any, Any]],
        name: str,
        *,
        batch: int = 16,
        limit: int | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self.model, self._name, self.batch = model, name, batch
        self.layers = [
            (weight.to(model.device), None if bias is None else bias.to(model.device))
            for weight, bias in layers
        ]
        config = model.config
        self.limit = limit or int(config.max_position_embeddings)
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        inputs = model.get_input_embeddings().weight
        self.vocabulary = int(inputs.shape[0])
        extra = sum(weight.numel() for weight, _ in self.layers)
        self._size = ModelSize(
            sum(p.numel() for p in model.parameters()) - inputs.numel() + extra,
            config.num_hidden_layers * config.num_attention_heads * width,
        )
        self.cache = Cache(cache_bytes)
        self.computed_tokens = 0
        self._waiting: list[tuple[Sequence[Ask], asyncio.Future[list[Told]]]] = []
        self._busy: asyncio.Task[None] | None = None

    @classmethod
    def load(
        cls,
        where: str,
        adapter: Adapter,
        tokenizer: Tokenizer,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch: int = 16,
        limit: int | None = None,
        cache_bytes: int = 1 << 30,
    ) -> LocalModel:
        """Read a checkpoint folder or a Hugging Face repository; :class:`MullError` where it does not fit."""
        folder = folder_of(where)
        tokens = adapter.tokens(tokenizer)
        model = backbone(folder, device=device, dtype=dtype, language=tokens is not None)
        if tokens is None:
            layers, body = head.labels_head(folder, adapter.name), model
        else:
            layers, body = head.tokens_head(model, tokens, adapter.name), model.base_model
        wrong = [weight.shape[-1] for weight, _ in layers[:1] if weight.shape[-1] != body.config.hidden_size]
        if wrong:
            raise MullError(
                f"{folder}: its head takes {wrong[0]} inputs, its model gives {body.config.hidden_size}"
            )
        name = Path(where).name or where
        return cls(body, layers, name, batch=batch, limit=limit, cache_bytes=cache_bytes)

    @property
    def name(self) -> str:
        """The last part of the folder or repository."""
        return self._name

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        return self._size

    async def run(self, asks: Sequence[Ask]) -> list[Told]:
        """One answer an ask, in order."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[list[Told]] = loop.create_future()
        self._waiting.append((asks, mine))
        if self._busy is None or self._busy.done() or self._busy.get_loop() is not loop:
            self._busy = loop.create_task(self._work())
        return await mine

    async def _work(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting, []
            asks = [ask for some, _ in calls for ask in some]
            try:
                told = await asyncio.to_thread(self.run_now, asks)
            except BaseException as error:
                for _, future in calls:
                    if not future.done():
                        future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            for some, future in calls:
                mine, told = told[: len(some)], told[len(some) :]
                if not future.done():
                    future.set_result(mine)

    def run_now(self, asks: Sequence[Ask]) -> list[Told]:
        """What :meth:`run` does, for code that is not async."""
        told: dict[int, Told] = {}
        fit: list[tuple[int, Found | None]] = []
        for i, ask in enumerate(asks):
            if len(ask.ids) > self.limit:
                told[i] = Told(None, error=too_long(len(ask.ids), self.limit))
                continue
            if max(ask.ids) >= self.vocabulary:
                raise MullError(
                    f"tokenizer mismatch: token {max(ask.ids)} is not among the {self.vocabulary} "
                    f"of {self.name}; name the model's own tokenizer"
                )
            fit.append((i, self.cache.nearest(ask.ids, ask.places)))
        # Alike in length together: less padding.
        fit.sort(key=lambda each: len(asks[each[0]].ids) - (each[1].length if each[1] else 0))
        batch: list[tuple[int, Found | None]] = []
        longest = 0
        for i, found in fit:
            longer = max(longest, len(asks[i].ids))
            if batch and (len(batch) == self.batch or longer * (len(batch) + 1) > MOST_POSITIONS):
                told |= self._pass([(n, asks[n], f) for n, f in batch])
                batch, longer = [], len(asks[i].ids)
            batch.append((i, found))
            longest = longer
        if batch:
            told |= self._pass([(n, asks[n], f) for n, f in batch])
        return [told[i] for i in range(len(asks))]

    def _pass(self, batch: list[tuple[int, Ask, Found | None]]) -> dict[int, Told]:
        """Run some asks; in halves where memory does not suffice."""
        import torch

        try:
            with torch.inference_mode():
                return self._forward(batch)
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                ((i, ask, _),) = batch
                return {
                    i: Told(
                        None, error=f"out of memory at {len(ask.ids)} tokens: {str(error).split(chr(10))[0]}"
                    )
                }
        half = len(batch) // 2
        return self._pass(batch[:half]) | self._pass(batch[half:])

    def _forward(self, batch: list[tuple[int, Ask, Found | None]]) -> dict[int, Told]:
        import torch
        from transformers import DynamicCache

        device = self.model.device
        before = [0 if found is None else found.length for _, _, found in batch]
        new = [list(ask.ids[n:]) for (_, ask, _), n in zip(batch, before, strict=True)]
        past, width = max(before), max(map(len, new))
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        mask = torch.zeros(len(batch), past + width, dtype=torch.long)
        positions = torch.zeros(len(batch), width, dtype=torch.long)
        for row, (tokens, n) in enumerate(zip(new, before, strict=True)):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, past - n : past + len(tokens)] = 1
            positions[row] = torch.arange(n, n + width)
        cache: Any = DynamicCache()
        if past:
            for layer in range(self.model.config.num_hidden_layers):
                cache.update(*_stacked([found for _, _, found in batch], layer, past), layer)
        out = self.model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=positions.to(device),
            **kv.named(cache, type(self.model)),
        )
        told: dict[int, Told] = {}
        for row, (i, ask, found) in enumerate(batch):
            n, length = before[row], len(new[row])
            rows: dict[int, Row] = (
                {} if found is None else {p: r for p, r in found.prefix.rows.items() if p < n}
            )
            wanted = [place for place in ask.places if place >= n]
            if wanted:
                hidden = out.last_hidden_state[row, [place - n for place in wanted]]
                found_rows = head.apply(self.layers, hidden).tolist()
                rows |= {place: tuple(each) for place, each in zip(wanted, found_rows, strict=True)}
            if ask.grows and self.cache.limit:
                start, end = past - n, past + length
                kept = tuple(
                    (layer.keys[row, :, start:end].clone(), layer.values[row, :, start:end].clone())
                    for layer in cache.layers
                )
                self.cache.put(Prefix(ask.ids, kept, rows))
            self.computed_tokens += length
            cost = Cost(verifier_tokens=length, verifier_flops=self.size.flops(length, n))
            told[i] = Told(tuple(rows[place] for place in ask.places), cost)
        return told


def _stacked(found: list[Found | None], layer: int, past: int) -> tuple[Any, Any]:
    """Keys and values of a batch (batch, heads, past, size), each prefix at the right end."""
    some = next(each for each in found if each is not None).layer(layer)
    stacked = [part.new_zeros(len(found), part.shape[0], past, part.shape[2]) for part in some]
    for row, each in enumerate(found):
        if each is not None:
            for whole, part in zip(stacked, each.layer(layer), strict=True):
                whole[row, :, past - each.length :] = part
    return stacked[0], stacked[1]


def too_long(tokens: int, limit: int) -> str:
    """The words for a trace that does not fit."""
    return f"context too long: {tokens} tokens do not fit the verifier's {limit}"
