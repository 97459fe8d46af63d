"""A small, complete, made-up study for the report's tests: its numbers are test input, not results."""

from __future__ import annotations

import math
import random
from typing import Any

BUDGETS = (1, 4, 16, 64, 256)
#: Synthetic: how far each curve gets at each bin, and how fast.
TOPS = (0.97, 0.82, 0.55, 0.28, 0.06)


def synthetic_by_bin(n: float, speed: float, reach: float) -> list[float]:
    return [round(t * (0.3 + 0.7 * reach * (1 - math.exp(-speed * (1 + math.log2(n)) / 6))), 4) for t in TOPS]


def synthetic_arm(
    strategy: str, params: dict[str, Any], n: int, speed: float, reach: float, cost: int = 1
) -> dict[str, Any]:
    bins = synthetic_by_bin(n, speed, reach)
    accuracy = sum(bins) / 5
    return {
        "strategy": strategy,
        "params": params,
        "budget": n * cost,
        "generations": float(n * cost),
        "completion_tokens": 61.4 * n * cost,
        "verifier_tokens": 0 if strategy == "majority" else 140.0 * n * cost,
        "flops": 2.6e8 * n * cost,
        "accuracy": accuracy,
        "ci95": [accuracy - 0.032, accuracy + 0.03],
        "by_bin": bins,
        "by_bin_predicted": [round(b * 0.97, 4) for b in bins],
    }


def synthetic_tree(problem: str, correct: bool) -> dict[str, Any]:
    draw = random.Random(problem)
    root = {
        "id": "0",
        "parent": None,
        "round": 0,
        "text": "",
        "score": None,
        "kept": True,
        "finish": None,
        "answer": None,
    }
    nodes: list[dict[str, Any]] = [root]
    frontier = ["0"] * 4
    for level in range(4):
        made = []
        for k in range(16 if level else 8):
            score = None if (level, k) == (2, 3) else round(draw.random() ** 0.6, 3)
            parent = frontier[k // 4 if level else 0]
            last = level == 3
            words = (
                f"Step {level + 1}: {k + 3} × {level + 2} = {(k + 3) * (level + 2)}, so Ann has that many."
            )
            node = {
                "id": f"{level}.{k}",
                "parent": parent,
                "round": level,
                "score": score,
                "kept": False,
                "text": words,
                "finish": "stop" if last else None,
                "answer": str(20 + k % 3) if last else None,
            }
            nodes.append(node)
            made.append(node)
        for node in sorted(made, key=lambda x: -(x["score"] or -1))[:4]:
            node["kept"] = True
        frontier = [n["id"] for n in made if n["kept"]]
    return {
        "problem": problem,
        "prompt": "Ann has 4 more books than Ben. Ben has 16. How many has Ann?\n",
        "gold": "20",
        "arm": "beam(width=4)@16",
        "answer": "20" if correct else "21",
        "correct": correct,
        "weights": {"20": 2.41, "21": 1.9, "22": 0.35},
        "nodes": nodes,
    }


def synthetic_trees() -> list[dict[str, Any]]:
    return [synthetic_tree("test-17", True), synthetic_tree("test-203", False)]


def synthetic_summary() -> dict[str, Any]:
    arms = []
    for n in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        arms.append(synthetic_arm("majority", {}, n, 1.0, 0.7))
        for verifier, aggregation, reach in (
            ("prm", "last", 1.0),
            ("prm", "min", 0.95),
            ("prm", "product", 0.75),
            ("prm", "mean", 0.93),
            ("orm", "last", 0.9),
        ):
            params = {"verifier": verifier, "aggregation": aggregation}
            arms.append(synthetic_arm("best_of_n_weighted", params, n, 1.3, reach))
            arms.append(synthetic_arm("best_of_n", params, n, 1.25, reach * 0.94))
    for n in BUDGETS[1:]:
        arms.append(synthetic_arm("beam", {"width": 4}, n, 2.6, 0.93))
        if n != 16:
            arms.append(synthetic_arm("beam", {"width": math.isqrt(n)}, n, 2.4, 0.91))
    for n in (4, 16, 64):
        arms.append(synthetic_arm("lookahead", {"width": 4, "k": 3}, n, 2.5, 0.9, cost=4))
    rows = []
    for n in BUDGETS:
        row: dict[str, Any] = {"budget": n}
        curves = {
            "oracle": (2.6, 1.02),
            "predicted": (2.5, 1.0),
            "charged": (2.5, 1.0),
            "best_of_n": (1.3, 1.0),
            "majority": (1.0, 0.7),
        }
        for name, (speed, reach) in curves.items():
            value = sum(synthetic_by_bin(n, speed, reach)) / 5
            spent = n + (16 if name == "charged" else 0)
            row |= {
                name: value,
                f"{name}_ci95": [value - 0.03, value + 0.03],
                f"{name}_generations": spent,
                f"{name}_completion_tokens": 61.4 * spent,
                f"{name}_flops": 2.6e8 * spent,
            }
            if name in ("oracle", "predicted", "charged"):
                row |= {
                    f"{name}_sd": 0.008,
                    f"{name}_arms": [
                        "best_of_n_weighted",
                        "best_of_n_weighted",
                        "beam(width=4)",
                        "beam(width=4)",
                        "majority",
                    ],
                }
        rows.append(row)
    bins = [60, 60, 60, 63, 57]

    def ratio(value: float) -> dict[str, Any]:
        at = [
            {
                "budget": b,
                "accuracy": 0.4,
                "generations": value if b > 4 else None,
                "flops": value if b > 4 else None,
            }
            for b in BUDGETS
        ]
        return {
            "generations": value,
            "completion_tokens": value * 0.95,
            "flops": value * 0.9,
            "completion_tokens_ci95": [value * 0.6, value * 1.3],
            "generations_ci95": [value * 0.7, value * 1.4],
            "flops_ci95": [value * 0.6, value * 1.2],
            "accuracy": 0.45,
            "at": at,
        }

    return {
        "schema": 1,
        "study": {
            "name": "Synthetic fixture",
            "hash": "c0ffee12",
            "seed": 0,
            "engine": "tiny/proposer-2m",
            "temperature": 0.8,
            "verifiers": {"prm": "tiny/prm", "orm": "tiny/orm"},
            "pool": 256,
            "mull": "0.1.0",
        },
        "problems": 300,
        "base": {
            "pass_at_1": 0.161,
            "ci95": [0.14, 0.18],
            "pass_at_k": {"1": 0.161, "16": 0.44, "256": 0.71},
            "completion_tokens": 61.4,
        },
        "arms": arms,
        "difficulty": {
            "oracle": {
                "bin_sizes": bins,
                "base_pass_at_1": [0.29, 0.25, 0.17, 0.08, 0.02],
                "thresholds": [0.27, 0.21, 0.12, 0.04],
                "samples": 256,
            },
            "predicted": {
                "bin_sizes": [60] * 5,
                "base_pass_at_1": [0.28, 0.24, 0.17, 0.09, 0.03],
                "thresholds": [0.6, 0.5, 0.4, 0.2],
                "samples": 256,
            },
            "charged": {
                "bin_sizes": [60] * 5,
                "base_pass_at_1": [0.27, 0.24, 0.17, 0.09, 0.04],
                "thresholds": None,
                "samples": 16,
            },
        },
        "compute_optimal": rows,
        "headline": {
            "equal_accuracy_ratio": {"oracle": ratio(3.1), "predicted": ratio(2.7), "charged": ratio(0.6)}
        },
        "warnings": [
            "3 of 4,800 candidates were cut by length.",
            "Bin 5 is degenerate: 41 problems have no right sample.",
        ],
    }


def with_gaps() -> dict[str, Any]:
    """Nulls everywhere the contract allows: no ORM, a policy that never reaches, unmeasured cells."""
    summary = synthetic_summary()
    summary["arms"] = [a for a in summary["arms"] if a["params"].get("verifier") != "orm"]
    summary["study"]["verifiers"] = {"prm": "tiny/prm", "orm": None}
    empty = {
        "generations": None,
        "flops": None,
        "generations_ci95": None,
        "flops_ci95": None,
        "accuracy": None,
        "at": [],
    }
    summary["headline"]["equal_accuracy_ratio"] = {"oracle": empty, "predicted": empty, "charged": None}
    summary["arms"][3] |= {
        "accuracy": None,
        "ci95": None,
        "by_bin": None,
        "by_bin_predicted": None,
        "flops": None,
    }
    for row in summary["compute_optimal"]:
        row |= {"charged": None, "charged_ci95": None, "charged_arms": None, "charged_flops": None}
    summary["difficulty"]["charged"] = None
    summary["base"] |= {"ci95": None, "pass_at_k": {}}
    return summary
