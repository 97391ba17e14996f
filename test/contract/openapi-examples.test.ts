// The examples of the OpenAPI document are what dbx answers: each request is made, in an order in
// which they succeed, of a store whose clock and randomness stand still.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { decode } from "../../src/api/decode.ts";
import { call } from "../../src/api/call.ts";
import { toWire } from "../../src/api/errors.ts";
import { fromJson, toJson } from "../../src/api/json.ts";
import { bodyExamples, recordExamples } from "../../src/api/openapi/examples.ts";
import { operations, type OperationName } from "../../src/api/operations.ts";
import { grantsOf } from "../../src/model/actor.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { openStore, type TestStore } from "../support/store.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let place: TempDir;
let store: TestStore;
beforeAll(async () => {
  place = tempDir();
  let ids = 0;
  store = await openStore(place.path, {
    system: {
      now: () => "2024-12-01T17:22:43.512345Z",
      uuid: () => `01938350-7f38-7000-8000-${(++ids).toString(16).padStart(12, "0")}`,
      random: (bytes) =>
        new Bun.CryptoHasher("sha256").update("example").digest().subarray(0, bytes),
    },
  });
});
afterAll(async () => {
  await store.close();
  place[Symbol.dispose]();
});

const actor = {
  group: "admin",
  user: "desk-1",
  grants: grantsOf("admin"),
  scope: null,
  token_id: null,
};
const patient = { aggregate_type: "patient", aggregate_id: "p-001" };

/** The example of an operation's body and what else its path names; out: the answer as JSON. */
async function ask(operation: OperationName, path: object = {}): Promise<unknown> {
  const schema = operations[operation];
  const body = canonicalize(JSON.stringify({ ...Object(bodyExamples[operation]), ...path }));
  const input = fromJson(schema.input, body);
  return JSON.parse(toJson(schema.output, await call(store.dbx, { operation, input, actor })));
}

test("every request succeeds, and every record is what comes back", async () => {
  const record = await ask("appendEvent");
  const refusal = ask("appendEvent", { event_id: "45c3013e-9b95-4ed0-9af9-1a465f81d3d0" });
  const refused: unknown = await refusal.then(() => undefined, toWire);
  const aggregate = await ask("getAggregate", patient);
  const snapshot = await ask("createSnapshot", patient);
  const schema = await ask("createSchema");
  const staged = await ask("stageEvent");
  await ask("validateEvent", { aggregate: "patient" });
  await ask("discardStaged");
  await ask("changeSchema", { aggregate: "patient" });
  await ask("applySchemas");
  await ask("appendEvents");
  await ask("archiveAggregate", patient);
  await ask("restoreAggregate", patient);
  const empty = { aggregate_type: "patient", aggregate_id: "p-002" };
  await ask("createAggregate");
  await ask("removeAggregate", empty);
  const audit = { name: "audit" };
  await ask("putPlugin", audit);
  await ask("replayPlugin", audit);
  await ask("retryQueue");
  await ask("clearQueue");
  await ask("listPositions");
  await ask("rootsAt");
  await ask("readForeign");
  const trail = await ask("listAudit");
  const issued = await ask("issueToken");
  const tokens = await ask("listTokens");
  await ask("refreshToken", { token: Object(tokens)[0].id });

  expect<object>(recordExamples).toEqual({
    EventRecord: record,
    Aggregate: aggregate,
    Snapshot: snapshot,
    StagedEvent: staged,
    Schema: schema,
    AuditEntry: Object(trail)[0],
    IssuedToken: issued,
    Token: Object(tokens)[0],
    Error: refused,
  });
});

test("no body of an example is left out above", async () => {
  const source = await Bun.file(import.meta.path).text();
  const missing = Object.keys(bodyExamples).filter((name) => !source.includes(`ask("${name}"`));
  // Where nothing is encrypted and there is no configuration file, as here, these are refused
  // whatever they say.
  const refused = ["eraseAggregate", "putRemote", "rotateKey"] as const;
  expect(missing).toEqual([...refused]);
  for (const name of refused) {
    const paths = { eraseAggregate: patient, putRemote: { name: "eu" }, rotateKey: {} };
    const path = paths[name];
    const input = { ...Object(bodyExamples[name]), ...path };
    expect(decode(operations[name].input, input)).toEqual(input);
  }
});
