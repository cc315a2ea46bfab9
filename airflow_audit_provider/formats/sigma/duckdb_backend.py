"""pySigma backend that turns the condition of a rule into a boolean expression of DuckDB's SQL.

Why not the backend on PyPI: docs/adr/0026-sigma-rules.md.

Invariant: a comparison with null is never true, and what a rule negates is true if the field is null, as Sigma
requires. Text is compared without regard to case unless the rule says ``|cased``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sigma.conversion.base import TextQueryBackend
from sigma.types import (
    SigmaBool,
    SigmaCompareExpression,
    SigmaFieldReference,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from airflow_audit_provider.formats.sigma.fields import FieldSql, Kind, UnusableRuleError, field_sql, literal

_OPERATORS = {
    SigmaCompareExpression.CompareOperators.LT: "<",
    SigmaCompareExpression.CompareOperators.LTE: "<=",
    SigmaCompareExpression.CompareOperators.GT: ">",
    SigmaCompareExpression.CompareOperators.GTE: ">=",
}
_FLAGS = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}
_ANY, _ONE = SpecialChars.WILDCARD_MULTI, SpecialChars.WILDCARD_SINGLE
_ESCAPE = "\\"


class DuckDbBackend(TextQueryBackend):
    """Converts conditions; ``time_zone`` is the one of the fields of local time.

    The base class walks the condition and calls a method of this class for each comparison.
    """

    name: ClassVar[str] = "DuckDB over the normalized table"
    formats: ClassVar[dict[str, str]] = {"default": "boolean expression"}

    def __init__(self, time_zone: str) -> None:
        super().__init__()
        self._time_zone = time_zone

    def _field(self, cond: Any) -> FieldSql:
        return field_sql(cond.field, self._time_zone)

    def convert_condition_or(self, cond: Any, state: Any) -> str:
        """Returns the alternatives."""
        return f"({' OR '.join(str(self.convert_condition(one, state)) for one in cond.args)})"

    def convert_condition_and(self, cond: Any, state: Any) -> str:
        """Returns the conditions that must all hold."""
        return f"({' AND '.join(str(self.convert_condition(one, state)) for one in cond.args)})"

    def convert_condition_not(self, cond: Any, state: Any) -> str:
        """Returns the negation, which is true where the comparison is null."""
        return f"(({self.convert_condition(cond.args[0], state)}) IS NOT TRUE)"

    def convert_condition_field_eq_val_str(self, cond: Any, _state: Any) -> str:
        """Returns the comparison with a text without regard to case."""
        return _text_comparison(self._field(cond).text, cond.value)

    def convert_condition_field_eq_val_str_case_sensitive(self, cond: Any, _state: Any) -> str:
        """Returns the comparison with a text, case included."""
        return _text_comparison(self._field(cond).text, cond.value, folds_case=False)

    def convert_condition_field_eq_val_num(self, cond: Any, _state: Any) -> str:
        """Returns the comparison with a number."""
        return f"{self._field(cond).number} = {_number(cond.value, cond.field)}"

    def convert_condition_field_eq_val_bool(self, cond: Any, _state: Any) -> str:
        """Returns the comparison with true or false, which JSON gives as text."""
        field, value = self._field(cond), "true" if cond.value.boolean else "false"
        return f"{field.sql} = {value}" if field.kind is Kind.BOOLEAN else f"lower({field.text}) = '{value}'"

    def convert_condition_field_eq_val_cidr(self, cond: Any, _state: Any) -> str:
        """Returns whether an address is in a network; the base class does not put its alternatives in parentheses."""
        field = self._field(cond).text
        inside = [_text_comparison(field, SigmaString(pattern)) for pattern in cond.value.expand()]
        return f"({' OR '.join(inside)})"

    def convert_condition_field_eq_val_re(self, cond: Any, _state: Any) -> str:
        """Returns the search for a regular expression, in RE2's syntax."""
        value: SigmaRegularExpression = cond.value
        flags = "".join(_FLAGS[flag] for flag in value.flags) or "c"
        return f"regexp_matches({self._field(cond).text}, {literal(str(value.regexp))}, '{flags}')"

    def convert_condition_field_compare_op_val(self, cond: Any, _state: Any) -> str:
        """Returns a comparison by size; of a time's part, with the part in the time zone of the rules."""
        value: SigmaCompareExpression = cond.value
        if isinstance(value.number, SigmaTimestampPart):
            return f"{self._part(cond, value.number)} {_OPERATORS[value.op]} {value.number.number}"
        return f"{self._field(cond).number} {_OPERATORS[value.op]} {_number(value.number, cond.field)}"

    def convert_condition_field_eq_val_timestamp_part(self, cond: Any, _state: Any) -> str:
        """Returns the comparison with a part of a time."""
        return f"{self._part(cond, cond.value)} = {cond.value.number}"

    def _part(self, cond: Any, value: SigmaTimestampPart) -> str:
        field = self._field(cond)
        if field.kind is not Kind.TIMESTAMP:
            raise UnusableRuleError(f"the field {cond.field!r} is not a time. Use event_time", cond.field)
        part = value.timestamp_part.name.lower()
        return f"date_part('{part}', {field.sql} AT TIME ZONE {literal(self._time_zone)})"

    def convert_condition_field_eq_field(self, cond: Any, _state: Any) -> str:
        """Returns the comparison of two fields without regard to case; neither may be null."""
        reference: SigmaFieldReference = cond.value
        fields = (self._field(cond), field_sql(reference.field, self._time_zone))
        one, other = (f"lower({field.text})" for field in fields)
        if reference.starts_with and reference.ends_with:
            return f"contains({one}, {other})"
        if reference.starts_with:
            return f"starts_with({one}, {other})"
        return f"suffix({one}, {other})" if reference.ends_with else f"{one} = {other}"

    def convert_condition_field_eq_val_null(self, cond: Any, _state: Any) -> str:
        """Returns whether the field is null."""
        return f"{self._field(cond).sql} IS NULL"

    def convert_condition_field_exists(self, cond: Any, _state: Any) -> str:
        """Returns whether the field has a value."""
        return f"{self._field(cond).sql} IS NOT NULL"

    def convert_condition_field_not_exists(self, cond: Any, _state: Any) -> str:
        """Returns whether the field has no value."""
        return f"{self._field(cond).sql} IS NULL"

    def convert_condition_val_str(self, cond: Any, _state: Any) -> str:
        """Returns the search for a text in the whole record."""
        return _text_comparison(field_sql("raw", self._time_zone).text, SigmaString(f"*{cond.value.original}*"))

    def convert_condition_val_num(self, cond: Any, _state: Any) -> str:
        """Returns the search for a number in the whole record, as text."""
        return f"contains({field_sql('raw', self._time_zone).text}, {literal(str(cond.value))})"

    def convert_condition_val_re(self, cond: Any, _state: Any) -> str:
        """Returns the search for a regular expression in the whole record."""
        return f"regexp_matches({field_sql('raw', self._time_zone).text}, {literal(str(cond.value.regexp))})"


def _number(value: SigmaNumber | Any, field: str) -> str:
    number = value.number if isinstance(value, SigmaNumber) else value
    if isinstance(number, SigmaBool) or not isinstance(number, int | float):
        raise UnusableRuleError(f"the field {field!r} is compared with {number}, which is not a number", field)
    return str(number)


def _text_comparison(field: str, value: SigmaString, *, folds_case: bool = True) -> str:
    """Returns the comparison of a field with a text that may have wildcards."""
    parts = list(value.s)
    fixed = [part for part in parts if isinstance(part, str)]
    if value.contains_placeholder():
        raise UnusableRuleError("the placeholder of |expand has no value here. Write the values out", value.original)
    if len(fixed) > 1 or _ONE in parts:
        like = "ILIKE" if folds_case else "LIKE"
        return f"{field} {like} {literal(''.join(map(_pattern, parts)))} ESCAPE '{_ESCAPE}'"
    if not fixed:
        return f"{field} IS NOT NULL" if parts else f"{field} = ''"
    text = literal(fixed[0])
    left, right = (f"lower({field})", f"lower({text})") if folds_case else (field, text)
    match (parts[0] is _ANY, parts[-1] is _ANY):
        case (True, True):
            return f"contains({left}, {right})"
        case (True, False):
            return f"suffix({left}, {right})"
        case (False, True):
            return f"starts_with({left}, {right})"
    return f"{left} = {right}"


def _pattern(part: Any) -> str:
    if isinstance(part, SpecialChars):
        return "%" if part is _ANY else "_"
    return "".join(_ESCAPE + character if character in "%_\\" else character for character in part)
