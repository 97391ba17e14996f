// Requests and records as OpenAPI shows them. They are real: a test makes these requests of a store
// whose clock and randomness stand still, and compares what it gets.

import type { OperationName } from "../operations.ts";

const event = {
  event_id: "45c3013e-9b95-4ed0-9af9-1a465f81d3cf",
  aggregate_type: "patient",
  aggregate_id: "p-001",
  event_type: "patient-added",
  payload: { name: "Jane Doe", ward: 7 },
  note: "by phone",
  expected_version: "no_stream",
} as const;

/** Bodies of requests. */
export const bodyExamples: Readonly<Partial<Record<OperationName, unknown>>> = {
  appendEvent: event,
  appendEvents: {
    events: [
      {
        aggregate_type: "account",
        aggregate_id: "a-1",
        event_type: "amount-debited",
        payload: { amount: 0.1, to: "a-2" },
      },
      {
        aggregate_type: "account",
        aggregate_id: "a-2",
        event_type: "amount-credited",
        payload: { amount: 0.1, from: "a-1" },
        expected_version: "no_stream",
      },
    ],
  },
  createAggregate: { aggregate_type: "patient", aggregate_id: "p-002" },
  createSnapshot: { comment: "before the audit" },
  archiveAggregate: { comment: "discharged" },
  restoreAggregate: { comment: "readmitted" },
  eraseAggregate: { reason: "request 17 of 3 May" },
  removeAggregate: { comment: "made by mistake" },
  stageEvent: {
    aggregate_type: "patient",
    aggregate_id: "p-001",
    event_type: "patient-updated",
    payload: { ward: 9 },
  },
  discardStaged: { all: true },
  createSchema: { aggregate: "patient", events: ["patient-added", "patient-updated"] },
  changeSchema: {
    columns: { ward: { type: "integer", range: { min: "1", max: "40" } } },
    hidden_field: { field: "insurance_no", hidden: true },
  },
  validateEvent: { event: "patient-updated", payload: { ward: 9 } },
  issueToken: { group: "app", user: "web-1", expiration_secs: 86_400, limit: 1_000 },
  refreshToken: { limit: 5_000 },
  putPlugin: { config: { type: "log", level: "info", template: "{aggregate} {id} {event}" } },
  replayPlugin: { aggregate_type: "patient", aggregate_id: "p-001" },
  applySchemas: { schemas: [], remove: [] },
  listPositions: { take: 100 },
  rootsAt: { of: [{ aggregate_type: "patient", aggregate_id: "p-001", version: 1 }] },
  readForeign: { aggregate_type: "patient", aggregate_id: "p-001", after: 0, take: 100 },
  putRemote: {
    endpoint: "tcp://10.0.0.7:6363",
    public_key: "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    allow: ["read"],
  },
  retryQueue: { plugin: "audit" },
  clearQueue: { plugin: "audit" },
  rotateKey: { data_encryption_key: "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=" },
};

const at = "2024-12-01T17:22:43.512345Z";
const root = "308371a95a3a6a50bf21bd1c6cf1a894d875a6e359357eb95c2577859c436d1d";
const key = { aggregate_type: "patient", aggregate_id: "p-001" } as const;
const issued_by = { group: "admin", user: "desk-1" } as const;
const state = { name: "Jane Doe", ward: "7" } as const;
const token = {
  id: "6f7ea7b802feff53",
  prefix: "EVT-50d858e0",
  group: "app",
  user: "web-1",
  status: "active",
  issued_at: at,
  expires_at: "2024-12-02T17:22:43.512345Z",
  limit: 1_000,
  remaining_writes: 1_000,
  keep_alive: false,
  grants: ["read", "append"],
  aggregates: null,
} as const;

/** Records, by the names of their schemas. */
export const recordExamples: Readonly<Record<string, unknown>> = {
  EventRecord: {
    ...key,
    event_type: event.event_type,
    payload: event.payload,
    metadata: { event_id: event.event_id, created_at: at, issued_by, note: event.note },
    version: 1,
    hash: root,
    merkle_root: root,
    position: 1,
  },
  Aggregate: { ...key, version: 1, state, merkle_root: root, archived: false },
  Snapshot: {
    ...key,
    version: 1,
    state,
    merkle_root: root,
    created_at: at,
    comment: "before the audit",
  },
  StagedEvent: {
    ...key,
    event_type: "patient-updated",
    payload: { ward: 9 },
    note: null,
    event_id: "01938350-7f38-7000-8000-000000000001",
    expected_version: "any",
    issued_by,
    staged_at: at,
  },
  Schema: {
    aggregate: "patient",
    snapshot_threshold: null,
    locked: false,
    field_locks: [],
    hidden: false,
    hidden_fields: [],
    column_types: {},
    events: { "patient-added": { fields: [] }, "patient-updated": { fields: [] } },
    created_at: at,
    updated_at: at,
  },
  AuditEntry: {
    ...{ entry: 1, at, issued_by, action: "snapshot", ...key },
    ...{ subject: null, details: null, comment: "before the audit" },
  },
  IssuedToken: {
    token: "EVT-50d858e0985ecc7f60418aaf0cc5ab587f42c2570a884095a9e8ccacd0f6545c",
    ...token,
  },
  Token: token,
  Error: {
    message: "patient/p-001 is at version 1, expected no_stream",
    code: "version_conflict",
    details: { ...key, expected: "no_stream", actual: 1 },
  },
};
