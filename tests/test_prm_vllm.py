"""Reward models behind the real vLLM's pooling server on a CPU, held against the same checkpoints in process.

Minutes for each server, and nothing is installed here: name a Python that has vLLM in it.

    MULL_VLLM_PYTHON=.../bin/python pytest -m slow tests/test_prm_vllm.py
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mull.trace import Trace
from mull.verifiers.base import Verdict
from mull.verifiers.prm import build

pytest.importorskip("aiohttp", reason="verifiers over HTTP need aiohttp (extra 'http')")
pytest.importorskip("torch", reason="reward models in process need torch (extra 'local')")
pytest.importorskip("transformers", reason="reward models need transformers (extra 'local')")
from real_servers import free_port, named, serving
from test_prm import CASES, TRACES, trace, values

pytestmark = pytest.mark.slow
#: A language model served as a reward model: the log-odds of one token against another, at every token.
ODDS = {"method": "from_2_way_softmax", "num_labels": 1}
AS_ODDS = ["--convert", "classify", "--pooler-config", '{"task": "token_classify"}', "--hf-overrides"]


def odds(architecture: str, bad: str, good: str) -> list[str]:
    served = {"architectures": [architecture], "classifier_from_token": [bad, good], **ODDS}
    return [*AS_ODDS, json.dumps(served)]


#: Of each case: the adapter, and what vLLM is started with beside ``--runner pooling``.
SERVED: dict[str, tuple[str, list[str]]] = {
    "a row a step tag": ("qwen2.5-math-prm", ["--pooler-config", '{"step_tag_id": 3}']),
    "Math-Shepherd": ("math-shepherd", odds("MistralForSequenceClassification", "▁-", "▁+")),
    "sequence classification": ("reward-model", []),
    "a row a token": ("qwen2.5-math-prm", ["--pooler-config", '{"tok_pooling_type": "ALL"}']),
    "RLHFlow": ("rlhflow-prm-deepseek", odds("LlamaForSequenceClassification", "-", "+")),
    "outcome, two layers": ("qwen2.5-math-rm", []),
    "TRL": ("trl-prm", []),
}


def score(table: dict[str, Any], *traces: Trace) -> list[Verdict]:
    return asyncio.run(build(table).score(traces))


@pytest.mark.parametrize("case", SERVED)
def test_values_equal_the_in_process_models(tmp_path: Path, case: str) -> None:
    adapter, more = SERVED[case]
    folder, port = tmp_path / "model", free_port()
    folder.mkdir()
    CASES[adapter][0](folder)
    command = [named("MULL_VLLM_PYTHON"), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", "prm", "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--dtype", "float32", "--max-num-seqs", "8", "--runner", "pooling", *more]
    expected = score({"adapter": adapter, "path": str(folder), "device": "cpu"}, *TRACES)
    table = {"adapter": adapter, "model": "prm", "tokenizer": str(folder), "retries": 0}
    with serving(command, port, "prm", tmp_path / "log", VLLM_CPU_KVCACHE_SPACE="1") as running:
        table["url"] = running.url
        found = score(table, *TRACES)
        most = 0.0
        for one, other in zip(found, expected, strict=True):
            most = max(most, *(abs(a - b) for a, b in zip(values(one), values(other), strict=True)))
            assert one.cost.verifier_tokens == other.cost.verifier_tokens
        print(f"{case}: largest difference {most:.1e} over {len(TRACES)} solutions")
        assert most < 1e-4
        (long,) = score(table, trace([f"Also {k} + 5 = {k + 5}.\n\n" for k in range(200)]))
        assert long.scores is None and "context too long" in long.error and "512" in long.error
        (told,) = score(table | {"max_tokens": 9999}, trace([f"Also {k}.\n\n" for k in range(200)]))
        assert told.scores is None and "context too long" in told.error, told.error
