"""Loads Sigma rules from folders of YAML files.

Each rule is converted when it is loaded, and DuckDB checks its SQL, so that a rule that cannot be evaluated is found
before a record is.

Invariant: either every rule of the folders is usable, or one error names all problems and no rule is returned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats.sigma.documents import Document, Problems, documents_in, rule_files
from airflow_audit_provider.formats.sigma.fields import LOCAL_FIELDS, UnusableRuleError, field_sql
from airflow_audit_provider.formats.sigma.matching import objection
from airflow_audit_provider.formats.sigma.rules import Advice, Counted, DetectionRule, EachRecord, FirstSeen, Pattern

if TYPE_CHECKING:
    from sigma.correlations import SigmaCorrelationRule
    from sigma.filters import SigmaFilter
    from sigma.rule import SigmaRule

BUNDLED_RULES = Path(__file__).resolve().parents[2] / "detections" / "rules"
# Part of the version of every rule. It is raised if the same detection comes to mean something else.
_CONVERSION = 1
_LOGSOURCE = {"product": "cloudflare", "service": "audit"}
_LEFT_OUT = frozenset({"deprecated", "unsupported"})
_STATUSES = ("stable", "test", "experimental", *sorted(_LEFT_OUT))
_LEVELS = ("informational", "low", "medium", "high", "critical")
_REQUIRED = ("title", "id", "status", "level")
_FIRST_SEEN = "first_seen"
_LONGEST = timedelta(days=3_660)


def load_rules(folders: Sequence[Path] = (BUNDLED_RULES,), time_zone: str = "UTC") -> tuple[DetectionRule, ...]:
    """Returns the rules of all YAML files in the folders, in the order of their titles.

    Rules with the status ``deprecated`` or ``unsupported`` are left out, and so are rules that only a correlation
    uses. ``time_zone`` is that of the fields ``local_hour`` and ``local_weekday``. Raises ``ConfigurationError`` if any
    rule cannot be used.
    """
    _check_libraries()
    _check_time_zone(time_zone)
    problems = Problems()
    loader = _Loader(time_zone, problems)
    for folder in folders:
        for path in rule_files(Path(folder)):
            for document in documents_in(path, problems):
                loader.add(document)
    problems.raise_if_any()
    rules = loader.rules()
    problems.raise_if_any()
    if not rules:
        raise ConfigurationError(
            f"Every rule in {' and '.join(map(str, folders))} is deprecated, unsupported or a filter, so nothing would "
            "be detected. Set the status of a rule to test or stable, or give another folder."
        )
    return tuple(sorted(rules, key=lambda rule: (rule.title, rule.id)))


@dataclass(frozen=True)
class _Search:
    """A parsed rule that selects records, with what its version is made of."""

    document: Document
    rule: SigmaRule
    where: str
    facts: list[Any]


@dataclass
class _Loader:
    """Parses documents one after the other, then converts the rules."""

    time_zone: str
    problems: Problems
    searches: list[tuple[Document, SigmaRule]] = field(default_factory=list)
    correlations: list[tuple[Document, SigmaCorrelationRule]] = field(default_factory=list)
    filters: list[tuple[Document, SigmaFilter]] = field(default_factory=list)
    owners: dict[str, Document] = field(default_factory=dict)

    def add(self, document: Document) -> None:
        """Parses a document; what is wrong with it is a problem."""
        from sigma.exceptions import SigmaError

        try:
            self._check_head(document)
            self._parse(document)
        except UnusableRuleError as error:
            self.problems.add_to(document, str(error), error.word)
        except (SigmaError, ValueError, TypeError, AttributeError, KeyError) as error:
            self.problems.add_to(document, f"pySigma refuses the rule: {_first_line(error)}", _quoted(error))

    def _check_head(self, document: Document) -> None:
        content = document.content
        if "action" in content:
            raise UnusableRuleError("collections with 'action' are not supported. Write each rule out", "action")
        if "filter" in content:
            return
        missing = [name for name in _REQUIRED if not content.get(name)]
        if missing:
            raise UnusableRuleError(f"the rule has no {' and no '.join(missing)}. Add it{_example(missing)}")
        self._check_id(document, str(content["id"]))
        for name, allowed in (("status", _STATUSES), ("level", _LEVELS)):
            if content[name] not in allowed:
                raise UnusableRuleError(f"{name} is {content[name]!r}. Give one of {', '.join(allowed)}", name)
        logsource = content.get("logsource")
        if "correlation" not in content and logsource != _LOGSOURCE:
            raise UnusableRuleError(
                f"logsource is {logsource}. Rules over this table have product: cloudflare and service: audit",
                "logsource",
            )

    def _check_id(self, document: Document, rule_id: str) -> None:
        try:
            UUID(rule_id)
        except ValueError:
            raise UnusableRuleError(f"the id {rule_id!r} is not a UUID{_example(['id'])}", "id") from None
        owner = self.owners.setdefault(rule_id.lower(), document)
        if owner is not document:
            raise UnusableRuleError(
                f"the id {rule_id} is also that of {owner.path}. Give a changed copy of a rule an id of its own", "id"
            )

    def _parse(self, document: Document) -> None:
        from sigma.correlations import SigmaCorrelationRule
        from sigma.filters import SigmaFilter
        from sigma.rule import SigmaRule

        if "filter" in document.content:
            self.filters.append((document, SigmaFilter.from_dict(document.content)))
        elif document.content["status"] in _LEFT_OUT:
            return
        elif "correlation" in document.content:
            self.correlations.append((document, SigmaCorrelationRule.from_dict(document.content)))
        else:
            self.searches.append((document, SigmaRule.from_dict(document.content)))

    def rules(self) -> list[DetectionRule]:
        """Converts the rules, and checks their SQL."""
        searches = [found for one in self.searches if (found := self._search(*one)) is not None]
        by_name = {name: one for one in searches for name in (str(one.rule.id), one.rule.name) if name}
        used: set[str] = set()
        made = [self._correlated(*one, by_name, used) for one in self.correlations]
        made += [self._single(one) for one in searches if str(one.rule.id) not in used]
        return [rule for rule in made if rule is not None]

    def _search(self, document: Document, rule: SigmaRule) -> _Search | None:
        try:
            filtered, facts = _filtered(rule, self.filters)
            detection = document.content["detection"]
            return _Search(document, filtered, _condition(filtered, self.time_zone), [detection, *facts])
        except UnusableRuleError as error:
            self.problems.add_to(document, str(error), error.word)
        return None

    def _single(self, search: _Search) -> DetectionRule | None:
        try:
            spec = search.document.content.get(_FIRST_SEEN)
            pattern = EachRecord() if spec is None else _first_seen(spec, self.time_zone)
            return self._rule(search.document, search.where, pattern, [*search.facts, spec])
        except UnusableRuleError as error:
            self.problems.add_to(search.document, str(error), error.word)
        return None

    def _correlated(
        self, document: Document, rule: SigmaCorrelationRule, searches: Mapping[str, _Search], used: set[str]
    ) -> DetectionRule | None:
        try:
            found = [_referenced(reference.reference, searches) for reference in rule.rules or ()]
            if not rule.generate:
                used.update(str(search.rule.id) for search in found)
            pattern = _counted(rule, [search.where for search in found], self.time_zone)
            facts = [document.content["correlation"], [search.facts for search in found]]
            return self._rule(document, _any_of([search.where for search in found]), pattern, facts)
        except UnusableRuleError as error:
            self.problems.add_to(document, str(error), error.word)
        return None

    def _rule(self, document: Document, where: str, pattern: Pattern, facts: list[Any]) -> DetectionRule | None:
        content = document.content
        rule = DetectionRule(
            id=str(content["id"]).lower(),
            version=_version(facts, self.time_zone),
            title=str(content["title"]),
            level=content["level"],
            status=content["status"],
            description=str(content.get("description", "")).strip(),
            advice=_advice(content.get("advice", {})),
            tags=_texts(content, "tags"),
            references=_texts(content, "references"),
            false_positives=_texts(content, "falsepositives"),
            path=document.path,
            event_filter=where,
            pattern=pattern,
        )
        refused = objection(rule)
        if refused is not None:
            raise UnusableRuleError(f"DuckDB refuses the rule's SQL: {refused}. Correct the detection", "detection")
        return rule


def _filtered(rule: SigmaRule, filters: Sequence[tuple[Document, SigmaFilter]]) -> tuple[SigmaRule, list[Any]]:
    """Returns the rule with the filters that name it, and what those filters leave out."""
    facts = []
    for document, one in filters:
        before = list(rule.detection.condition)
        rule = cast("SigmaRule", one.apply_on_rule(rule))
        if rule.detection.condition != before:
            facts.append(document.content["filter"])
    return rule, facts


def _condition(rule: SigmaRule, time_zone: str) -> str:
    """Returns the SQL condition of the records that a rule selects."""
    from sigma.conversion.state import ConversionState
    from sigma.exceptions import SigmaError

    from airflow_audit_provider.formats.sigma.duckdb_backend import DuckDbBackend

    backend = DuckDbBackend(time_zone)
    try:
        parsed = [one.parsed for one in rule.detection.parsed_condition]
        return _any_of([str(backend.convert_condition(one, ConversionState())) for one in parsed])
    except (SigmaError, NotImplementedError) as error:
        raise UnusableRuleError(
            f"the detection uses what DuckDB has no SQL for: {_first_line(error)}. Use another modifier", "detection"
        ) from error


def _referenced(name: str, searches: Mapping[str, _Search]) -> _Search:
    if name not in searches:
        raise UnusableRuleError(
            f"the correlation counts the rule {name!r}, which is not a rule of the folders that selects records. "
            "Correct the name or id",
            name,
        )
    return searches[name]


def _counted(rule: SigmaCorrelationRule, searches: Sequence[str], time_zone: str) -> Counted:
    kind = rule.type.name.lower()
    span = _span(rule.timespan.seconds)
    groups = tuple(field_sql(name, time_zone).text for name in rule.group_by or ())
    if rule.aliases.aliases:
        raise UnusableRuleError("aliases are not needed: the table has one name for each field. Remove them", "aliases")
    if kind == "temporal" and not hasattr(rule.condition, "expression"):
        return Counted(tuple(searches), groups, None, len(searches), span)
    if kind not in {"event_count", "value_count"}:
        raise UnusableRuleError(
            f"correlations of type {kind} are not supported, nor are conditions that are texts. Use event_count, "
            "value_count or temporal",
            "type",
        )
    value = field_sql(_only_field(rule.condition), time_zone).text if kind == "value_count" else None
    return Counted((_any_of(searches),), groups, value, _at_least(rule.condition), span)


def _only_field(condition: Any) -> str:
    if not isinstance(condition.fieldref, str):
        raise UnusableRuleError("value_count counts the values of one field. Give one as condition: field", "field")
    return condition.fieldref


def _at_least(condition: Any) -> int:
    operator = condition.op.name.lower()
    if operator not in {"gte", "gt"} or int(condition.count) != condition.count:
        raise UnusableRuleError(
            f"the condition is {operator} {condition.count}. A rule fires while records arrive, so give gte or gt and "
            "a whole number",
            operator,
        )
    least: int = int(condition.count) + (operator == "gt")
    if least < 2:
        raise UnusableRuleError(
            f"the condition is {operator} {condition.count}, which each record fulfils. Give gte: 2 or more, or remove "
            "the correlation",
            operator,
        )
    return least


def _span(seconds: int) -> timedelta:
    """Returns a timespan; every record has an instant two of them before it."""
    span = timedelta(seconds=seconds)
    if span > _LONGEST:
        raise UnusableRuleError(f"the timespan has more than {_LONGEST.days} days. Give a shorter one", "timespan")
    return span


def _first_seen(spec: Any, time_zone: str) -> FirstSeen:
    """Returns the pattern of our extension of Sigma: ``first_seen`` with field, group-by and timespan."""
    from sigma.correlations import SigmaCorrelationTimespan
    from sigma.exceptions import SigmaError

    if not isinstance(spec, dict) or set(spec) - {"group-by"} != {"field", "timespan"}:
        raise UnusableRuleError(
            "first_seen needs field and timespan and may have group-by, for example field: actor_network, group-by: "
            "[actor_id], timespan: 90d",
            _FIRST_SEEN,
        )
    groups = spec.get("group-by", [])
    try:
        seconds = SigmaCorrelationTimespan(str(spec["timespan"])).seconds
    except SigmaError as error:
        raise UnusableRuleError(f"{_first_line(error)}. Give a number and s, m, h, d or w", "timespan") from error
    names = [groups] if isinstance(groups, str) else groups
    return FirstSeen(
        field_sql(str(spec["field"]), time_zone).text,
        tuple(field_sql(str(name), time_zone).text for name in names),
        _span(seconds),
    )


def _advice(content: Any) -> Advice:
    if not isinstance(content, dict) or not set(content) <= set(Advice._fields):
        raise UnusableRuleError(f"advice has other keys than {', '.join(Advice._fields)}. Remove them", "advice")
    return Advice(**{name: " ".join(str(text).split()) for name, text in content.items()})


def _texts(content: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(map(str, content.get(name) or ()))


def _version(facts: Sequence[Any], time_zone: str) -> str:
    """Returns 12 hexadecimal digits that change with what a rule detects."""
    text = json.dumps([_CONVERSION, facts], sort_keys=True, default=str)
    zone = time_zone if any(name in text for name in (*LOCAL_FIELDS, "event_time|")) else ""
    return hashlib.sha256(f"{text}{zone}".encode()).hexdigest()[:12]


def _any_of(conditions: Sequence[str]) -> str:
    return conditions[0] if len(conditions) == 1 else " OR ".join(f"({one})" for one in conditions)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _quoted(error: BaseException) -> str:
    """Returns the first word that an error of pySigma quotes."""
    parts = str(error).split("'")
    return parts[1] if len(parts) > 2 else ""


def _example(names: Sequence[str]) -> str:
    return ", for example from `python -m uuid`" if "id" in names else ""


def _check_time_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise ConfigurationError(
            f"time_zone is {name!r}, which is not a time zone. Give a name such as 'Europe/Zurich'."
        ) from error


def _check_libraries() -> None:
    missing = [name for name in ("sigma", "duckdb", "pyarrow") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"Detection rules need {', '.join(missing)}. Run: pip install 'airflow-audit-provider[detections]'."
        )
