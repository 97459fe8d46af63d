"""The paper redrawn: its figures show the study's arrays, and its page opens anywhere."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mull.cli.main import main
from mull.errors import MullError
from mull.paper import arrays as kept
from mull.paper import draw, measured
from mull.paper.claims import FAILS, HOLDS, OPEN
from mull.paper.figures import figures
from mull.paper.run import paper, write
from mull.paper.study import RESTEM, companion, paper_study
from mull.paper.view import Ours
from mull.study.config import Source, Study, read
from mull.study.folder import open_folder
from mull.study.progress import State
from mull.study.run import record
from mull.tiny import load
from tiny_models import checkpoint, world

#: The lines that each figure of the paper is made of.
SERIES = {
    "figure-01": {
        *("policy:revisions:oracle", "policy:revisions_majority:oracle"),
        *("parallel:score", "parallel:majority"),
        *("policy:search:oracle", "weighted:prm", "weighted:orm", "majority"),
    },
    "figure-03": {
        *("weighted:prm", "majority", "beam:sqrt", "beam:4"),
        *("lookahead:1:sqrt", "lookahead:3:sqrt", "lookahead:3:4"),
    },
    "figure-04": {
        *("majority", "weighted:orm", "weighted:prm"),
        *("policy:search:oracle", "policy:search:predicted"),
    },
    "figure-06": {
        *("chain", "sequential:score", "parallel:score", "sequential:majority", "parallel:majority"),
    },
    "figure-07": {f"ratio:score:{n}" for n in (1, 2, 4, 8, 16)},
    "figure-08": {
        *(f"policy:{f}:{k}" for f in ("revisions", "revisions_majority") for k in ("oracle", "predicted")),
        *("parallel:score", "parallel:majority"),
    },
    "figure-09": {"policy:revisions:oracle", "policy:search:oracle", "larger"},
    "figure-10": {f"ratio:majority:{n}" for n in (1, 2, 4, 8, 16)},
    "figure-11": {"ratio:score:8", "ratio:majority:8"},
    "figure-12": {"beam:4", "weighted:prm", "majority"},
    "figure-13": {"weighted:prm", "weighted:prm-min", "weighted:prm-product", "weighted:orm", "majority"},
    "figure-14": {"weighted:prm", "weighted:orm", "majority"},
    "figure-15": {"sequential:score", "sequential:prm", "sequential:score_blind", "parallel:score"},
    "figure-16": {f"restem:majority:{n}" for n in (1, 2, 4, 8, 16)},
    "figure-iclr-13": {"weighted:prm", "weighted:orm", "best:prm", "best:orm"},
    "figure-iclr-17": {"weighted:random", "weighted:flipped", "weighted:prm", "parallel:majority", "larger"},
    "figure-own": {
        *("weighted:prm", "parallel:score"),
        *(f"wide:{f}:{how}:{k}" for f in ("search", "revisions", "joint")
          for how in ("equal", "allocating") for k in ("oracle", "predicted", "charged")),
    },
}  # fmt: skip
#: The figures of solutions: schematics and samples.
SHOWN = {"figure-02", "figure-05", *(f"figure-{number}" for number in range(17, 30))}
ARMS = """
[[arms]]
strategy = "beam"
params = { width = 4 }
budgets = [4, 16]
[[arms]]
strategy = "beam"
params = { width = "sqrt" }
budgets = [4, 16]
[[arms]]
strategy = "lookahead"
params = { k = 1, width = "sqrt" }
budgets = [8]
[[arms]]
strategy = "lookahead"
params = { k = 3, width = "sqrt" }
budgets = [16]
[[arms]]
strategy = "lookahead"
params = { k = 3, width = 4 }
budgets = [16]
[[arms]]
strategy = "beam_revise"
params = { width = 4, chains = 4 }
budgets = [16]
"""


def larger(folder: Path, inner: int = 6000) -> Path:
    """The miniature proposer with a far wider, idle feed-forward layer."""
    checkpoint(folder, "LlamaForCausalLM")
    weights = load_file(folder / "model.safetensors")
    for name, tensor in weights.items():
        if ".mlp." in name:
            shape = tuple(inner if size == 48 else size for size in tensor.shape)
            weights[name] = np.zeros(shape, np.float32)
    save_file(weights, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": inner}))
    return folder


@pytest.fixture(scope="module")
def toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in miniature with a reviser, its verifier and a larger model."""
    folder = tmp_path_factory.mktemp("world")
    made = world(
        folder, problems=14, pool=16, arms=ARMS, chains=16, reviser="proposer", larger="larger", name="<b>&"
    )
    larger(folder / "larger")
    made.write_text(made.read_text().replace('orm = "orm" }', 'orm = "orm", revision = "orm" }'))
    return made


@pytest.fixture(scope="module")
def done(toml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after ``mull paper``, with a companion study as if by ReST-EM."""
    pytest.importorskip("matplotlib")
    out = tmp_path_factory.mktemp("paper") / "out"
    study = read(toml)
    record(study, out, workers=1)
    plain = replace(study, pool=4, seed=5, arms=(), prm=None, orm=None, revision=None, larger=None)
    record(plain, out / RESTEM, workers=1)
    assert main(["paper", str(toml), "--out", str(out), "--workers", "1"]) == 0
    return out


@pytest.fixture(scope="module")
def ours(done: Path) -> Ours:
    return Ours(measured.measure(open_folder(done), open_folder(done / RESTEM)))


def test_every_figure_has_the_papers_series(ours: Ours) -> None:
    made = {figure.name: figure for figure in figures(ours)}
    assert set(made) == set(SERIES)
    for name, figure in made.items():
        assert {series.line for panel in figure.panels for series in panel.series} == SERIES[name], name
        # The miniature larger model solves nothing but the easiest problems.
        lacking = set(figure.missing) - {"problems of each bin that the larger model solves"}
        # The paper's larger budgets are named, where there are figures of ratios.
        larger = {each for each in lacking if each.startswith("ratios at N = ")}
        assert len(larger) == (name in ("figure-07", "figure-10", "figure-16"))
        lacking -= larger
        assert not lacking, (name, lacking)


def test_numbers_in_figures_are_the_arrays_means(ours: Ours) -> None:
    checked = 0
    for figure in figures(ours):
        for panel in figure.panels:
            if panel.zero:
                continue
            for series in panel.series:
                held = ours.arrays.lines[series.line]
                labels = ours.arrays.labels[series.kind]
                for i, at in enumerate(series.at):
                    rows = np.isin(labels, series.bins[i]) if series.bins[i] else slice(None)
                    mean = 100 * held.y[rows][:, held.column(float(at))].mean()
                    assert series.y[i] == pytest.approx(mean)
                    assert series.low[i] - 1e-9 <= mean <= series.high[i] + 1e-9 or len(labels) < 30
                    checked += 1
    assert checked > 300


def test_arrays_agree_with_the_study(ours: Ours, done: Path) -> None:
    lines = ours.arrays.lines
    first = lines["majority"].y[:, 0]
    for name in ("weighted:prm", "weighted:orm", "best:prm", "beam:4", "weighted:random"):
        assert lines[name].y[:, 0] == pytest.approx(first)  # one sample is one sample
    for by in ("score", "majority"):
        assert lines[f"ratio:{by}:8"].y[:, 0] == pytest.approx(lines[f"parallel:{by}"].y[:, 3])
        assert lines[f"ratio:{by}:8"].y[:, -1] == pytest.approx(lines[f"sequential:{by}"].y[:, 3])
    assert lines["chain"].y.shape == lines["context"].y.shape == (14, 16)
    # Four attempts are read at most, so the context stops growing there.
    read = lines["context"].y.mean(axis=0)
    assert read[0] < read[1] < read[4] and (read[5:] < 1.5 * read[4]).all()
    assert lines["lost"].y[:, 1].sum() <= lines["lost"].y[:, 0].sum()


def test_the_cache_gives_back_the_same_arrays(ours: Ours, tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    kept.save(path, ours.arrays, "key")
    again = kept.load(path, "key")
    assert again is not None and again.facts == ours.arrays.facts
    assert {n: (h.x.tolist(), h.y.tolist()) for n, h in again.lines.items()} == {
        n: (h.x.tolist(), h.y.tolist()) for n, h in ours.arrays.lines.items()
    }
    assert kept.load(path, "other") is None
    path.write_bytes(path.read_bytes()[:100])
    assert kept.load(path, "key") is None


def test_the_command_writes_page_figures_and_claims(done: Path) -> None:
    rows = json.loads((done / "claims.json").read_text())
    assert {"claim", "statistic", "paper", "value", "ci95", "verdict"} <= set(rows[0])
    assert {row["verdict"] for row in rows} <= {HOLDS, FAILS, OPEN}
    assert all(row["value"] is not None for row in rows if row["topic"] == "ReST-EM on revisions")
    listed = json.loads((done / "figures.json").read_text())
    assert {figure["name"] for figure in listed if "panels" in figure} == set(SERIES)
    assert "right answers turn wrong" in (done / "paper.html").read_text()
    shown = {figure["name"] for figure in listed if "panels" not in figure}
    assert {"figure-24", "figure-29"} <= shown <= SHOWN  # which chains there are depends on the models
    files = {path.name for path in (done / "figures").iterdir()}
    assert files == {f"{figure['name']}.{ending}" for figure in listed for ending in ("svg", "png")}
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in (done / "figures").glob("*.png"))
    assert not list(done.rglob("*.tmp"))
    numbers = [int(figure["arxiv"]) for figure in listed if figure["arxiv"]]
    assert numbers == sorted(numbers) and numbers[0] == 1


def test_the_page_opens_offline_and_escapes_the_studys_name(done: Path) -> None:
    text = (done / "paper.html").read_text()
    assert not re.search(r"https?:|//[a-z]+\.|@import|<script", text)
    assert "<b>&" not in text and "&lt;b&gt;&amp;" in text
    for name in SERIES:
        assert f'id="{name}"' in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for used in set(re.findall(r'(?:url\(|href=")#([^")]+)', text)):
        assert used in ids, used


def test_drawing_again_reads_the_cache_and_ends_in_the_same_bytes(
    done: Path, toml: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in done.rglob("*") if path.is_file() and path.suffix != ".npz"}
    monkeypatch.setattr(measured.families, "judge", lambda _: pytest.fail("measured anew"))
    assert main(["paper", str(toml), "--out", str(done), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((done / "claims.json").read_text())
    assert {path: path.read_bytes() for path in before} == before


def test_a_page_is_replaced_whole_or_not_at_all(
    done: Path, ours: Ours, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("paper.html", "claims.json"):
        (tmp_path / name).write_text("old")

    def fail(*_: object) -> None:
        raise MullError("the pen broke")

    monkeypatch.setattr("mull.paper.run.draw.draw", fail)
    with pytest.raises(MullError, match="pen"):
        write(ours.arrays, tmp_path)
    assert [(tmp_path / name).read_text() for name in ("paper.html", "claims.json")] == ["old", "old"]


def test_a_study_without_revisions_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    study = read(world(tmp_path / "w", problems=10, pool=4, arms=""))
    (tmp_path / "out" / "figures").mkdir(parents=True)
    said: list[State] = []
    found = paper(replace(study, orm=None), tmp_path / "out2", workers=1, say=said.append)
    notes = [state.note for state in said]
    assert "measuring" in notes and "drawing: Figure 3 (ICLR 3)" in notes
    assert [state.done == state.total for state in said].index(True) == len(said) - 1
    assert {"figure-03.svg", "figure-14.png"} <= {path.name for path in found.figures}
    assert "figure-06.svg" not in {path.name for path in found.figures}
    assert "Figure 6 (ICLR 9)" in found.page.read_text() or "6 (ICLR 9)" in found.page.read_text()
    assert all(row.verdict == OPEN for row in found.rows if row.value is None)


def test_a_checkpoint_by_rest_em_is_recorded_drawn_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reviser itself standing in for it: the same model, so the same chains."""
    pytest.importorskip("matplotlib")  # asked for before anything is recorded
    shutil.copytree(load.CHECKPOINTS, tmp_path / "checkpoints")
    shutil.rmtree(tmp_path / "checkpoints" / RESTEM, ignore_errors=True)
    shutil.copytree(load.CHECKPOINTS / "reviser", tmp_path / "checkpoints" / RESTEM)
    monkeypatch.setattr(load, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr("mull.paper.run._draw", lambda figure: draw.Drawn("<svg/>", b"", "<svg/>"))
    study = Study("small", Source(count=20), pool=4, chains=4, reviser="tiny", prm="tiny", orm=None)
    second = companion(study)
    assert second is not None and second.reviser == str(tmp_path / "checkpoints" / RESTEM)
    assert (second.problems, second.chains, second.arms) == (study.problems, study.chains, ())
    found = paper(study, tmp_path / "out", workers=1)
    assert "figure-16.svg" in {path.name for path in found.figures}
    judged = [row for row in found.rows if row.topic == "ReST-EM on revisions"]
    assert len(judged) == 2 and all(row.value is not None and row.ci95 is not None for row in judged)
    assert judged[1].value == 0.0  # a first attempt is no better than the very same one
    lines = measured.measure(open_folder(tmp_path / "out"), open_folder(tmp_path / "out" / RESTEM)).lines
    for n in (1, 2, 4):
        assert np.array_equal(lines[f"restem:majority:{n}"].y, lines[f"ratio:majority:{n}"].y)


def test_a_companion_of_other_problems_is_refused(done: Path, toml: Path, tmp_path: Path) -> None:
    study = read(toml)
    few = replace(study.problems, count=10)
    other = replace(study, problems=few, pool=4, arms=(), prm=None, orm=None, revision=None, larger=None)
    record(other, tmp_path / "other", workers=1)
    with pytest.raises(MullError, match="other problems"):
        measured.measure(open_folder(done), open_folder(tmp_path / "other"))


def test_without_matplotlib_the_error_names_the_extra(
    toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["paper", str(toml), "--out", str(tmp_path / "out")]) == 1
    assert "mull[paper]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # said before anything is recorded


def test_another_studys_folder_is_refused(
    done: Path, toml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = toml.with_name("other.toml")
    changed.write_text(toml.read_text().replace("pool = 16", "pool = 8").replace("[4, 16]", "[4]"))
    assert main(["paper", str(changed), "--out", str(done)]) == 1
    assert "holds another study" in capsys.readouterr().err


def test_the_companion_of_every_size_is_a_study() -> None:
    for size in ("quick", "default", "full"):
        found = companion(paper_study(size))
        assert found is not None and found.chains == 16 and found.prm is None
