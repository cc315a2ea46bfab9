"""Command of the campaign: ``python -m tests.campaign [--seed N] [--write] [WINDOW ...]``.

Without windows it runs all of them and prints what came of them; ``--write`` puts the figures on the page. A window is
``LIE/VERSION/NUMBER/MODE``. The exit code is 1 if something must not be.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from tests.campaign.campaign import Campaign, Cell, Report, cells, is_failure, run_cell
from tests.campaign.http_host import running_host
from tests.campaign.page import PAGE, with_figures
from tests.campaign.windows import DEFAULT_SEED, Outcome, Result, WindowName, run_window


def main() -> int:
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser("python -m tests.campaign", description=__doc__)
    parser.add_argument("windows", nargs="*", type=WindowName.parse, metavar="WINDOW")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--only", help="run the cells whose name, as in LIE/VERSION/MODE, contains this")
    parser.add_argument("--count", type=int, help="windows of each cell")
    parser.add_argument("--write", action="store_true", help="write the figures into the documentation")
    arguments = parser.parse_args()
    with running_host() as host:
        if arguments.windows:
            results = [run_window(name, host, arguments.seed) for name in arguments.windows]
            print(*(line for result in results for line in described(result, arguments.seed)), sep="\n")
            return int(any(is_failure(result, arguments.seed) for result in results))
        campaign = Campaign(arguments.seed)
        for cell in cells():
            if arguments.only is None or arguments.only in "/".join(cell):
                started = time.perf_counter()
                run_cell(campaign, cell, host, _print_failure(arguments.seed), arguments.count)
                _print_cell(campaign, cell, time.perf_counter() - started)
    print(f"{campaign.window_count} windows, {campaign.killed_count} of them killed and resumed.")
    print(
        f"Errors on the honest server: {campaign.honest_share(Outcome.LOUD):.1%}. Failures: {len(campaign.failures)}."
    )
    if arguments.write:
        PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8"), campaign), encoding="utf-8")
        print(f"Wrote {PAGE.name}")
    return int(not campaign.is_passed)


def described(result: Result, seed: int) -> Iterator[str]:
    """Yields what came of a window, and how to run it again."""
    yield f"{result.name.text}: {result.outcome}, {result.request_count} requests for {result.page_count} pages"
    if result.difference is not None and not result.difference.is_exact:
        yield f"  {result.difference}; exact after the next run: {result.is_fixed_by_next_run}"
    if result.error:
        yield f"  {result.error}"
    yield from (f"  not allowed by the API: {violation}" for violation in result.violations[:3])
    yield f"  again: python -m tests.campaign --seed {seed} {result.name.text}"


def _print_failure(seed: int) -> Report:
    def report(result: Result) -> None:
        if is_failure(result, seed):
            print(*described(result, seed), sep="\n", flush=True)

    return report


def _print_cell(campaign: Campaign, cell: Cell, seconds: float) -> None:
    tally = campaign.tallies.get(cell)
    print(f"{'/'.join(cell)}: {tally or 'no effect'}  ({seconds:.1f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
