"""``python -m kafkax``: the command line without an installed script."""

from __future__ import annotations

from kafkax.cli.main import main

if __name__ == "__main__":
    main()
