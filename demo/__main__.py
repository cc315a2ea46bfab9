"""`python3 -m demo`: checks the machine, installs if needed, and continues in the installed environment.

Imports only the standard library, so that a bare Python 3 can start it and report what is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from subprocess import CalledProcessError

from demo import preflight
from demo.layout import Layout
from harness.airflow_environment import isolated_environ
from tools import environment

# The variable that tells the second half how many seconds the first one took.
PREPARATION = "DEMO_PREPARATION_SECONDS"


def arguments() -> argparse.ArgumentParser:
    """Returns the command line of both halves; the second gets the same arguments."""
    parser = argparse.ArgumentParser(
        prog="python3 -m demo",
        description="Run a real Airflow against a fake Cloudflare (or, with CLOUDFLARE_API_TOKEN and "
        "CLOUDFLARE_ACCOUNT_ID set, your own account), land 14 days, and compare every record.",
    )
    parser.add_argument("--keep", action="store_true", help="leave Airflow running at the end, until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="port of Airflow's UI (default: any free one)")
    return parser


def main() -> None:
    """Prepares, then replaces this process by the second half; raises SystemExit if the demo cannot start."""
    arguments().parse_args()
    layout, started = Layout.here(), time.monotonic()
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
    environ = isolated_environ(os.environ) | {PREPARATION: f"{time.monotonic() - started:.1f}"}
    os.execve(layout.python, command, environ)  # noqa: S606 - no shell is wanted


def prepare(layout: Layout) -> None:
    """Creates the environment unless it is current; raises RefusalError."""
    installed = environment.is_current(layout.venv, layout.requirements)
    preflight.refuse(preflight.look(layout.root, installed=installed))
    try:
        environment.main(layout.venv, layout.requirements)
    except CalledProcessError as error:
        raise preflight.RefusalError(
            f"Could not install into {layout.venv}: pip ended with {error.returncode}, see its output above. "
            "Fix that and run `make demo` again."
        ) from error


if __name__ == "__main__":
    main()
