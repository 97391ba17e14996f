// What is done to aggregates as a whole, through the engine: refusals, the audit trail, and what
// the answers show.

import { afterEach, beforeEach, expect, test } from "bun:test";
import type { Actor } from "../../src/model/actor.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

const key = { aggregate_type: "patient", aggregate_id: "p-001" };
const clerk: Actor = {
  group: "ward",
  user: "w",
  grants: ["read", "append"],
  scope: null,
  token_id: null,
};

let dir: TempDir;
let store: TestStore;
beforeEach(async () => {
  dir = tempDir();
  store = await openStore(dir.path);
});
afterEach(async () => {
  await store.close();
  dir[Symbol.dispose]();
});

const append = (payload: string) =>
  store.dbx.appendEvent(root, { ...key, event_type: "seen", payload: canonicalize(payload) });

test("an aggregate without events has no snapshot, an unknown one nothing at all", async () => {
  await store.dbx.createAggregate(root, key);
  await expect(store.dbx.createSnapshot(root, key)).rejects.toMatchObject({
    code: "failed_precondition",
    message: "patient/p-001 has no events yet",
  });
  const unknown = { ...key, aggregate_id: "nobody" };
  const { createSnapshot, archiveAggregate, restoreAggregate, removeAggregate } = store.dbx;
  for (const ask of [createSnapshot, archiveAggregate, restoreAggregate, removeAggregate]) {
    await expect(ask(root, unknown)).rejects.toMatchObject({ code: "not_found", details: unknown });
  }
});

test("an archived aggregate takes neither events nor snapshots until it is restored", async () => {
  await append('{"a":1}');
  expect(await store.dbx.archiveAggregate(root, key)).toMatchObject({ archived: true, version: 1 });
  await expect(append('{"a":2}')).rejects.toMatchObject({ code: "aggregate_archived" });
  await expect(store.dbx.createSnapshot(root, key)).rejects.toMatchObject({
    code: "failed_precondition",
    message: "patient/p-001 is archived; restore it first",
  });
  expect(await store.dbx.restoreAggregate(root, key)).toMatchObject({ archived: false });
  expect(await append('{"a":2}')).toMatchObject({ version: 2 });
});

test("one with events is not removed; one without is, and may be made anew", async () => {
  await store.dbx.createAggregate(root, key);
  expect(await store.dbx.removeAggregate(root, { ...key, comment: "a slip" })).toEqual(key);
  await expect(store.dbx.getAggregate(root, key)).rejects.toMatchObject({ code: "not_found" });
  await append("{}");
  await expect(store.dbx.removeAggregate(root, key)).rejects.toMatchObject({
    code: "failed_precondition",
    message: "aggregate patient/p-001 cannot be removed while events exist",
  });
  expect(await store.dbx.verifyLog(root, {})).toMatchObject({ aggregates: 1, position: 1 });
});

test("the trail tells who, when, what and why of what was done or commented on", async () => {
  await append("{}");
  await store.dbx.createSnapshot(clerk, { ...key, comment: "before" });
  await store.dbx.archiveAggregate(root, { ...key, comment: "after" });
  await store.dbx.archiveAggregate(root, { ...key, comment: "again" });
  await store.dbx.restoreAggregate(root, key);
  await store.dbx.removeAggregate(root, key).catch(() => null);
  const trail = await store.dbx.listAudit(root, {});
  const issued_by = { group: root.group, user: root.user };
  expect(trail).toMatchObject([
    { entry: 1, action: "snapshot", ...key, comment: "before", issued_by: { group: "ward" } },
    { entry: 2, action: "archive", ...key, comment: "after", issued_by },
    { entry: 3, action: "archive", ...key, comment: "again", issued_by },
    { entry: 4, action: "restore", ...key, comment: null, issued_by },
  ]);
  const times = trail.map(({ at }) => at);
  expect(times).toEqual(times.toSorted());
  expect(await store.dbx.listAudit(root, { after: 1, take: 1 })).toEqual(trail.slice(1, 2));
});

test("no answer shows more of an aggregate than reading it would", async () => {
  await store.dbx.createSchema(root, { aggregate: "patient", events: ["seen"] });
  const hide = { aggregate: "patient", hidden_field: { field: "ssn", hidden: true } };
  await store.dbx.changeSchema(root, hide);
  await append('{"ssn":"078","ward":"B"}');
  const state = '{"ward":"B"}';
  expect(await store.dbx.createSnapshot(clerk, key)).toMatchObject({ state });
  expect(await store.dbx.archiveAggregate(root, key)).toMatchObject({ state });
  expect(await store.dbx.restoreAggregate(root, key)).toMatchObject({ state });
  await store.dbx.changeSchema(root, { aggregate: "patient", hidden: true });
  await expect(store.dbx.createSnapshot(clerk, key)).rejects.toMatchObject({ code: "not_found" });
  expect(await store.dbx.archiveAggregate(root, key)).toMatchObject({ archived: true });
});
