"""What mull raises when the input, not the program, is wrong; and which failures of models last.

The command line turns these into one line on standard error and a non-zero exit
status; nothing else in mull catches them wholesale.
"""


class MullError(Exception):
    """Something the user can put right; the message says what, where and how."""


#: What the reason of a failed answer says if it holds the next time, too.
_SETTLED = ("too long", "context length", "context size", "context window", "do not fit", "cannot spell")


def settled(why: str) -> bool:
    """Whether a failure of a model would come again if it were asked again in the same way."""
    return any(words in why for words in _SETTLED)
