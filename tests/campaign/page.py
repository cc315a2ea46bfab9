"""The page of the documentation that has the campaign's figures, and how they are written into it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.campaign.campaign import Campaign, Cell, Tally, justification
from tests.campaign.lies import HONEST, LIES
from tests.campaign.lying_server import SCOPES
from tests.campaign.windows import MODES, Outcome

PAGE = Path(__file__).resolve().parents[2] / "docs" / "auditors" / "lying-servers.md"
_BLOCK = re.compile(r"(<!-- campaign: (?P<name>[\w-]+) -->\n).*?(<!-- end of campaign -->)", re.DOTALL)
_WIDTH = 120
_MODE_NAMES = {"plain": "without", "recount": "`recount`", "edges": "`edges`"}


def with_figures(text: str, campaign: Campaign) -> str:
    """Returns the page with the campaign's figures in it."""
    blocks = {"honest": honest_block, "lies": lies_block}
    return _BLOCK.sub(lambda found: f"{found[1]}\n{blocks[found['name']](campaign)}\n\n{found[3]}", text)


def honest_block(campaign: Campaign) -> str:
    """Returns the table of the honest server, and every error on it with its reason."""
    rows = ["| version | `verify` | windows | killed and resumed | exact | error | different |", "|" + "---|" * 7]
    for cell, tally in campaign.tallies.items():
        if cell.lie == HONEST:
            exact, loud, silent = (tally.outcomes[kind] for kind in (Outcome.EXACT, Outcome.LOUD, Outcome.SILENT))
            cells = (cell.version, _MODE_NAMES[cell.mode], tally.window_count, tally.killed_count, exact, loud, silent)
            rows.append(f"| {' | '.join(map(str, cells))} |")
    share = campaign.honest_share(Outcome.LOUD)
    total = (
        f"The whole campaign, with correct and with wrong answers, has {campaign.window_count} windows. "
        f"{campaign.killed_count} of these windows were killed and resumed. The seed is {campaign.seed}. With correct "
        f"answers, {share:.1%} of the windows end in an error:"
    )
    rows += ["", *textwrap.wrap(total, _WIDTH), "", *_honest_errors(campaign)]
    return "\n".join(rows)


def _honest_errors(campaign: Campaign) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for result in campaign.honest_errors:
        reasons.setdefault(justification(result, campaign.seed) or f"not justified: {result.error}", []).append(
            result.name.text
        )
    for reason, names in reasons.items():
        yield f"- {', '.join(f'`{name}`' for name in names)}: {reason}."
    if not reasons:
        yield "- none."


def lies_block(campaign: Campaign) -> str:
    """Returns the table of the lying server."""
    head = ["lie", "what the server does", "version", *(_MODE_NAMES[mode] for mode in MODES)]
    rows = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for lie, kind in LIES.items():
        for index, version in enumerate(kind.versions):
            words = (f"`{lie}`", kind.meaning) if index == 0 else ("", "")
            figures = [str(campaign.tallies.get(Cell(lie, version, mode), Tally())) for mode in MODES]
            rows.append(f"| {' | '.join([*words, version, *figures])} |")
    return "\n".join(rows)


def figures_on_page(text: str) -> dict[Cell, str]:
    """Returns the figures of the lying server that a page has."""
    found: dict[Cell, str] = {}
    lie = ""
    for line in text.splitlines():
        words = [word.strip() for word in line.strip("|").split("|")]
        if len(words) != 3 + len(MODES) or words[2] not in SCOPES:
            continue
        lie = words[0].strip("`") or lie
        found.update({Cell(lie, words[2], mode): words[3 + index] for index, mode in enumerate(MODES)})
    return found
