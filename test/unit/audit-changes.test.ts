// Changes of tokens, schemas, aggregates, staged events and keys are in the audit trail: who, what,
// never a value; and what was refused is not.
import { expect, test } from "bun:test";
import { operations, type OperationName } from "../../src/api/operations.ts";
import type { Actor } from "../../src/model/actor.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { limits } from "../../src/model/limits.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const jane: Actor = {
  ...{ group: "admin", user: "jane", grants: ["read", "append", "admin"] },
  ...{ scope: null, token_id: null },
};

test("each change of a token or a schema has one entry, and a refused one has none", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const { dbx } = store;
  const aggregates = [{ aggregate_type: "a" }];
  const { token, id } = await dbx.issueToken(jane, {
    ...{ group: "app", user: "web", grants: ["read"], aggregates, limit: 3 },
  });
  await dbx.refreshToken(jane, { token, expiration_secs: 60 });
  await dbx.revokeToken(jane, { token: id });
  await dbx.createSchema(jane, { aggregate: "a", events: ["x", "y"] });
  await dbx.changeSchema(jane, { aggregate: "a", locked: true });
  await dbx.changeSchema(jane, { aggregate: "a", locked: false });
  await dbx.removeSchemaEvent(jane, { aggregate: "a", event: "y" });

  const wrong = [
    () => dbx.issueToken(jane, { group: "cli", user: "x" }),
    () => dbx.issueToken(jane, { group: "app", user: "x", grants: ["admin"] }),
    () => dbx.revokeToken(jane, { token: id }),
    () => dbx.refreshToken(jane, { token: "0123456789abcdef", limit: 1 }),
    () => dbx.createSchema(jane, { aggregate: "a", events: ["x"] }),
    () => dbx.changeSchema(jane, { aggregate: "b", locked: true }),
    () => dbx.removeSchemaEvent(jane, { aggregate: "a", event: "x" }),
  ];
  for (const work of wrong) expect(await refused(work())).toBe(true);

  const trail = await dbx.listAudit(jane, {});
  const told = { limit: 3, span_secs: null };
  const plain = trail.map(({ action, subject, details }) => {
    const { schemas, ...rest } = JSON.parse(details) ?? {};
    expect(schemas ?? "none").toMatch(action.startsWith("schema.") ? /^[0-9a-f]{64}$/ : /^none$/);
    return [action, subject, canonicalOf(details === "null" ? null : rest)];
  });
  expect(plain).toEqual([
    ["token.issue", id, canonicalOf({ ...told, grants: ["read"], aggregates })],
    ["token.refresh", id, canonicalOf({ span_secs: 60, limit: null })],
    ["token.revoke", id, canonicalOf(null)],
    ["schema.create", "a", canonicalOf({ events: ["x", "y"] })],
    ["schema.change", "a", canonicalOf({ changed: ["locked"] })],
    ["schema.change", "a", canonicalOf({ changed: ["locked"] })],
    ["schema.change", "a", canonicalOf({ removed_event: "y" })],
  ]);
  expect(trail.map(({ entry }) => entry)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  for (const { issued_by, aggregate_type } of trail) {
    expect([issued_by, aggregate_type]).toEqual([{ group: "admin", user: "jane" }, null]);
  }
  expect(JSON.stringify(trail)).not.toContain(token);
  expect((await dbx.verifyLog(jane, {})).position).toBe(0);
});

test("an aggregate that is made has an entry, and one that an append makes has none", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const key = { aggregate_type: "a", aggregate_id: "1" };
  await store.dbx.createAggregate(jane, key);
  await store.dbx.createAggregate(jane, key).catch(() => undefined);
  await store.dbx.appendEvent(jane, noted("2"));

  expect(await store.dbx.listAudit(jane, {})).toMatchObject([
    { action: "create", ...key, subject: null, issued_by: { group: "admin", user: "jane" } },
  ]);
});

test("what is taken out of the queue of staged events has an entry before it is gone", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const { dbx } = store;
  const many = limits.audit_ids_max + 1;
  const ids: string[] = [];
  for (let n = 0; n <= many; n++) {
    ids.push((await dbx.stageEvent(jane, noted(`${n}`))).event_id);
  }
  const [first = ""] = ids;
  await dbx.discardStaged(jane, { event_id: first });
  expect(await refused(dbx.discardStaged(jane, { event_id: first }))).toBe(true);
  await dbx.discardStaged(jane, { all: true });
  await dbx.discardStaged(jane, { all: true });

  const trail = await dbx.listAudit(jane, {});
  expect(trail.map(({ action, subject, details }) => [action, subject, details])).toEqual([
    ["staged.discard", null, canonicalOf({ events: 1, event_ids: [first] })],
    ["staged.discard", null, canonicalOf({ events: many, event_ids: ids.slice(1, -1) })],
  ]);
});

test("a store that is put under a key tells it, and when everything is sealed", async () => {
  using fresh = tempDir();
  using used = tempDir();
  const config = { data_encryption_key: Buffer.alloc(32, 7).toString("base64") };
  const told = async (store: TestStore) =>
    (await store.dbx.listAudit(root, { action: "key" })).map(({ action, issued_by, details }) => [
      ...[action, issued_by?.user, JSON.parse(details).sealing],
    ]);
  for (let opening = 0; opening < 2; opening++) {
    await using store = await openStore(fresh.path, { config });
    expect(await told(store)).toEqual([["key.encrypt", "cli:test", "all"]]);
  }

  {
    await using plain = await openStore(used.path);
    await plain.dbx.appendEvent(jane, noted("1"));
    await plain.dbx.createSnapshot(jane, { aggregate_type: "a", aggregate_id: "1" });
    expect(await told(plain)).toEqual([]);
  }
  const begun = ["key.encrypt", "cli:test", "partly"];
  {
    await using store = await openStore(used.path, { config });
    expect(await told(store)).toEqual([begun]);
  }
  await using store = await openStore(used.path, { config });
  await store.sealOlder(() => undefined);
  await store.sealOlder(() => undefined);
  expect(await told(store)).toEqual([begun, ["key.encrypt", "cli:test", "all"]]);
  expect((await store.dbx.listAudit(root, {})).map(({ entry }) => entry)).toEqual([1, 2, 3]);
  expect((await store.dbx.verifyLog(root, {})).position).toBe(1);
});

const noted = (aggregate_id: string) => ({
  ...{ aggregate_type: "a", aggregate_id, event_type: "noted" },
  payload: canonicalOf({ n: 1 }),
});

const refused = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => false,
    () => true,
  );

test("every command is an append, in the audit trail, or says here why not", () => {
  const appends = ["appendEvent", "appendEvents", "commitStaged"];
  const audited = [
    ...[
      "createAggregate",
      "discardStaged",
      "createSnapshot",
      "archiveAggregate",
      "restoreAggregate",
      "removeAggregate",
    ],
    ...["eraseAggregate", "createSchema", "changeSchema", "removeSchemaEvent", "applySchemas"],
    "importEvents",
    ...["putPlugin", "enablePlugin", "disablePlugin", "removePlugin", "replayPlugin"],
    ...["clearQueue", "retryQueue"],
    ...["issueToken", "revokeToken", "refreshToken", "rotateKey", "reloadConfig"],
    ...["putRemote", "removeRemote"],
  ];
  const why: Readonly<Record<string, string>> = {
    testPlugins: "a sample that says nothing of the store changes nothing",
    stageEvent: "what is staged is no fact yet, and keeps who staged it",
  };
  const commands = (Object.keys(operations) as OperationName[]).filter(
    (name) => operations[name].kind === "command",
  );
  expect([...appends, ...audited, ...Object.keys(why)].sort()).toEqual([...commands].sort());
});
