"""One record of each API version: as raw JSON for golden files, and with every documented field as Python values."""

from __future__ import annotations

RECORD_V1 = (
    b'{"id":"f1","when":"2024-03-15T14:32:10.87573Z","interface":"UI","action":{"type":"rec_del","result":true},'
    b'"actor":{"id":"a1","email":"u@example.com","ip":"192.0.2.1","type":"user"},"owner":{"id":"o"},'
    b'"resource":{"id":"107","type":"DNS_record"},"metadata":{"zone_name":"example.com"},"newValue":"null",'
    b'"oldValue":"","oldValueJson":{"content":"a, \\"b\\"","ttl":1}}'
)
RECORD_V2 = (
    b'{"id":"f2","account":{"id":"ac","name":"A, Inc."},"action":{"description":"d","result":"success",'
    b'"time":"2026-11-01T00:00:00Z","type":"create"},"actor":{"context":"dash","email":"u@x"},'
    b'"raw":{"cf_ray_id":"r","method":"POST","status_code":200,"uri":"/x","user_agent":"curl"},'
    b'"resource":{"id":"7","scope":{"zone":1},"type":"t","request":["q"]}}'
)
FIRST_V1 = {
    "id": "a", "when": "2026-11-01T00:00:00.1234567Z", "interface": "UI",
    "action": {"type": "rec_set", "result": True, "info": "by hand"},
    "actor": {"id": "u1", "email": "a@example.com", "ip": "192.0.2.1", "type": "user"}, "owner": {"id": "o1"},
    "resource": {"id": 10715065315, "type": "DNS_record"}, "metadata": {"zone_name": "example.com", "zone_id": "z1"},
    "oldValue": "null", "newValue": "high", "oldValueJson": {"ttl": 1.10},
}  # fmt: skip
FIRST_V2 = {
    "id": "a", "account": {"id": "o1", "name": "Example"},
    "action": {"description": "Update record", "result": "failure", "time": "2026-11-01T00:00:00Z", "type": "update"},
    "actor": {"context": "dash", "email": "a@example.com", "id": "u1", "ip_address": "192.0.2.1", "type": "user",
              "token_id": "t1", "token_name": "deploy"},
    "raw": {"cf_ray_id": "r1", "method": "PATCH", "status_code": 403, "uri": "/zones/z1", "user_agent": "curl"},
    "resource": {"id": "d1", "product": "dns_records", "request": {"ttl": 2}, "response": [1], "scope": "zones",
                 "type": "record"},
    "zone": {"id": "z1", "name": "example.com"},
}  # fmt: skip
