"""What mull raises when the input, not the program, is wrong; and which failures of models last.

The command line turns these into one line on standard error and a non-zero exit
status; nothing else in mull catches them wholesale.
"""

import re


class MullError(Exception):
    """Something the user can put right; the message says what, where and how."""


#: What the reason of a failed answer says if it holds the next time, too: the context is too long, or the
#: trace itself is nothing that the verifier can judge.
_SETTLED = re.compile(
    r"too long|context length|context size|context window|do not fit|cannot spell"
    r"|step \d+ (is empty|has no tokens|has no log-probabilities|has a log-probability that is none)"
    r"|step \d+ ends within its first token|the solution is empty|the trace has no (steps|text)"
    r"|(missing|too many) step tags|no equation between numbers|has no answer to agree on|has no public tests"
)


def settled(why: str) -> bool:
    """Whether a failure of a model would come again if it were asked again in the same way."""
    return _SETTLED.search(why) is not None
