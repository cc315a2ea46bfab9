"""`python3 -m demo`: look at the machine, install if needed, then go on inside the installed environment.

Knows: the command line, and the two halves of the demo: before and after the installation.
Must not know: Airflow, the fake or the comparison; those need packages this half may not import.
Its one rule: standard library only, so that a bare Python 3 starts it and is told plainly what is missing.
"""

from __future__ import annotations

import argparse
import os
import sys

from demo import installation, preflight
from demo.layout import Layout
from demo.surroundings import second_half_environ


def arguments() -> argparse.ArgumentParser:
    """The command line of both halves; the second is given the same words."""
    parser = argparse.ArgumentParser(
        prog="python3 -m demo",
        description="Run a real Airflow against a fake Cloudflare (or, with CLOUDFLARE_API_TOKEN and "
        "CLOUDFLARE_ACCOUNT_ID set, your own account), land 14 days, and compare every record.",
    )
    parser.add_argument("--keep", action="store_true", help="leave Airflow running at the end, until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="port of Airflow's UI (default: any free one)")
    return parser


def main() -> None:
    """Prepare, then become the second half; raises SystemExit if the demo cannot start."""
    arguments().parse_args()
    layout = Layout.here()
    layout.root.mkdir(exist_ok=True)
    try:
        prepare(layout)
    except preflight.RefusalError as refusal:
        print(f"demo: {refusal}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("demo: stopped; run `make demo` to begin again.", file=sys.stderr)
        sys.exit(130)
    sys.stdout.flush()
    os.chdir(layout.checkout)
    command = [str(layout.python), "-m", "demo.story", *sys.argv[1:]]
    os.execve(layout.python, command, second_half_environ(os.environ))  # noqa: S606 - no shell is wanted


def prepare(layout: Layout) -> None:
    """Install unless the environment is current; raises RefusalError."""
    installed = installation.is_current(layout)
    preflight.refuse(preflight.look(layout.root, installed=installed))
    if not installed:
        print("Installing into .demo/venv (the next run skips what has not changed)", flush=True)
        installation.install(layout)


if __name__ == "__main__":
    main()
