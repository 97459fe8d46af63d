"""Training: the loop resumes to the same weights, labels are what they say (needs torch)."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("transformers", reason="training needs the extra 'train'")

from mull.tiny.load import CHECKPOINTS, checkpoint  # noqa: E402
from mull.tiny.world import stories  # noqa: E402
from mull.tiny.writers import MEAN_RATE, Writer  # noqa: E402
from mull.train import labels, loop, proposer, tiny, tokenizer, verifier  # noqa: E402

RECIPE = loop.Recipe(tokens=30_000, save_every=1)


def test_tokenizer_round_trips_and_keeps_digits_apart() -> None:
    built = tokenizer.build()
    for story in itertools.islice(stories("train", 0), 50):
        text = story.prompt + Writer(dict.fromkeys(MEAN_RATE, 0.0)).solve(story, np.random.default_rng(0))
        ids = built.encode(text).ids
        assert built.decode(ids, skip_special_tokens=True) == text
        assert built.token_to_id("<unk>") not in ids
    assert len(built.encode("365", add_special_tokens=False).ids) == 3


def train(folder: Path, stop_after: int | None = None) -> None:
    built = tokenizer.build()
    torch.manual_seed(1)
    model = proposer.LlamaForCausalLM(proposer.config(proposer.Shape(32, 1, 1, 32, 4e-3)))

    def chunk(index: int) -> list[loop.Example]:
        if stop_after is not None and index >= stop_after:
            raise KeyboardInterrupt
        return proposer.corpus("train", built, index, 64)

    save = proposer.save_checkpoint
    loop.fit(
        model, proposer.language_loss, chunk, RECIPE, folder,
        evaluate=lambda m: {}, save=save, say=lambda s: None,
    )  # fmt: skip


def test_interrupted_training_ends_at_the_same_weights(tmp_path: Path) -> None:
    train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", stop_after=2)
    train(tmp_path / "cut")
    whole, cut = (loop.final(tmp_path / name) for name in ("whole", "cut"))
    assert whole.name == cut.name
    assert (whole / "model.safetensors").read_bytes() == (cut / "model.safetensors").read_bytes()


def test_loss_is_on_the_solution_only() -> None:
    built = tokenizer.build()
    (example,) = proposer.corpus("train", built, 3, 1)
    start = list(example.tokens).index(built.token_to_id("\n"))
    assert np.isnan(example.targets[:start]).all()
    assert list(example.targets[start:-1]) == list(example.tokens[start + 1 :])
    assert example.tokens[-1] == built.token_to_id("</s>")


def test_labels_are_monte_carlo_shares_and_resume(tmp_path: Path) -> None:
    plan = labels.LabelPlan(24, 2, 3, chunk=12, seed=5)
    labels.make_labels(checkpoint("proposer"), plan, tmp_path, 0, 1, lambda s: None)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    (tmp_path / "00001.npz").unlink()
    labels.make_labels(checkpoint("proposer"), plan, tmp_path, 0, 1, lambda s: None)
    rows = list(labels.read_labels(tmp_path))
    assert {p.name for p in tmp_path.iterdir()} == set(before)
    assert len(rows) > 40
    for row in rows:
        assert len(row.ends) == len(row.values) == len(row.right)
        assert row.ends[-1] == len(row.tokens) - 1
        assert row.values[-1] in (0.0, 1.0)
        assert all(abs(v * 3 - round(v * 3)) < 1e-6 for v in row.values)
        if row.right[-1]:
            assert row.values[-1] == 1.0


def test_stepwise_truth() -> None:
    story = next(stories("train", 8))
    right = Writer(dict.fromkeys(MEAN_RATE, 0.0)).solve(story, np.random.default_rng(0))
    assert all(labels.stepwise_right(story, right))
    wrong = right.replace(f"Answer: {story.answer}", f"Answer: {story.answer + 1}")
    assert labels.stepwise_right(story, wrong) == (*[True] * len(story.chain), False)


def test_auroc_counts_ties_half() -> None:
    scores = np.array([0.1, 0.5, 0.5, 0.9], np.float32)
    assert verifier.auroc(scores, np.array([False, False, True, True])) == pytest.approx(0.875)


def test_verifier_targets_and_hold_out() -> None:
    row = labels.Labelled(10, (2, 5, 6, 7, 8), (2, 4), (0.5, 1.0), (True, True))
    prm, orm = verifier.example(row, "prm"), verifier.example(row, "orm")
    assert [i for i, t in enumerate(prm.targets) if t == t] == [2, 4]
    assert [i for i, t in enumerate(orm.targets) if t == t] == [4]
    assert verifier.held_out(row)


@pytest.mark.parametrize("name", ["proposer", "reviser", "larger"])
def test_a_shipped_model_says_what_it_took(name: str, tmp_path: Path) -> None:
    said = json.loads((CHECKPOINTS / name / "config.json").read_text())
    parameters = said["mull_parameters"]
    assert said["mull_pretraining_flops"] == 6 * parameters * said["mull_pretraining_tokens"] > 0
    assert said.get("mull_finetuning_flops", 0) == 6 * parameters * said.get("mull_finetuning_tokens", 0)
    copy = tmp_path / name
    shutil.copytree(CHECKPOINTS / name, copy)
    bare = {key: value for key, value in said.items() if key != "mull_parameters" and "_flops" not in key}
    (copy / "config.json").write_text(json.dumps(bare))
    tiny.account(copy)
    assert json.loads((copy / "config.json").read_text()) == said
