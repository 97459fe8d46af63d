"""The small world's profile on the test problems, from a finished study.

Prints what the world was designed to show, each with its 95 % interval (paired bootstrap
over problems) and whether it does: pass@1, its fall over oracle quintiles, pass@k and
majority at the pool's size, and what the PRM's weighted vote adds to majority.

    python benchmarks/world_profile.py mull-study
"""

from __future__ import annotations

import sys
from pathlib import Path

from mull.analysis.evidence import gather
from mull.difficulty import oracle, quantile_bins
from mull.study import bootstrap, estimators
from mull.study.folder import open_folder


def main() -> None:
    evidence = gather(open_folder(Path(sys.argv[1] if len(sys.argv) > 1 else "mull-study")))
    pool = evidence.pool
    shares = bootstrap.weights(pool.problems, 2000, seed=1)
    size = pool.samples
    first = pool.correct.mean(axis=1)
    reach = estimators.pass_at_k(pool, [size])[:, 0]
    majority = estimators.majority(pool, [size])[:, 0]
    weighted = estimators.best_of_n_weighted(pool, "prm", [size], evidence.draws)[:, 0]
    bins = quantile_bins(oracle(pool), ids=[p.id for p in evidence.recorded.problems])
    by_bin = [first[bins.labels == b].mean() for b in range(bins.count)]

    def percent(values: object) -> str:
        found = bootstrap.mean_ci95(values, shares)  # type: ignore[arg-type]
        return f"{100 * found.mean:5.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"

    gap = bootstrap.difference_ci95(reach, majority, shares)
    gain = bootstrap.difference_ci95(weighted, majority, shares)
    rows = [
        ("pass@1 between 15 and 45 %", percent(first), 0.15 <= first.mean() <= 0.45),
        (
            "pass@1 by quintile: > 70 ... < 3 %",
            " / ".join(f"{100 * v:.1f}" for v in by_bin),
            by_bin[0] > 0.7 and by_bin[-1] < 0.03,
        ),
        (f"pass@{size} above 80 %", percent(reach), reach.mean() > 0.8),
        (f"majority@{size}", percent(majority), True),
        (f"pass@{size} - majority@{size} >= 10", percent(reach - majority), gap.mean >= 0.1),
        (f"PRM weighted@{size}", percent(weighted), True),
        ("PRM weighted - majority > 0", percent(weighted - majority), gain.low > 0),
    ]
    print(f"{pool.problems} problems, {size} samples each")
    for what, value, holds in rows:
        print(f"{what:38} {value:38} {'holds' if holds else 'DOES NOT HOLD'}")


if __name__ == "__main__":
    main()
