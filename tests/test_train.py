"""Training: the loop resumes to the same weights, labels are what they say (needs torch)."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("transformers", reason="training needs the extra 'train'")

from mull.errors import MullError  # noqa: E402
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


def test_scaled_recipes_keep_everything_but_the_amounts() -> None:
    from mull.train.recipes import PLANS, SHIPPED

    less = SHIPPED.scaled(0.01)
    assert SHIPPED.scaled(1) == SHIPPED
    assert [r.tokens for r, _ in less.proposer] == [r.tokens // 100 for r, _ in SHIPPED.proposer]
    assert [mix for _, mix in less.larger] == [mix for _, mix in SHIPPED.larger]
    assert (less.prm[1].lr, less.prm[1].tokens) == (SHIPPED.prm[1].lr, 150_000)
    assert {name: getattr(less, name).problems for name in PLANS} == {
        "labels": 800, "revisions": 100, "chains": 240, "solutions": 200, "trajectories": 10
    }  # fmt: skip
    assert replace(less.labels, problems=80_000) == SHIPPED.labels


def test_a_folder_of_another_scale_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "scale.json").write_text("0.5\n")
    train_tiny = tiny.train_tiny
    with pytest.raises(MullError, match=r"begun at a scale of 0\.5; go on with that, or name another folder"):
        train_tiny(tmp_path, stages=["proposer"], scale=0.1)
    (tmp_path / "scale.json").unlink()
    (tmp_path / "proposer").mkdir()
    with pytest.raises(MullError, match=r"begun at a scale of 1\.0"):
        train_tiny(tmp_path, stages=["proposer"], scale=0.1)
    with pytest.raises(MullError, match="must be above 0 and at most 1"):
        train_tiny(tmp_path / "other", scale=2)


@pytest.mark.slow
def test_the_small_world_from_nothing_interrupted_or_not_is_the_same(tmp_path: Path) -> None:
    """All stages at a tenth, once in one go and once killed again and again: an hour or more."""
    command = [sys.executable, "-m", "mull", "train", "tiny", "--scale", "0.1", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    for seconds in (60, 180, 420, 900, None):
        with subprocess.Popen([*command, str(tmp_path / "torn")], start_new_session=True) as process:
            try:
                assert process.wait(seconds) == 0
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
    whole, torn = (
        json.loads((tmp_path / name / "checkpoints" / "training.json").read_text())
        for name in ("whole", "torn")
    )
    models = ("proposer", "prm", "orm", "reviser", "revision", "restem", "larger")
    assert {name: whole[name]["sha256"] for name in models} == {name: torn[name]["sha256"] for name in models}
