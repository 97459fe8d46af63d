"""``mull exchange``: what it reads from studies and summaries, what it assumes, what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mull.analysis import run
from mull.analysis.small_side import read_small
from mull.cli import main
from mull.exchange import multiplier
from mull.study import config
from mull.study.run import record
from synthetic_study import synthetic_summary
from tiny_models import world


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exchange")
    run.run_study(config.read(world(made)), made / "out", workers=1)
    return made / "out"


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with revisions and a "larger" model (the same one), recorded and not yet analysed."""
    made = tmp_path_factory.mktemp("wide")
    study = config.read(world(made, larger="proposer", reviser="proposer", chains=16))
    return record(study, made / "out", workers=1).path


@pytest.fixture()
def synthetic(tmp_path: Path) -> Path:
    """A made-up summary: its numbers are test input."""
    (tmp_path / "summary.json").write_text(json.dumps(synthetic_summary()))
    return tmp_path


SIZED = ["--small-params", "210k", "--large-params", "3M"]
PRICED = ["--price-small", "0.1,0.4", "--price-large", "2.5,10"]


def found(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["exchange", *map(str, arguments), "--json"]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def refused(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["exchange", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.startswith("mull: ")
    return captured.err


def test_a_study_against_numbers(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [place, *SIZED, "--large-by-bin", "60,50,40,30,20", "--R", "5,22"]
    paper, measured = found(arguments, capsys)["accounts"]
    assert (paper["name"], paper["convention"], measured["name"]) == ("paper", "v1", "measured")
    size = 3e6 / 210e3
    assert [row["multiplier"] for row in paper["matching"]] == pytest.approx(
        [multiplier(size, 5), multiplier(size, 22)]
    )
    for account in (paper, measured):
        assert [group["group"] for group in account["groups"]] == ["overall", "1", "2", "3", "4", "5"]
        assert [group["large"] for group in account["groups"]][1:] == [0.6, 0.5, 0.4, 0.3, 0.2]
        for group in account["groups"]:
            assert [row["volume"] for row in group["rows"]] == [5, 22]
            assert len(group["curve"]) == 41
    shares = [group["problems"] for group in paper["groups"][1:]]
    assert sum(shares) == paper["groups"][0]["problems"] == 12
    overall = np.average([0.6, 0.5, 0.4, 0.3, 0.2], weights=shares)
    assert paper["groups"][0]["large"] == pytest.approx(overall)


def test_the_policy_is_read_as_it_was_cross_validated(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((place / "summary.json").read_text())
    for kind in ("oracle", "predicted", "charged"):
        small = read_small(place, kind)
        rows = summary["compute_optimal"]
        overall = small.groups[0]
        assert overall.budgets.tolist() == [row["budget"] for row in rows]
        assert overall.accuracy.mean(axis=0) == pytest.approx([row[kind] for row in rows])
        assert overall.flops is not None
        assert overall.flops.mean(axis=0) == pytest.approx([row[f"{kind}_flops"] for row in rows])
        parts = [group.accuracy.mean(axis=0) * group.problems for group in small.groups[1:]]
        assert sum(parts) / small.problems == pytest.approx(overall.accuracy.mean(axis=0))
        whole = read_small(place / "summary.json", kind).groups[0]
        assert whole.accuracy[0] == pytest.approx(overall.accuracy.mean(axis=0))


def test_a_policys_tokens_are_its_arms(place: Path) -> None:
    small = read_small(place)
    tokens = small.groups[0].tokens
    assert tokens is not None and small.output_tokens is not None and small.prompt_tokens is not None
    one = [np.asarray(column)[:, 0].mean() for column in (tokens.input, tokens.output)]
    assert one == pytest.approx([small.prompt_tokens, small.output_tokens])  # one sample: one prompt
    assert (np.asarray(tokens.output).mean(axis=0)[1:] > small.output_tokens).all()


def test_a_study_against_itself_is_paired(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its greedy decoding as the larger model's: by problem, so every bin has its own."""
    shown = found([place, *SIZED, "--large-study", place, "--R", "22"], capsys)
    assert shown["larger"] == "by greedy decoding" and not any("as exact" in n for n in shown["notes"])
    paper, measured = shown["accounts"]
    groups = paper["groups"]
    summary = json.loads((place / "summary.json").read_text())
    greedy = next(arm for arm in summary["arms"] if arm["strategy"] == "greedy")
    assert groups[0]["large"] == pytest.approx(greedy["accuracy"])
    assert [group["large"] for group in groups[1:]] == pytest.approx(greedy["by_bin"])
    assert measured["groups"][0]["each"] == pytest.approx(greedy["flops"])
    only = found([place, *SIZED, "--large-study", place / "summary.json", "--R", "22"], capsys)
    assert [group["group"] for group in only["accounts"][0]["groups"]] == ["overall"]
    assert only["accounts"][0]["groups"][0]["large"] == pytest.approx(greedy["accuracy"])


def test_a_larger_model_recorded_with_the_study(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "out"
    shutil.copytree(place, copy)
    assert "without a larger model" in refused([copy], capsys)
    summary = json.loads((copy / "summary.json").read_text())
    summary["proposer"] = {"parameters": 1000, "pretraining_tokens": 1e6}
    summary["larger"] = {
        "parameters": 14000,
        "pretraining_tokens": 2e6,
        "accuracy": 0.4,
        "ci95": [0.3, 0.5],
        "by_bin": {"oracle": [0.8, 0.6, 0.4, 0.2, 0.0], "predicted": [0.7, 0.5, 0.4, 0.3, 0.1]},
        "completion_tokens": 9.0,
        "flops": 5e6,
    }
    (copy / "summary.json").write_text(json.dumps(summary))
    for study in (copy, copy / "summary.json"):
        shown = found([study, "--convention", "all"], capsys)
        assert shown["parameters"] == [1000, 14000] and shown["pretraining_tokens"] == [1e6, 2e6]
        names = [account.get("convention", account["name"]) for account in shown["accounts"]]
        assert names == ["v1", "iclr", "sensitivity", "measured"]
        large = [group["large"] for group in shown["accounts"][0]["groups"]]
        assert large == pytest.approx([0.4, 0.8, 0.6, 0.4, 0.2, 0.0])
        measured = shown["accounts"][-1]
        assert measured["groups"][0]["each"] == 5e6
        fixed = 6 * (14000 * 2e6 - 1000 * 1e6) * summary["base"]["completion_tokens"] / 1e6
        assert measured["fixed"] == pytest.approx(fixed)
        row = measured["groups"][0]["rows"][0]
        assert row["requests"] == pytest.approx(row["volume"] * 1e6 / summary["base"]["completion_tokens"])
    more = [copy / "summary.json", "--difficulty", "predicted", "--requests", "1e6"]
    predicted = found(more, capsys)["accounts"][0]
    assert [group["large"] for group in predicted["groups"]][1:] == [0.7, 0.5, 0.4, 0.3, 0.1]
    assert predicted["groups"][0]["rows"][-1]["requests"] == pytest.approx(1e6)


def test_fine_tuning_is_free_in_the_papers_account_and_counted_in_the_measured(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "out"
    shutil.copytree(place, copy)
    summary = json.loads((copy / "summary.json").read_text())
    summary["proposer"] = {"parameters": 1000, "pretraining_tokens": 1e6}
    larger = {"parameters": 14000, "pretraining_tokens": 1e6, "accuracy": 0.4, "flops": 5e6}
    found_by = {}
    for tuned in ({}, {"finetuning_tokens": 5e5}):
        summary["larger"] = larger | tuned
        (copy / "summary.json").write_text(json.dumps(summary))
        found_by[bool(tuned)] = found([copy, "--R", "1"], capsys)
    plain, shown = found_by[False], found_by[True]
    assert plain["finetuning_tokens"] == [0, 0] and shown["finetuning_tokens"] == [0, 5e5]
    (paper, measured), (before, without) = shown["accounts"], plain["accounts"]
    assert paper["groups"] == before["groups"]
    assert any("fine-tuning is free" in one for one in paper["assumptions"])
    more = 6 * 14000 * 5e5 * summary["base"]["completion_tokens"] / 1e6
    assert measured["fixed"] - without["fixed"] == pytest.approx(more)
    assert any("fine-tuning counts" in one for one in measured["assumptions"])
    given = found([copy, "--R", "1", "--finetuning-tokens", "0,1M"], capsys)
    assert given["accounts"][1]["fixed"] - without["fixed"] == pytest.approx(2 * more)
    (copy / "summary.json").write_text(json.dumps({**summary, "proposer": {"parameters": 1000}, "larger": {
        "parameters": 14000, "accuracy": 0.4, "flops": 5e6, "finetuning_tokens": 5e5}}))  # fmt: skip
    unknown = found([copy, "--R", "1"], capsys)["accounts"][1]
    assert any("is not known" in one for one in unknown["assumptions"])


def test_a_recorded_larger_model_is_paired(
    place: Path, wide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = found([wide, *SIZED, "--R", "22"], capsys)
    assert shown["larger"] == "as recorded, greedy"
    assert not any("as exact" in note for note in shown["notes"])
    # The same model on the same problems as the other study's greedy arm: the same answers.
    other = found([place, *SIZED, "--R", "22", "--large-study", place], capsys)
    for mine, theirs in zip(shown["accounts"], other["accounts"], strict=True):
        for ours, its in zip(mine["groups"], theirs["groups"], strict=True):
            assert ours["large"] == pytest.approx(its["large"]) and ours["group"] == its["group"]


def test_prices_from_measured_tokens(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [place, *PRICED, "--price-verifier", "0.1", "--large-accuracy", "35%", "--fixed-large", "50"]
    account = found([*arguments, "--requests", "1e6"], capsys)["accounts"][0]
    overall = account["groups"][0]
    small = read_small(place)
    assert small.prompt_tokens is not None and small.output_tokens is not None
    each = (small.prompt_tokens * 2.5 + small.output_tokens * 10) / 1e6  # as long as the small one's
    assert overall["each"] == pytest.approx(each) and overall["large"] == pytest.approx(0.35)
    assert overall["rows"][0]["budget"] == pytest.approx(each + 50 / 1e6)
    assert any("as long as" in words for words in account["assumptions"])
    given = found([*arguments, "--tokens-large", "100,200"], capsys)["accounts"][0]["groups"][0]
    assert given["each"] == pytest.approx((100 * 2.5 + 200 * 10) / 1e6) and given["rows"] == []


def test_prices_by_the_users_tokens(synthetic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [synthetic, *PRICED, "--large-accuracy", "0.5", "--tokens-small", "200,100"]
    account = found([*arguments, "--price-verifier", "0.2"], capsys)["accounts"][0]
    overall = account["groups"][0]
    assert overall["each"] == pytest.approx((200 * 2.5 + 100 * 10) / 1e6)
    even = overall["break_even"]
    assert even["budget"] is not None
    n = even["samples"]
    # Between budgets the cost of n samples is read on the log scale, so it is near, not equal.
    assert even["budget"] == pytest.approx((200 * 0.3 + n * 100 * 0.6) / 1e6, rel=0.2)
    assert account["fixed"] == 0 and overall["curve"] == [] and len(overall["rows"]) == 1


def test_a_summary_alone_has_no_intervals(
    place: Path, synthetic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = found([synthetic, *SIZED, "--large-accuracy", "50"], capsys)
    groups = shown["accounts"][0]["groups"]
    assert [group["group"] for group in groups] == ["overall"]  # there is no policy.json beside it
    assert all(row["relative_ci95"] is None for group in groups for row in group["rows"])
    assert any("means alone" in note for note in shown["notes"])
    assert any("no account of measured FLOPs" in note for note in shown["notes"])
    lengths = ["--tokens-large", "100,60"]
    measured = found([synthetic, *SIZED, "--large-accuracy", "50", *lengths], capsys)["accounts"][-1]
    assert measured["name"] == "measured" and measured["groups"][0]["each"] == 2 * 3e6 * 160
    beside = found([place / "summary.json", *SIZED, "--large-by-bin", "60,50,40,30,20"], capsys)
    assert len(beside["accounts"][0]["groups"]) == 6
    assert any("optimistic" in note for note in beside["notes"])


def test_the_tables_say_it_in_words(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["exchange", str(place), *SIZED, "--large-by-bin", "95,1,1,1,99", "--curve", *PRICED]
    assert main([*arguments, "--R", "0.01,1000", "--fixed-large", "10"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "v1: Y = 2ND",
        "as measured",
        "Equal dollars",
        "never",
        "at every volume",
        "bin 5 (hardest)",
    ):
        assert words in shown, words
    for words in (
        "beyond the measured",
        "more test-time compute:",
        "the larger model:",
        "assumed: ",
        "note: ",
    ):
        assert words in shown, words


def test_families_of_arms(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joint = read_small(wide, "oracle", "joint")
    search = read_small(wide)
    assert joint.groups[0].accuracy.shape == search.groups[0].accuracy.shape
    assert joint.groups[0].tokens is None and search.groups[0].tokens is not None
    assert joint.reviser["parameters"] > 0 and not search.reviser
    shown = found([wide, *SIZED, "--family", "revisions_majority", "--R", "22"], capsys)
    assert shown["family"] == "revisions_majority" and len(shown["accounts"]) == 2
    # Hierarchical votes need a verifier of revisions, which this study has not.
    assert "no arms of the family 'revisions'" in refused([wide, *SIZED, "--family", "revisions"], capsys)
    assert "--tokens-small" in refused([wide, *SIZED, *PRICED, "--family", "joint"], capsys)
    # Each family's own charged policy: sampled revisions of this reviser are no search.
    charged = {f: read_small(wide, "charged", f).groups[0] for f in ("search", "revisions_majority", "joint")}
    found_, other, both = (charged[f].accuracy for f in charged)
    assert found_.shape == other.shape == both.shape and not np.array_equal(found_, other)


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["exchange", "--help"])
    assert left.value.code == 0 and "mull exchange mull-study" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "without a larger model"),
        (["--large-accuracy", "0.5"], "needs both models' parameters"),
        (["--large-accuracy", "0.5", "--small-params", "1M"], "needs both models' parameters"),
        (["--large-accuracy", "0.5", "--R", "1", *PRICED], "needs both models' parameters"),
        (["--large-accuracy", "0.5", "--small-params", "3M", "--large-params", "1M"], "must be larger"),
        (["--large-accuracy", "0.5", "--price-small", "1,2"], "--price-large is missing"),
        (["--large-accuracy", "0.5", "--price-large", "1,2"], "--price-small is missing"),
        (["--large-accuracy", "0.5", *PRICED], "give --tokens-large IN,OUT"),
        (["--large-accuracy", "0.5", *PRICED, "--tokens-large", "9,9"], "give --tokens-small IN,OUT"),
        (["--large-accuracy", "0.5", *SIZED, "--requests", "1e6"], "--pretraining-tokens"),
        (["--large-by-bin", "1,2,3,4,5", *SIZED], "bins are not known here"),
        (["--large-study", "nowhere", *SIZED], "nowhere holds no study"),
        (["--large-accuracy", "0.5", *SIZED, "--family", "joint"], "give the study's folder"),
        (["--large-accuracy", "0.5", *SIZED, "--family", "revisions"], "give the study's folder"),
    ],
)
def test_missing_terms_are_one_line(
    synthetic: Path, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused([synthetic, *more], capsys)


def test_what_is_no_study_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = [*SIZED, "--large-accuracy", "0.5"]
    assert "holds no study" in refused([tmp_path / "nowhere", *more], capsys)
    assert "holds no study" in refused([tmp_path, *more], capsys)
    for text, says in (
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"schema": 2}', "schema 2 is unknown"),
    ):
        (tmp_path / "summary.json").write_text(text)
        line = refused([tmp_path, *more], capsys)
        assert "is not a study's summary.json" in line and says in line


def test_a_study_of_other_problems_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    greedy = '[[arms]]\nstrategy = "greedy"\nbudgets = [1]\n'
    run.run_study(config.read(world(tmp_path, 10, 4, greedy)), tmp_path / "out", workers=1)
    line = refused([place, *SIZED, "--large-study", tmp_path / "out"], capsys)
    assert "lacks 2 of the study's 12 problems" in line
    line = refused([place / "summary.json", *SIZED, "--large-study", place], capsys)
    assert "needs the small model's study folder" in line


@pytest.mark.parametrize(
    "more",
    [
        ["--R", "0"],
        ["--R", "-1,2"],
        ["--R", "a"],
        ["--R", ""],
        ["--R", "inf"],
        ["--large-by-bin", "1,2,3"],
        ["--large-by-bin", "86,51,36,16,x"],
        ["--large-accuracy", "101"],
        ["--large-accuracy", "-0.1"],
        ["--large-accuracy", "1", "--large-by-bin", "1,1,1,1,1"],
        ["--small-params", "0"],
        ["--large-params", "7X"],
        ["--pretraining-tokens", "1,2,3"],
        ["--finetuning-tokens", "1"],
        ["--finetuning-tokens", "0,-1"],
        ["--price-small", "0,0"],
        ["--price-small", "1,2,3,4"],
        ["--price-large", "-1,2"],
        ["--tokens-small", "5"],
        ["--fixed-large", "-1"],
        ["--requests", "0"],
        ["--convention", "v2"],
        ["--difficulty", "easy"],
    ],
)
def test_malformed_options_are_status_2(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["exchange", "study", *more])
    assert left.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
