"""What mull raises when the input, not the program, is wrong.

The command line turns these into one line on standard error and a non-zero exit
status; nothing else in mull catches them wholesale.
"""


class MullError(Exception):
    """Something the user can put right; the message says what, where and how."""
