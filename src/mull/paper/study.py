"""The study behind the paper: the small world with its reviser, its larger model and their verifiers.

Default: 500 problems, pools of 256, chains up to 64, every search of the paper up to a budget
of 64 and beam search up to 256. Full: the paper's own sizes, with pools of 2048 and every ratio of
sequential to parallel attempts up to 256. The module says what to record; it records nothing.
"""

from __future__ import annotations

from dataclasses import replace

from mull.strategies.base import Arm
from mull.study.builtin import Size, grid
from mull.study.config import Source, Study
from mull.tiny import load

#: Beam search where figure 9 puts the star of the lowest R.
_BEAM = Arm("beam", 256, (("width", 4),))
#: The companion study's folder inside the paper's, and its checkpoint's among the small world's;
#: its chains are no longer than this, which shows its shape at a quarter of the work.
RESTEM, RESTEM_CHAINS = "restem", 16


def paper_study(size: Size = "default") -> Study:
    """The built-in study of ``mull paper``; quick is a fifth of the default, with smaller budgets."""
    models = {"reviser": "tiny", "revision": "tiny", "larger": "tiny"}
    if size == "quick":
        arms = (*grid(16), mixed(16))
        return Study("the paper, quick", Source(count=120), pool=64, chains=16, arms=arms, **models)  # type: ignore[arg-type]
    if size == "full":
        arms = (*grid(256), mixed(16), mixed(64), mixed(256))
        return Study("the paper, full", Source(count=500), pool=2048, chains=256, arms=arms, **models)  # type: ignore[arg-type]
    arms = (*grid(64), _BEAM, mixed(16), mixed(64))
    return Study("the paper", Source(count=500), pool=256, chains=64, arms=arms, **models)  # type: ignore[arg-type]


def mixed(budget: int) -> Arm:
    """Beam search, then revision of the survivors: what the paper leaves open."""
    return Arm("beam_revise", budget, (("width", 4), ("chains", 4)))


def companion(study: Study) -> Study | None:
    """The study of the reviser trained by ReST-EM on the same problems; None where there is no such model.

    It is the paper's negative result (arXiv appendix K): its chains alone are wanted, and
    majority needs no verifier.
    """
    folder = load.CHECKPOINTS / RESTEM
    if study.reviser != "tiny" or not study.chains or not (folder / "config.json").is_file():
        return None
    plain = replace(study, name=f"{study.name}, ReST-EM", reviser=str(folder), pool=4, arms=())
    plain = replace(plain, chains=min(study.chains, RESTEM_CHAINS))
    return replace(plain, prm=None, orm=None, revision=None, larger=None)
