// The operation `importEvents`: what it asks of an event, and what a refusal says.

import { describe, expect, test } from "bun:test";
import { call } from "../../src/api/call.ts";
import type { Output } from "../../src/api/operations.ts";
import { grants, type Actor } from "../../src/model/actor.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { foreignEventOf, type ForeignEvent } from "../../src/model/imported.ts";
import { openReading } from "../support/storage.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const key = { aggregate_type: "patient", aggregate_id: "p-001" };
const dek = Buffer.alloc(32, 7).toString("base64");
const peer: Actor = {
  ...{ group: "node", user: "north", grants: ["append"], scope: null, token_id: null },
};

/** Two events of one aggregate and one of another, as a node tells them. */
async function foreign(over: { erase?: boolean } = {}): Promise<ForeignEvent[]> {
  using directory = tempDir();
  const config = { data_encryption_key: dek };
  const origin = await openStore(directory.path, { config });
  const append = (id: string, payload: string, note?: string) =>
    origin.dbx.appendEvent(root, {
      ...{ ...key, aggregate_id: id, event_type: "noted", payload: canonicalize(payload) },
      ...(note === undefined ? {} : { note }),
    });
  await append("p-001", '{"n":18446744073709551617}', "first");
  await append("p-002", "[1]");
  await append("p-001", '{"m":"é"}');
  if (over.erase === true) await origin.dbx.eraseAggregate(root, { ...key, reason: "asked for" });
  await origin.close();
  const storage = await openReading(directory.path, { dek: Buffer.alloc(32, 7) });
  const events = await storage.readLog({ after: 0, limit: 100 });
  await storage.close();
  return events.map(foreignEventOf);
}

async function withNode<Result>(
  use: (node: TestStore) => Promise<Result>,
  over: { sealed?: boolean } = {},
): Promise<Result> {
  using directory = tempDir();
  const config = over.sealed === true ? { data_encryption_key: dek } : {};
  await using node = await openStore(directory.path, { config });
  return await use(node);
}

const take = (
  node: TestStore,
  events: readonly unknown[],
  { actor = peer, ...over }: { actor?: Actor; allow_future?: boolean } = {},
): Promise<Output<"importEvents">> =>
  call(node.dbx, { operation: "importEvents", input: { events, ...over }, actor });

async function refusal(work: Promise<unknown>): Promise<DbxError> {
  const thrown = await work.catch((error: unknown) => error);
  if (thrown instanceof DbxError) return thrown;
  throw new Error(`refused: ${String(thrown)}`);
}

describe("events of another node", () => {
  test("keep everything but their position, are followed live, and are said to be imported", async () => {
    const events = await foreign();
    await withNode(async (node) => {
      await node.dbx.appendEvent(root, {
        ...{ ...key, aggregate_id: "own", event_type: "noted", payload: canonicalize("{}") },
      });
      const seen: number[] = [];
      const until = new AbortController();
      const following = (async () => {
        for await (const { records } of node.live.followLog(
          () => root,
          { after: 1 },
          until.signal,
        )) {
          seen.push(...records.map(({ position }) => position));
          if (seen.length === 3) until.abort();
        }
      })();
      expect(await take(node, events)).toEqual({ imported: 3, known: 0, position: 4 });
      await following;
      expect(seen).toEqual([2, 3, 4]);
      const records = await node.dbx.readLog(root, { after: 1 });
      expect(records.map(({ position: _position, ...rest }) => rest)).toEqual(
        events.map(({ salt: _s, content_digest: _c, ...rest }) => rest),
      );
      expect(await node.dbx.getAggregate(root, key)).toMatchObject({
        state: '{"m":"é","n":"18446744073709551617"}',
        version: 2,
      });
      expect(await node.dbx.verifyLog(root, {})).toMatchObject({ position: 4, aggregates: 3 });
      const [entry] = await node.dbx.listAudit(root, { action: "events.import" });
      expect(entry).toMatchObject({
        issued_by: { group: "node", user: "north" },
        details: '{"aggregates":2,"events":3}',
      });
    });
  });

  test("come again without harm, alone or among new ones", async () => {
    const events = await foreign();
    await withNode(async (node) => {
      await take(node, events.slice(0, 2));
      expect(await take(node, events.slice(0, 2))).toEqual({ imported: 0, known: 2, position: 2 });
      expect(await take(node, events)).toEqual({ imported: 1, known: 2, position: 3 });
    });
  });

  test("are charged to nobody, and go by the schema of nobody", async () => {
    const events = await foreign();
    await withNode(async (node) => {
      await node.dbx.createSchema(root, { aggregate: "patient", events: ["other"] });
      const { token } = await node.dbx.issueToken(root, { group: "node", user: "n", limit: 0 });
      const actor = node.authenticate(token);
      expect(await take(node, events, { actor })).toMatchObject({ imported: 3 });
    });
  });

  test("with a body that was erased come with what erased it, where it can be erased here", async () => {
    const events = await foreign({ erase: true });
    expect(events.map(({ salt }) => salt === undefined)).toEqual([true, false, true, false]);
    await withNode(async (node) => {
      const plain = await refusal(take(node, events));
      expect(plain.message).toContain("give it a key with dbx config --dek");
    });
    await withNode(
      async (node) => {
        const alone = await refusal(take(node, events.slice(0, 3)));
        expect(alone.details).toMatchObject({ version: 1, reason: "unproven" });
        expect(await take(node, events)).toMatchObject({ imported: 4 });
        expect(await node.dbx.verifyAggregate(root, key)).toMatchObject({ version: 3, erased: 2 });
      },
      { sealed: true },
    );
  });

  test("that are erased elsewhere lose their bodies here, too", async () => {
    const before = await foreign();
    await withNode(
      async (node) => {
        await take(node, before);
        using directory = tempDir();
        const again = await openStore(directory.path, { config: { data_encryption_key: dek } });
        await call(again.dbx, {
          ...{ operation: "importEvents", input: { events: before }, actor: root },
        });
        await again.dbx.eraseAggregate(root, { ...key, reason: "r" });
        await again.close();
        const storage = await openReading(directory.path, { dek: Buffer.alloc(32, 7) });
        const events = (await storage.readLog({ after: 0, limit: 9 })).map(foreignEventOf);
        await storage.close();
        expect(await take(node, events)).toMatchObject({ imported: 1, known: 3 });
        const records = await node.dbx.listEvents(root, key);
        expect(records.map(({ payload }) => payload)).toEqual([
          ...["null", "null", '{"reason":"r","through":2}'],
        ] as string[] as (typeof records)[number]["payload"][]);
      },
      { sealed: true },
    );
  });
});

describe("refused, with nothing taken over:", () => {
  const cases: readonly (readonly [string, object, (events: ForeignEvent[]) => unknown[]])[] = [
    [
      "a gap",
      { code: "failed_precondition", details: { reason: "gap", current_version: 0 } },
      (e) => e.slice(2),
    ],
    [
      "no salt",
      { code: "invalid_argument", details: { index: 1 } },
      (e) => e.map(({ salt, ...rest }, index) => (index === 1 ? rest : { ...rest, salt })),
    ],
    [
      "no digest",
      { code: "invalid_argument" },
      (e) => e.map(({ content_digest: _digest, ...rest }) => rest),
    ],
    [
      "another payload",
      { details: { reason: "unproven", index: 0 } },
      (e) => e.map((one) => ({ ...one, payload: canonicalize('{"n":18446744073709551616}') })),
    ],
    [
      "an unknown type of dbx's own",
      { details: { event_type: "$other", index: 0 } },
      (e) => e.map((one) => ({ ...one, event_type: "$other" })),
    ],
    [
      "an id in upper case",
      { details: { path: "/events/0/metadata/event_id" } },
      (e) =>
        e.map((one) => ({
          ...one,
          metadata: { ...one.metadata, event_id: one.metadata.event_id.toUpperCase() },
        })),
    ],
    [
      "a time without six digits",
      { code: "invalid_argument" },
      (e) =>
        e.map((one) => ({
          ...one,
          metadata: { ...one.metadata, created_at: "2024-12-01T00:00:00Z" },
        })),
    ],
    [
      "a position of the origin's",
      { code: "invalid_argument" },
      (e) => e.map((one) => ({ ...one, position: 1 })),
    ],
    ["nothing", { code: "invalid_argument" }, () => []],
  ];
  test.each(cases)("%s", async (_what, wanted, change) => {
    const events = change(await foreign());
    await withNode(async (node) => {
      expect(await refusal(take(node, events))).toMatchObject(wanted);
      expect(await node.dbx.readLog(root, {})).toEqual([]);
    });
  });

  test("a fork, from the version on that differs", async () => {
    const events = await foreign();
    await withNode(async (node) => {
      await take(node, events.slice(0, 1));
      await node.dbx.appendEvent(root, { ...key, event_type: "own", payload: canonicalize("{}") });
      const error = await refusal(take(node, events));
      expect(error.details).toMatchObject({ ...key, version: 2, reason: "fork", index: 2 });
      expect(await node.dbx.readLog(root, {})).toHaveLength(2);
    });
  });

  test("times more than a day ahead, unless that is asked for", async () => {
    using directory = tempDir();
    const system = { now: () => "2031-01-01T00:00:00.000000Z" };
    const origin = await openStore(directory.path, { system });
    await origin.dbx.appendEvent(root, { ...key, event_type: "late", payload: canonicalize("1") });
    await origin.close();
    const storage = await openReading(directory.path);
    const events = (await storage.readLog({ after: 0, limit: 9 })).map(foreignEventOf);
    await storage.close();
    await withNode(async (node) => {
      expect((await refusal(take(node, events))).details).toMatchObject({ reason: "future" });
      expect(await take(node, events, { allow_future: true })).toMatchObject({ imported: 1 });
    });
  });

  test("into an aggregate that is archived, and by whoever may not", async () => {
    const events = await foreign();
    await withNode(async (node) => {
      await take(node, events.slice(0, 2));
      await node.dbx.archiveAggregate(root, key);
      expect((await refusal(take(node, events))).code).toBe("aggregate_archived");
      const scope = [{ aggregate_type: "ward" }];
      const outside = refusal(take(node, events, { actor: { ...peer, scope } }));
      expect((await outside).code).toBe("permission_denied");
      const reader: Actor = { ...peer, grants: grants.filter((grant) => grant === "read") };
      expect((await refusal(take(node, events, { actor: reader }))).code).toBe("permission_denied");
    });
  });
});
