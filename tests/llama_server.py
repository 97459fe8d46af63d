"""llama.cpp's own server out of the prebuilt package ``xllamacpp``, where nobody wants to compile it.

    python tests/llama_server.py --model proposer.gguf --port 8080

It takes those options of ``llama-server`` that the tests use, by the same names.
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp

_FLASH = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ctx-size", type=int, default=0)
    parser.add_argument("--cache-type-k", choices=["f16", "f32"], default="f16")
    parser.add_argument("--cache-type-v", choices=["f16", "f32"], default="f16")
    parser.add_argument("--flash-attn", choices=["on", "off", "auto"], default="auto")
    args = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = args.model
    if args.alias:
        params.model_alias = {args.alias}
    params.hostnames, params.port = [args.host], args.port
    params.n_parallel, params.n_ctx = args.parallel, args.ctx_size
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    kinds = {"f16": xllamacpp.ggml_type.GGML_TYPE_F16, "f32": xllamacpp.ggml_type.GGML_TYPE_F32}
    params.cache_type_k, params.cache_type_v = kinds[args.cache_type_k], kinds[args.cache_type_v]
    flash = xllamacpp.llama_flash_attn_type
    params.flash_attn_type = getattr(flash, f"LLAMA_FLASH_ATTN_TYPE_{_FLASH[args.flash_attn]}")
    params.endpoint_metrics = params.endpoint_slots = True
    params.fit_params, params.ui = False, False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
