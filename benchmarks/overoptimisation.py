"""Over-optimisation, measured: what happens as more samples are given to a rule that trusts a weak signal.

    python benchmarks/overoptimisation.py ../shared/data
    python benchmarks/overoptimisation.py ../shared/data --pool recorded.parquet    (mull pool record ...)

1. By length, on AIME: the shortest of N (and the longest), beside one drawn and the majority of N.
2. By tests passed, on CodeGen-16B's HumanEval programs: see also benchmarks/codet.py.
3. By the product of step scores: right solutions that a real PRM's product calls wrong, by the number of
   their steps (FoVer's ProcessBench results), and with ``--pool`` best-of-N by last, min, mean
   and product of the steps' scores on recorded samples.

Accuracies with 95 % intervals, bootstrap over problems, differences paired.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mull.execution import agreement, classes, load_codet, pass_counts, votes
from mull.pools import Asked, PoolData, import_pool, read_pool
from mull.replay import Recorded, replay
from mull.strategies import Arm
from mull.study import bootstrap, estimators
from mull.study.pools import Pool

Floats = NDArray[np.float64]
RUNS = 200


def shown(name: str, values: Floats, base: Floats, shares: Floats) -> None:
    """A rule's accuracy, and its difference to one sample drawn."""
    own, over = bootstrap.mean_ci95(values, shares), bootstrap.difference_ci95(values, base, shares)
    print(
        f"  {name:34}{own.mean:7.3f}  [{own.low:.3f}, {own.high:.3f}]"
        f"   {over.mean:+.3f} [{over.low:+.3f}, {over.high:+.3f}]"
    )


def ranked(pool: Pool, value: Floats, ks: list[int]) -> Floats:
    """The chance that the best of k by ``value`` [P, S] is right, [P, len(ks)], ties split evenly."""
    with_value = Pool(pool.answers, pool.correct, {"v": value.astype(np.float32)}, pool.tokens)
    return estimators.best_of_n(with_value, "v", ks)


def by_length(data: PoolData, name: str) -> None:
    """Selection by length."""
    ks = [k for k in (1, 4, 16, 64) if k <= data.samples]
    pool, shares = data.pool, bootstrap.weights(data.problems, 2000)
    longest = float(data.tokens.max())
    short, long = (ranked(pool, value / longest, ks) for value in (longest - data.tokens, data.tokens))
    vote = estimators.majority(pool, ks)
    drawn = Recorded.of(data).draw(RUNS, max(ks), 0)
    half = [replay(drawn, Arm("shortest_first", k)).right.mean(axis=0) for k in ks]
    print(f"{name}: {data.problems} problems x {data.samples}")
    for column, k in enumerate(ks):
        for rule, values in (
            ("shortest", short[:, column]),
            ("longest", long[:, column]),
            ("vote of the shorter half", half[column]),
            ("majority", vote[:, column]),
        ):
            shown(f"{rule} of {k}", values, short[:, 0], shares)


def by_tests(folder: Path) -> None:
    """Selection by tests passed."""
    rows = load_codet(folder)
    ks = [1, 4, 16, 64, 100]
    shares = bootstrap.weights(len(rows), 2000)
    rng = np.random.default_rng(0)
    size = len(rows[0].completions)
    kept: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        behaviour, passed = classes(row.results), pass_counts(row.passed)
        for k in ks:
            found: dict[str, list[float]] = {"tests passed": [], "behaviour majority": [], "agreement": []}
            for _ in range(1 if k == size else RUNS // 4):
                some = rng.permutation(size)[:k]
                own, tests = behaviour[some], passed[some]
                scores = {"tests passed": tests, "behaviour majority": votes(own)}
                scores["agreement"] = agreement(own, tests)
                for rule, score in scores.items():
                    best = score >= score.max() - 1e-9
                    found[rule].append(float(row.correct[some][best].mean()))
            for rule, values in found.items():
                kept.setdefault((rule, k), []).append(float(np.mean(values)))
    print(f"\nHumanEval programs of CodeGen-16B: {len(rows)} problems x {size}")
    one = np.array([float(row.correct.mean()) for row in rows])
    for (rule, k), values in sorted(kept.items(), key=lambda item: (item[0][0], item[0][1])):
        shown(f"{rule} of {k}", np.array(values), one, shares)


def right_solutions(path: Path, names: tuple[str, ...]) -> tuple[Floats, list[dict[str, Floats]]]:
    """Step scores of the right solutions of FoVer's file whose bounds are certain, and their lengths.

    Solutions are not marked off in the file. A wrong one ends with its wrong step; a right one has its
    smallest step score as its own score, for every verifier at once. What of it has one reading is kept.
    """
    found = json.loads(gzip.decompress(path.read_bytes()))
    verifiers = list(found)
    steps = np.array([found[v]["y_pred_step_level"] for v in verifiers])
    whole = np.array([found[v]["y_pred_instance_level"] for v in verifiers])
    good = np.array(found[verifiers[0]]["y_true_step_level"], bool)
    right = np.array(found[verifiers[0]]["y_true_instance_level"], bool)
    ends = np.flatnonzero(~good) + 1
    total = steps.shape[1]

    def followers(at: int, i: int) -> set[int]:
        """Where solution i may end if it begins at ``at``."""
        after = ends[np.searchsorted(ends, at + 1)] if (ends > at).any() else total + 1
        if not right[i]:
            return {int(after)} if after <= total else set()
        most = min(int(after) - 1, total)
        lows = np.minimum.accumulate(steps[:, at:most], axis=1)
        return {at + 1 + int(j) for j in np.flatnonzero((np.abs(lows - whole[:, [i]]) < 1e-9).all(axis=0))}

    forward: list[set[int]] = [{0}]
    for i in range(len(right)):
        forward.append({end for at in forward[-1] for end in followers(at, i)})
    backward: list[set[int]] = [{total}]
    for i in reversed(range(len(right))):
        backward.append({at for at in forward[i] if followers(at, i) & backward[-1]})
    sure = [f & b for f, b in zip(forward, reversed(backward), strict=True)]
    kept = []
    for i in np.flatnonzero(right):
        if len(sure[i]) == len(sure[i + 1]) == 1:
            (low,), (high,) = sure[i], sure[i + 1]
            kept.append({v: steps[n, low:high] for n, v in enumerate(verifiers) if v in names})
    return np.array([len(next(iter(one.values()))) for one in kept]), kept


def by_product(folder: Path) -> None:
    """What the product of step scores says of right solutions, by length."""
    names = ("Qwen2.5-Math-PRM-7B", "Llama3.1-8B-PRM-Deepseek-Data", "Skywork-o1-Open-PRM-Qwen-2.5-7B")
    lengths: list[Floats] = []
    kept: list[dict[str, Floats]] = []
    for path in sorted(folder.glob("processbench_*.json.gz")):
        sizes, found = right_solutions(path, names)
        lengths.append(sizes)
        kept += found
    size = np.concatenate(lengths)
    print(
        f"\nRight solutions of ProcessBench called wrong (score under 0.5): {len(kept)} with certain bounds"
    )
    for name in names:
        if not kept or name not in kept[0]:
            continue
        print(f"  {name}")
        for low, high in ((1, 4), (5, 8), (9, 12), (13, 99)):
            own = [one[name] for one, n in zip(kept, size, strict=True) if low <= n <= high]
            if own:
                parts = {
                    how: np.mean([reduce(each) < 0.5 for each in own])
                    for how, reduce in (("product", np.prod), ("min", np.min), ("last", lambda v: v[-1]))
                }
                said = "   ".join(f"{how} {share:.2f}" for how, share in parts.items())
                print(f"    {low:2} to {high:2} steps ({len(own):3}): {said}")


def by_steps(path: Path) -> None:
    """Best-of-N by each way of making one score of the steps', on a recorded pool."""
    data = read_pool(path)
    name = data.layout.step_scores[0]
    ks = [k for k in (1, 4, 16, 64) if k <= data.samples]
    shares = bootstrap.weights(data.problems, 2000)
    lengths = data.frame["step_scores"].struct.field(name).list.len().to_numpy().reshape(data.answers.shape)
    ways = {how: data.step_scores(name, how) for how in ("last", "min", "mean", "product")}  # type: ignore[arg-type]
    one = data.correct.mean(axis=1)
    print(
        f"\n{path.name}: best-of-N by the step scores of {name!r}, {data.problems} problems x {data.samples}"
    )
    for how, value in ways.items():
        accuracy = ranked(data.pool, value, ks)
        for column, k in enumerate(ks):
            shown(f"{how}, best of {k}", accuracy[:, column], one, shares)
    hard = lengths.mean(axis=1)
    print("  by the mean number of steps of a problem's solutions, best of", ks[-1])
    for half, rows in (("shorter half", hard <= np.median(hard)), ("longer half", hard > np.median(hard))):
        said = "   ".join(
            f"{how} {ranked(data.pool, value, ks)[rows, -1].mean():.3f}" for how, value in ways.items()
        )
        print(f"    {half}: {said}   one drawn {one[rows].mean():.3f}")
    for how, value in ways.items():
        best = np.nanargmax(np.where(np.isnan(value), -1, value), axis=1)
        chosen = lengths[np.arange(len(best)), best].mean()
        print(f"    steps of the solution chosen by {how}: {chosen:.2f} (a drawn one: {lengths.mean():.2f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with boinf, codet_humaneval and fover_prm_eval")
    parser.add_argument("--pool", type=Path, help="a recorded pool with step scores")
    args = parser.parse_args()
    print(f"  {'rule':34}{'accuracy':>8} 95 %               over one drawn")
    with tempfile.TemporaryDirectory() as place:
        for path in sorted((args.data / "boinf").glob("analysis_aime*.jsonl.gz")):
            out = Path(place) / f"{path.name}.parquet"
            import_pool(Asked(path), "boinf", out)
            by_length(read_pool(out), path.name.removeprefix("analysis_").removesuffix(".jsonl.gz"))
    by_tests(args.data / "codet_humaneval")
    by_product(args.data / "fover_prm_eval")
    if args.pool:
        by_steps(args.pool)


if __name__ == "__main__":
    main()
