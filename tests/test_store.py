"""Shards are whole or absent, and a damaged one is told by name."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from mull.errors import MullError
from mull.study import store

SCHEMA = pl.Schema({"name": pl.String, "score": pl.List(pl.Float32), "n": pl.Int32})


def frame() -> pl.DataFrame:
    rows = [
        {"name": "a", "score": [0.1, 0.2], "n": 1},
        {"name": None, "score": [], "n": 2},
        {"name": "ä\n", "score": None, "n": None},
    ]
    return pl.DataFrame(rows * 50, schema=SCHEMA)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store.write(tmp_path / "shards" / "x.parquet", frame(), "key")
    assert store.read(tmp_path / "shards" / "x.parquet", "key", SCHEMA).equals(frame())
    assert {p.name for p in (tmp_path / "shards").iterdir()} == {"x.parquet", "x.parquet.seal"}
    assert pl.read_parquet(tmp_path / "shards" / "x.parquet").equals(
        frame()
    )  # for anyone else, plain Parquet


def test_the_same_frame_is_the_same_bytes(tmp_path: Path) -> None:
    store.write(tmp_path / "a", frame(), "key")
    store.write(tmp_path / "b", frame(), "key")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("keep", [0, 1, 50, 0.5, 0.9, -1])
def test_a_truncated_shard_is_an_error_that_names_it(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "x.parquet"
    store.write(path, frame(), "key")
    data = path.read_bytes()
    cut = int(len(data) * keep) if isinstance(keep, float) else keep
    path.write_bytes(data[:cut])
    with pytest.raises(MullError, match=r"x\.parquet is damaged.*delete it and run"):
        store.read(path, "key", SCHEMA)
    assert path.read_bytes() == data[:cut]


def test_flipped_bytes_are_never_read_as_data(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    store.write(path, frame(), "key")
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        with pytest.raises(MullError, match=r"x\.parquet is damaged.*delete it and run"):
            store.read(path, "key", SCHEMA)


def test_another_studys_shard_other_columns_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    store.write(path, frame(), "key")
    with pytest.raises(MullError, match="another study"):
        store.read(path, "other", SCHEMA)
    store.write(path, frame().drop("n"), "key")
    with pytest.raises(MullError, match="other columns"):
        store.read(path, "key", SCHEMA)
    path.with_name("x.parquet.seal").unlink()
    with pytest.raises(MullError, match=r"x\.parquet\.seal is missing; delete .*x\.parquet and run"):
        store.read(path, "key", SCHEMA)
    path.unlink()
    with pytest.raises(MullError, match="missing; run the same study again"):
        store.read(path, "key", SCHEMA)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    store.write_text(tmp_path / "x", "old")
    with pytest.raises(RuntimeError), store.atomic(tmp_path / "x") as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert (tmp_path / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("lives", range(1, 5))
def test_killed_while_a_shard_is_replaced_leaves_one_of_the_two(tmp_path: Path, lives: int) -> None:
    code = """
import os, sys
from pathlib import Path
from test_store import SCHEMA, frame, store
path, lives, replace = Path(sys.argv[1]), int(sys.argv[2]), Path.replace
def fatal(self, target):
    global lives
    lives -= 1
    lives or os.kill(os.getpid(), 9)
    return replace(self, target)
store.write(path, frame(), "key")
Path.replace = fatal
store.write(path, frame().head(3), "key")
store.write(path, frame().head(2), "key")
"""
    path = tmp_path / "x.parquet"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(path), str(lives)]
    assert subprocess.run(command, env=environment).returncode == -9
    left = store.read(path, "key", SCHEMA)  # a shard's own renaming is every second one
    assert left.height == (frame().height if lives < 3 else 3)
    store.write(path, frame(), "key")
    store.write(path, frame().head(2), "key")
    assert store.read(path, "key", SCHEMA).height == 2


def test_a_damaged_shard_that_is_written_again_does_not_count_as_sealed(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    store.write(path, frame(), "key")
    path.write_bytes(damaged := path.read_bytes()[:-1])
    store.write(path, frame().head(3), "key")
    path.write_bytes(damaged)
    with pytest.raises(MullError, match="damaged"):
        store.read(path, "key", SCHEMA)


def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(MullError, match="cannot write /dev/full/x: "):
        store.write_text(Path("/dev/full/x"), "text")


def test_a_write_that_fails_midway_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def full_by_polars(*_: object, **__: object) -> None:
        raise pl.exceptions.ComputeError(
            "parquet: File out of specification: underlying IO error: No space left on device (os error 28)"
        )

    for fails in (full, full_by_polars):
        monkeypatch.setattr(pl.DataFrame, "write_parquet", fails)
        with pytest.raises(MullError, match=r"cannot write .*x\.parquet: No space left on device"):
            store.write(tmp_path / "x.parquet", frame(), "key")
    assert not list(tmp_path.iterdir())


def test_what_killed_runs_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / ".x.parquet.123.tmp").write_text("half")
    (tmp_path / "keep.tmp").write_text("not ours")
    store.sweep(tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["keep.tmp"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    code = "from pathlib import Path; from mull.study.store import lock\n"
    code += f"with lock(Path({str(tmp_path)!r})): print('in')"
    with store.lock(tmp_path):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert "another mull is at work" in second.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "in\n"
