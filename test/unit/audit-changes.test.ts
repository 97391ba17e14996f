// Changes of tokens and schemas are in the audit trail: who, what, never a value; and what was
// refused is not.
import { expect, test } from "bun:test";
import { operations, type OperationName } from "../../src/api/operations.ts";
import type { Actor } from "../../src/model/actor.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { openStore } from "../support/store.ts";
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

  const refused = [
    () => dbx.issueToken(jane, { group: "cli", user: "x" }),
    () => dbx.issueToken(jane, { group: "app", user: "x", grants: ["admin"] }),
    () => dbx.revokeToken(jane, { token: id }),
    () => dbx.refreshToken(jane, { token: "0123456789abcdef", limit: 1 }),
    () => dbx.createSchema(jane, { aggregate: "a", events: ["x"] }),
    () => dbx.changeSchema(jane, { aggregate: "b", locked: true }),
    () => dbx.removeSchemaEvent(jane, { aggregate: "a", event: "x" }),
  ];
  for (const work of refused) {
    expect(
      await work().then(
        () => "done",
        () => "refused",
      ),
    ).toBe("refused");
  }

  const trail = await dbx.listAudit(jane, {});
  const told = { limit: 3, span_secs: null };
  expect(trail.map(({ action, subject, details }) => [action, subject, details])).toEqual([
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

test("every command is an append, in the audit trail, or says here why not", () => {
  const appends = ["appendEvent", "appendEvents", "commitStaged"];
  const audited = [
    ...["createSnapshot", "archiveAggregate", "restoreAggregate", "removeAggregate"],
    ...["eraseAggregate", "createSchema", "changeSchema", "removeSchemaEvent"],
    ...["issueToken", "revokeToken", "refreshToken", "rotateKey", "reloadConfig"],
  ];
  const why: Readonly<Record<string, string>> = {
    createAggregate: "an aggregate without events is a name; removing it is audited",
    stageEvent: "what is staged is no fact yet, and keeps who staged it",
    discardStaged: "likewise",
  };
  const commands = (Object.keys(operations) as OperationName[]).filter(
    (name) => operations[name].kind === "command",
  );
  expect([...appends, ...audited, ...Object.keys(why)].sort()).toEqual([...commands].sort());
});
