"""``python -m mull``: the command line."""

from mull.cli import main

raise SystemExit(main())
