"""Writes a report as one HTML file, or as a PDF file by the Chromium of the machine.

The style is inside the file; there is no script, and nothing is fetched.

Invariant: equal reports have equal bytes of HTML, and a file appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from airflow_audit_provider._airflow.html_templates import templates_of
from airflow_audit_provider._airflow.report.document import Document
from airflow_audit_provider.exceptions import ConfigurationError

_PACKAGE = "airflow_audit_provider._airflow.report"
_STYLES = (
    ("airflow_audit_provider._airflow.coverage_page", "static/page.css"),
    (_PACKAGE, "templates/document.css"),
)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = ("--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-extensions")
_PRINTING_SECONDS = 180
_ERROR_CHARACTERS = 300


def render(document: Document) -> bytes:
    """Returns a report as HTML; a browser runs and fetches nothing of it, whatever its texts are."""
    style = "".join(files(package).joinpath(name).read_text(encoding="utf-8") for package, name in _STYLES)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    template = templates_of(_PACKAGE).get_template("document.html")
    return template.render(document=document, style=style, policy=policy).encode()


def write_report(path: Path, document: Document) -> int:
    """Writes a report; the end of the name decides the form. Returns the size in bytes.

    Raises ``ConfigurationError`` if the file cannot be written, or if there is no browser that prints a PDF.
    """
    content = render(document)
    if path.suffix.lower() == ".pdf":
        content = _printed(content)
    try:
        with _replaced(path) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(
            f"The report cannot be written to {path} ({error}). Name a file in a folder that exists and is writable."
        ) from error
    return len(content)


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Yields the path of an unfinished file that replaces the file when the block ends well."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _printed(content: bytes) -> bytes:
    """Returns an HTML file as PDF."""
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise ConfigurationError(
            "A report as PDF is printed by Chromium or Chrome, and neither is on the PATH. Install chromium, or write "
            "a file that ends in .html and print it to PDF in any browser."
        )
    with TemporaryDirectory(prefix="audit-log-report-") as folder:
        page, printed = Path(folder, "report.html"), Path(folder, "report.pdf")
        page.write_bytes(content)
        # Chromium refuses to run as root with its sandbox; the page has no script, and fetches nothing.
        root = ("--no-sandbox",) if os.geteuid() == 0 else ()
        profile = f"--user-data-dir={folder}/profile"
        command = [browser, *_OPTIONS, *root, profile, "--no-pdf-header-footer", f"--print-to-pdf={printed}"]
        reason = _run([*command, page.as_uri()])
        if not printed.is_file():
            raise ConfigurationError(
                f"{browser} has printed no PDF ({reason}). Write a file that ends in .html, and print it to PDF in any "
                "browser."
            )
        return printed.read_bytes()


def _run(command: list[str]) -> str:
    """Runs the browser; returns why it has failed, or how it has ended."""
    try:
        ended = subprocess.run(  # noqa: S603 - the command is a browser of the PATH and files that this module made
            command, capture_output=True, timeout=_PRINTING_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    said = ended.stderr.decode(errors="replace").strip()[-_ERROR_CHARACTERS:]
    return f"exit status {ended.returncode}{f': {said}' if said else ''}"
