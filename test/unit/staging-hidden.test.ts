// What schemas hide in the queue: from the list, from the answers of those who change it, and from
// their refusals. Who may see everything sees it; what is appended is always the whole.

import { expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { decode } from "../../src/api/decode.ts";
import type { Dbx } from "../../src/api/dbx.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { EventRecord } from "../../src/model/event.ts";
import { StagedEvent } from "../../src/model/staged.ts";
import { noted, refusalOf } from "../support/staged.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const nurse = { ...root, group: "nurse", user: "joe", grants: ["read", "append"] as const };
const payload = canonicalize('{"name":"Jo","ssn":"1"}');
const shown = canonicalize('{"name":"Jo"}');
const event_id = "00000000-0000-4000-8000-000000000001";
const secret = noted("s-1", { payload, aggregate_type: "secret", note: "why", event_id });

/** One type hides a member, another everything. */
async function hide(dbx: Dbx): Promise<void> {
  for (const aggregate of ["patient", "secret"]) {
    await dbx.createSchema(root, { aggregate, events: ["noted"] });
  }
  const hidden_field = { field: "ssn", hidden: true };
  await dbx.changeSchema(root, { aggregate: "patient", hidden_field });
  await dbx.changeSchema(root, { aggregate: "secret", hidden: true });
}

/** Nothing that says which event it is, of what type, by whom, or what it leads to. */
const unseen = {
  aggregate_type: "$hidden",
  aggregate_id: "$hidden",
  event_type: "$hidden",
  payload: canonicalize("null"),
};
const nil = "00000000-0000-0000-0000-000000000000";
const zeros = "0".repeat(64);

test("whoever lists sees the visible ones, and admins all", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const { dbx } = store;
  await hide(dbx);
  const staged = [await dbx.stageEvent(root, noted("p-1", { payload }))];
  staged.push(await dbx.stageEvent(root, secret));
  expect(await dbx.listStaged(root, {})).toEqual(staged);
  expect(await dbx.listStaged(nurse, {})).toMatchObject([{ aggregate_id: "p-1", payload: shown }]);
});

test("whoever commits is told of every event, but of a hidden one only that it was there", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const { dbx } = store;
  await hide(dbx);
  await dbx.stageEvent(root, noted("p-1", { payload }));
  await dbx.stageEvent(root, secret);
  const records = await dbx.commitStaged(nurse, {});
  const [whole] = await dbx.readLog(root, { take: 1, include_hidden: true });
  const { created_at = "" } = whole?.metadata ?? {};
  const metadata = { event_id: nil, created_at, issued_by: null };
  const unhashed = { version: 1, hash: zeros, merkle_root: zeros };
  expect(records).toEqual([
    { ...whole, payload: shown } as EventRecord,
    { ...unseen, metadata, ...unhashed, position: 2 },
  ]);
  expect(decode(Type.Array(EventRecord), records)).toEqual(records);
  const log = await dbx.readLog(root, { include_hidden: true });
  expect(log).toMatchObject([{ payload }, { payload, metadata: { event_id, note: "why" } }]);
});

test("whoever discards is told of every event in the same way", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const { dbx } = store;
  await hide(dbx);
  const first = await dbx.stageEvent(root, noted("p-1", { payload, note: "n" }));
  await dbx.stageEvent(root, secret);
  const discarded = await dbx.discardStaged(nurse, { all: true });
  const rest = { note: null, event_id: nil, issued_by: null, staged_at: null };
  expect(discarded).toEqual([
    { ...first, payload: shown },
    { ...unseen, ...rest, expected_version: "any" },
  ]);
  expect(decode(Type.Array(StagedEvent), discarded)).toEqual(discarded);
});

test("a refused commit names a hidden event by its index alone, and to admins by its name", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const { dbx } = store;
  await hide(dbx);
  await dbx.stageEvent(root, noted("p-1", { payload }));
  await dbx.stageEvent(root, { ...secret, expected_version: 0 });
  await dbx.appendEvent(root, { ...secret, event_id: nil });
  const refusal = await refusalOf(dbx.commitStaged(nurse, {}));
  expect(refusal).toMatchObject({
    code: "version_conflict",
    message: "staged event 1 is refused (version_conflict)",
    details: { index: 1 },
  });
  expect(Object.keys(refusal.details)).toEqual(["index"]);
  expect(refusal.cause).toBeUndefined();
  const told = await refusalOf(dbx.commitStaged(root, {}));
  expect(told.message).toContain("secret/s-1 is at version 1, expected 0");
});
