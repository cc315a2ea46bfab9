"""The second half of the demo, in the installed environment: from a fresh Airflow to the verdict and the pictures.

Invariant: everything started is stopped before it ends, also on an error or a signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from datetime import date, datetime, timedelta
from fcntl import LOCK_EX, LOCK_NB, flock
from shutil import rmtree

from airflow_audit_provider._airflow.destinations import PAGE_PREFIX, dataset_id
from airflow_audit_provider.adapters.clock import SystemClock
from demo import inspection, narration, pictures, scenes
from demo.__main__ import PREPARATION, arguments
from demo.account import named_account
from demo.audit import AuditFailedError
from demo.backfill import BackfillFailedError
from demo.layout import Layout
from demo.narration import Narrator
from demo.preflight import RefusalError
from demo.scenes import DAILY, DAY_COUNT, HISTORY, Cast
from demo.verdict import Verdict
from harness import chromium
from harness.airflow_environment import Ports, airflow_environ
from harness.airflow_instance import AirflowInstance, CommandFailedError, TooLateError
from harness.child_processes import ChildDiedError, Children, free_ports, is_free
from harness.cloudflare_account import CloudflareAccount, start_fake
from harness.http_json import NoResponseError
from harness.log_files import tail

FAKE_PATIENCE = timedelta(minutes=5)
# A real account may respond with 429, and then blocks all requests for five minutes.
REAL_PATIENCE = timedelta(minutes=45)
# Just after midnight, yesterday may not be settled yet; the demo then ends one day earlier.
SETTLED_AFTER = timedelta(hours=1)
EQUAL, DIFFERENT, REFUSED, BROKEN, INTERRUPTED = 0, 1, 2, 3, 130


def main() -> int:
    """Runs the demo and returns its exit code."""
    options = arguments().parse_args()
    narrator = Narrator(narration.make_console(columns=os.environ.get("COLUMNS", "")))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    narrator.stages["environment"] = float(os.environ.pop(PREPARATION, "0"))
    layout = Layout.here()
    if not _clear(layout):
        return _end(narrator, f"A demo is running in {layout.root}: stop it, or wait until it ends.", REFUSED)
    with Children(layout.logs) as children:
        try:
            cast = _gather(layout, children, narrator, options.port)
            well = _run(cast)
            narrator.print_stages()
            if options.keep:
                _keep(cast)
            code = EQUAL if well else DIFFERENT
        except KeyboardInterrupt:
            narrator.console.print("\nStopping what was started …")
            code = INTERRUPTED
        except RefusalError as refusal:
            code = _end(narrator, str(refusal), REFUSED)
        except (ChildDiedError, CommandFailedError) as died:
            code = _end(narrator, f"{died}; the end of {died.child.log} says:\n{tail(died.child.log)}", BROKEN)
        except (TooLateError, TimeoutError, NoResponseError, BackfillFailedError, AuditFailedError) as failure:
            code = _end(narrator, f"{failure}\nThe logs are in {layout.logs}.", BROKEN)
    return code


def _clear(layout: Layout) -> bool:
    """Removes what an earlier run left; returns false if another demo runs in this folder."""
    layout.root.mkdir(exist_ok=True)
    try:
        # The open descriptor holds the lock until this program ends, however it ends.
        flock(os.open(layout.root / "lock", os.O_RDWR | os.O_CREAT, 0o644), LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    for old_folder in (layout.landed, layout.tampered, layout.pictures):
        rmtree(old_folder, ignore_errors=True)
    layout.logs.mkdir(parents=True, exist_ok=True)
    for old in layout.logs.glob("*.log"):
        old.unlink()
    return True


def _gather(layout: Layout, children: Children, narrator: Narrator, port: int) -> Cast:
    if port and not is_free(port):
        raise RefusalError(f"Port {port} is taken: give another with --port, or none to have a free one chosen.")
    account = _account(layout, children, narrator)
    api, worker_log, trigger_log = free_ports(3)
    ports = Ports(port or api, worker_log, trigger_log)
    now = SystemClock().now()
    first_free_day = (now + timedelta(days=2)).date().isoformat()
    environ = airflow_environ(os.environ, layout, ports, account.connection(), first_free_day) | own_settings(layout)
    instance = AirflowInstance(layout, children, environ, f"http://127.0.0.1:{ports.api}")
    patience = FAKE_PATIENCE if account.truth_url else REAL_PATIENCE
    return Cast(narrator, layout, instance, account, complete_days(now), patience)


def _account(layout: Layout, children: Children, narrator: Narrator) -> CloudflareAccount:
    account = named_account(os.environ)
    if account is not None:
        narrator.title(f"Cloudflare account {account.account_id}, read through the connection cloudflare_default")
        return account
    narrator.title("A fake Cloudflare and a fresh Airflow 3.3.2")
    with narrator.step("The fake Cloudflare runs on loopback, with the real one's irregularities"):
        return start_fake(children, layout, os.environ)


def complete_days(now: datetime) -> list[date]:
    """Returns the last complete and settled UTC days, oldest first."""
    today = (now - SETTLED_AFTER).date()
    return [today - timedelta(days=back) for back in range(DAY_COUNT, 0, -1)]


def own_settings(layout: Layout) -> dict[str, str]:
    """Returns the variables that only the demo sets: its own DAG, and the datasets of the coverage page."""
    folders = {"examples": layout.dags, "demo": layout.own_dags}
    bundle = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": name, "classpath": bundle, "kwargs": {"path": str(folder), "refresh_interval": 5}}
        for name, folder in folders.items()
    ]
    datasets = {layout.landed / "jsonl": DAILY, layout.landed / "parquet": HISTORY, layout.tampered: DAILY}
    shown = [{"destination": folder.as_uri(), "dag_id": dag_id} for folder, dag_id in datasets.items()]
    return {
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "AIRFLOW__CLOUDFLARE_AUDIT_LOGS__COVERAGE_DESTINATIONS": json.dumps(shown),
    }


def _run(cast: Cast) -> bool:
    narrator = cast.narrator
    with narrator.stage("start of Airflow"):
        scenes.bring_up(cast)
    narrator.title(f"Backfill: {cast.days[0]} to {cast.days[-1]} without {cast.gap}, as JSONL and as Parquet")
    with narrator.stage("backfill"):
        scenes.run_backfills(cast)
    with narrator.stage("runs again"):
        unchanged = scenes.run_again(cast)
        if cast.account.truth_url:
            scenes.add_late_record(cast)
    narrator.title("What landed")
    with narrator.stage("comparison and queries"):
        windows = scenes.all_windows(cast.layout)
        verdict = scenes.compare(cast, windows)
        scenes.show(cast, windows, verdict)
    with narrator.stage("audit"):
        as_made = _inspect(cast)
    with narrator.stage("pictures"):
        _take_pictures(cast)
    return _conclude(cast, verdict, unchanged=unchanged, as_made=as_made)


def _inspect(cast: Cast) -> bool:
    """Shows the gap, the late record and the tampered copy; returns whether each was found."""
    cast.narrator.title("What the provider's commands find: one gap, one late record, one tampered copy")
    found = [inspection.show_gap(cast), inspection.show_tampering(cast)]
    if cast.account.truth_url:
        found.append(inspection.show_late_record(cast))
    return all(found)


def _take_pictures(cast: Cast) -> None:
    """Takes the screenshots, or prints why there are none; nothing depends on them."""
    cast.narrator.title("Pictures")
    if chromium.find_browser() is None:
        cast.narrator.console.print("  none: there is no Chromium on the PATH (on Debian `apt install chromium`)")
        return
    try:
        with cast.narrator.step("Airflow's pages in Chromium"):
            taken = pictures.take_pictures(cast)
    except pictures.NoPictureError as error:
        cast.narrator.console.print(f"  {error}", markup=False, soft_wrap=True)
        return
    for path in taken:
        cast.narrator.console.print(f"    {path}", soft_wrap=True)


def _conclude(cast: Cast, verdict: Verdict, *, unchanged: bool, as_made: bool) -> bool:
    """Prints what was seen and where to look; returns whether all of it is as it must be."""
    well = scenes.conclude(cast, verdict, unchanged=unchanged)
    say, marks = cast.narrator.console.print, cast.narrator
    if as_made:
        seen = (
            "one gap, one late record and one tampered copy"
            if cast.account.truth_url
            else "one gap and one tampered copy"
        )
        say(f"[green]{marks.done_mark}[/green] Made on purpose and found: {seen}.", soft_wrap=True)
    else:
        say(f"  [red]{marks.failed_mark}[/red] The commands did not find exactly what was done on purpose.")
    say(f"Everything is below {cast.layout.root}. `make demo KEEP=1` leaves Airflow running.", soft_wrap=True)
    return well and as_made


def _keep(cast: Cast) -> None:
    say = cast.narrator.console.print
    base_url, uri = cast.instance.base_url, (cast.layout.landed / "jsonl").as_uri()
    say(f"\nAirflow stays up at {base_url} (no log-in). Ctrl-C stops it.", soft_wrap=True)
    say(
        f"The calendar, where the button Start fills the gap: {base_url}{PAGE_PREFIX}/d/{dataset_id(uri)}",
        soft_wrap=True,
    )
    if not cast.narrator.console.is_terminal:
        pids = " ".join(str(child.popen.pid) for child in cast.instance.children.started)
        say(f"Without a terminal: `kill {os.getpid()}` stops all of it (its children: {pids}).", soft_wrap=True)
    # Ctrl-C is the way out that was offered, so it does not change the exit code.
    with suppress(KeyboardInterrupt):
        while True:
            cast.instance.children.check()
            time.sleep(1.0)
    say("Stopping what was started …")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _end(narrator: Narrator, text: str, code: int) -> int:
    narrator.console.print(f"\n{narrator.failed_mark} {text}", markup=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
