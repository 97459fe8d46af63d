"""Reading a checkpoint with transformers: a folder or a Hugging Face repository, all weights there.

No code of a checkpoint is ever run (``trust_remote_code`` is off), and a checkpoint that lacks some of
the backbone's weights is refused, where transformers would make them up. Extra ``local``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mull.errors import MullError

NEEDED = "models in this process need the extra 'local': pip install 'mull[local]'"


def folder_of(where: str) -> Path:
    """The folder of a checkpoint, fetched first if ``where`` names a repository."""
    if Path(where).is_dir():
        return Path(where)
    if where.count("/") != 1 or where.startswith((".", "/", "~")):
        raise MullError(f"there is no checkpoint folder {where}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MullError(NEEDED) from None
    try:
        return Path(
            snapshot_download(where, allow_patterns=["*.json", "*.safetensors", "*.model", "*.jinja"])
        )
    except Exception as error:  # many kinds, all meaning that it cannot be had
        line = str(error).split("\n")[0]
        raise MullError(f"cannot fetch {where} from Hugging Face: {line}") from None


def backbone(folder: Path, *, device: str, dtype: str, language: bool) -> Any:
    """The model without its head, or with its language head; on its device, in evaluation mode."""
    try:
        import torch
        from transformers import AutoModel, AutoModelForCausalLM
        from transformers.utils import logging as messages
    except ImportError:
        raise MullError(NEEDED) from None

    wanted: dict[str, Any] = {
        "auto": "auto",
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    if dtype not in wanted:
        raise MullError(f"there is no dtype {dtype!r}; there are {', '.join(wanted)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind: Any = AutoModelForCausalLM if language else AutoModel
    logging: Any = messages
    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # heads that the backbone does not know are read by us
    logging.disable_progress_bar()
    try:
        model, info = kind.from_pretrained(
            folder, dtype=wanted[dtype], trust_remote_code=False, output_loading_info=True
        )
        model = model.to(device).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        line = str(error).split("\n")[0]
        raise MullError(f"cannot load {folder} on {device}: {line}") from None
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    if missing := sorted(info["missing_keys"]):
        raise MullError(
            f"{folder} lacks {len(missing)} of its model's weights (such as {missing[0]}); "
            "is the download whole?"
        )
    return model


def tokenizer(folder: Path) -> Any:
    """The checkpoint's own tokenizer, with its chat template; :class:`MullError` if it cannot be read."""
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MullError(NEEDED) from None
    kind: Any = AutoTokenizer
    try:
        return kind.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # many kinds, all meaning that it cannot be read
        line = str(error).split("\n")[0]
        raise MullError(f"cannot load the tokenizer of {folder}: {line}") from None


def ends(model: Any) -> tuple[int, ...]:
    """The ids that end a solution: the generation settings' or the model's."""
    for settings in (getattr(model, "generation_config", None), model.config):
        found = getattr(settings, "eos_token_id", None)
        if found is not None:
            return tuple(found) if isinstance(found, list | tuple) else (int(found),)
    return ()
