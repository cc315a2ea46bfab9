"""Names each failed test while the run goes on; pytest itself shows failures when all tests have ended.

The live runs of ``tools/tests`` write their output to a file, and ``--failures-fd`` names the descriptor of the
terminal for them.
"""

from __future__ import annotations

import os

import pytest

_LONGEST_MESSAGE = 300


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    text = "write the line of a failed test to this file descriptor, and not to the output of pytest"
    parser.addoption("--failures-fd", type=int, help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the hooks, except in the processes of pytest-xdist, whose reports the main process gets."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config), "failures-at-once")


class FailuresAtOnce:
    """Writes one line for each failure, and for each file that cannot be collected."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Writes the line of a failed test, or of a set-up or tear-down that failed."""
        if report.failed:
            self._write(line_of(report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Writes the line of a file that cannot be imported."""
        if report.failed:
            self._write(line_of(report))

    def _write(self, line: str) -> None:
        descriptor = self._config.getoption("failures_fd")
        if descriptor is not None:
            os.write(descriptor, f"{line}\n".encode())
            return
        if self._config.pluginmanager.has_plugin("terminalreporter"):
            writer = self._config.get_terminal_writer()
            if writer.width_of_current_line:
                writer.line()
            writer.line(line, red=True)
            writer.flush()


def line_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Returns the id of a failed test and the first line of its error, shortened."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash is not None else str(report.longrepr)
    first = next((line.strip() for line in message.splitlines() if line.strip()), "no message")
    where = "" if report.when == "call" else f" ({report.when})"
    return f"FAILED {report.nodeid}{where}: {first[:_LONGEST_MESSAGE]}"
