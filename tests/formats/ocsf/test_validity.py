"""Events of any record, in every release of OCSF, are valid by OCSF's own definition of that release."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.formats.ocsf.classes import CLASSES, RELEASES
from airflow_audit_provider.formats.ocsf.mapping import PROFILES
from tests.formats.ocsf import ocsf_validation
from tests.formats.ocsf.any_records import raws
from tests.formats.ocsf.ocsf_validation import VERSIONS, definition, violations
from tests.formats.odd_records import odd_records, records_of
from tests.formats.rows_of import fake_records, json_rows
from tests.hypothesis_profiles import examples

SCHEMAS = pytest.mark.parametrize("schema", list(RELEASES))


@SCHEMAS
@pytest.mark.parametrize("version", list(ApiVersion))
@examples(60)
@given(drawn=st.data())
def test_event_of_any_record_is_valid(version: ApiVersion, schema: str, drawn: st.DataObject) -> None:
    """No combination of unknown actions, resources, people and values makes an event that OCSF refuses."""
    for event in json_rows(schema, version, records_of(version, *drawn.draw(raws(version)))):
        assert violations(event, VERSIONS[schema]) == []


@pytest.mark.integration
@SCHEMAS
@pytest.mark.parametrize("version", list(ApiVersion))
def test_every_record_is_a_valid_event_in_every_release(version: ApiVersion, schema: str) -> None:
    """Plain and odd records are valid by the schema of their class, one by one."""
    records = [*fake_records(version, 400), *odd_records(version)]
    events = json_rows(schema, version, records)
    assert len(events) == len(records)
    assert {event["class_uid"] for event in events} == RELEASES[schema].classes - {3005}
    for event, record in zip(events, records, strict=True):
        found = violations(event, VERSIONS[schema])
        # Older releases limit the length of every text; a longer one stays whole.
        is_long = len(event["raw_data"]) > 65_535 and schema != "ocsf"
        assert is_long == bool(found), record.raw[:300]
        assert all(one.endswith("is too long") for one in found), record.raw[:300]
        assert (event["metadata"]["uid"], event["raw_data"].encode()) == (record.id, record.raw)


@SCHEMAS
def test_numbers_of_a_release_equal_its_definition(schema: str) -> None:
    """Names, categories and activities of the classes are those of OCSF's definition of the release."""
    release = RELEASES[schema]
    assert (release.version, list(PROFILES)) == (VERSIONS[schema], ocsf_validation.PROFILES)
    by_uid = {one["uid"]: one for one in definition(release.version)["classes"].values()}
    for event_class in CLASSES:
        if event_class.uid not in release.classes:
            continue
        defined = by_uid[event_class.uid]
        assert (defined["caption"], defined["category_name"]) == (event_class.name, event_class.category_name)
        activities = {int(uid): one["caption"] for uid, one in defined["attributes"]["activity_id"]["enum"].items()}
        lacking = {uid for class_uid, uid in release.lacks_activities if class_uid == event_class.uid}
        assert lacking.isdisjoint(activities)
        assert {
            uid: name for uid, name in event_class.activities.items() if uid not in lacking
        }.items() <= activities.items()
        assert set(event_class.senses.values()) <= event_class.activities.keys()
