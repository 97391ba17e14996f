// What schemas hide is shown to nobody: in no list, state, event, cursor or error, and no condition
// finds it out. Whoever may administer, sees all if he asks for it.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { call } from "../../src/api/call.ts";
import { operations, type OperationName } from "../../src/api/operations.ts";
import type { Actor } from "../../src/model/actor.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { runs, runs_ms_max } from "../support/json-texts.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const reader: Actor = {
  group: "app",
  user: "jane",
  grants: ["read", "append"],
  scope: null,
  token_id: null,
};

/** Stands in everything that is hidden, and nowhere else. */
const secret = "s3cret";

async function hide(store: TestStore, type: string, fields: readonly string[] | "all") {
  const { dbx } = store;
  await dbx.createSchema(root, { aggregate: type, events: ["e"] });
  if (fields === "all") await dbx.changeSchema(root, { aggregate: type, hidden: true });
  for (const field of fields === "all" ? [] : fields)
    await dbx.changeSchema(root, { aggregate: type, hidden_field: { field, hidden: true } });
}

const append = (store: TestStore, type: string, aggregate_id: string, payload: unknown) =>
  store.dbx.appendEvent(reader, {
    ...{ aggregate_type: type, aggregate_id, event_type: "e" },
    payload: canonicalOf(payload),
  });

/** What the reader is answered, refusals included. */
const answer = (store: TestStore, operation: OperationName, input: unknown): Promise<unknown> =>
  call(store.dbx, { operation, input, actor: reader }).catch((error: unknown) => {
    if (error instanceof DbxError) return { ...error, message: error.message };
    throw error;
  });

interface Appended {
  readonly type: "open" | "partly" | "hidden";
  readonly id: string;
  readonly payload: unknown;
}

const inner = fc.constantFrom<unknown>(1, "x", null, true, ["y"], { z: 1 });
const hiddenFields = ["ssn", "_value", 'odd "key"'];
const payloadOf = (type: Appended["type"]): fc.Arbitrary<unknown> => {
  if (type === "hidden") return fc.constant({ a: secret, ssn: secret });
  const shown = fc.dictionary(fc.constantFrom("a", "b", "ssnx"), inner);
  if (type === "open") return shown;
  const whole = fc.constantFrom<unknown>(secret, [secret], { ssn: [secret] });
  const fields = fc
    .subarray(["ssn", 'odd "key"'])
    .map((names) => Object.fromEntries(names.map((name) => [name, { deep: [secret] }])));
  const mixed = fc.tuple(shown, fields).map(([open, closed]) => ({ ...open, ...closed }));
  return fc.oneof({ weight: 4, arbitrary: mixed }, whole);
};
const histories = fc.array(
  fc
    .tuple(fc.constantFrom("open" as const, "partly" as const, "hidden" as const), fc.nat(9))
    .chain(([type, n]) => payloadOf(type).map((payload) => ({ type, id: `i${n}`, payload }))),
  { minLength: 1, maxLength: 30 },
);

/** Everything that may be asked of what a history leaves. */
function questions(
  history: readonly Appended[],
  at: readonly string[],
): [OperationName, unknown][] {
  const asked: [OperationName, unknown][] = [
    ["listAggregates", {}],
    ["listAggregates", { archived: false, take: 2, skip: 1 }],
    ["listAggregates", { filter: `ssn = "${secret}" OR a = "${secret}"` }],
    ["listAggregates", { filter: "EXISTS ssn OR EXISTS _value OR NOT ssn = 'x'" }],
    ["exportAggregates", {}],
    ["readLog", {}],
    ["readLog", { after: 2, take: 3 }],
    ...at.map((instant): [OperationName, unknown] => ["listAggregates", { at: instant }]),
    ...at.map((instant): [OperationName, unknown] => ["exportAggregates", { at: instant }]),
  ];
  for (const { type, id } of history) {
    const key = { aggregate_type: type, aggregate_id: id };
    asked.push(
      ["listAggregates", { type }],
      ["getAggregate", key],
      ["getAggregate", { ...key, version: 1 }],
      ["getAggregate", { ...key, version: 99 }],
      ...at.map((instant): [OperationName, unknown] => ["getAggregate", { ...key, at: instant }]),
      ["listEvents", key],
      ["listEvents", { ...key, skip: 1 }],
      ["verifyAggregate", key],
    );
  }
  return asked;
}

test(
  "nothing hidden is in any answer to somebody who is no admin, and pages stay full",
  () =>
    fc.assert(
      fc.asyncProperty(histories, async (history) => {
        using dir = tempDir();
        let micros = 100_000;
        const system = { now: () => `2024-12-01T00:00:00.${++micros}Z` };
        await using store = await openStore(dir.path, { system });
        await hide(store, "hidden", "all");
        await hide(store, "partly", hiddenFields);
        const records = [];
        for (const { type, id, payload } of history)
          records.push(await append(store, type, id, payload));
        const times = records.map(({ metadata }) => metadata.created_at);
        const at = times.filter((_, index) => index % 7 === 0);
        for (const [operation, input] of questions(history, at)) {
          const text = JSON.stringify(await answer(store, operation, input));
          expect({ operation, input, text: text.includes(secret) ? text : "" }).toEqual({
            ...{ operation, input, text: "" },
          });
          // Of a hidden type nothing is told but that it is not there.
          const { aggregate_type = "" } = Object(input);
          if (aggregate_type !== "hidden") expect(text).not.toContain('"hidden"');
          else expect(text).toContain('"message":"aggregate not found"');
        }
        const seen = records.filter(({ aggregate_type }) => aggregate_type !== "hidden");
        for (const take of [1, 3, 100]) {
          for (let after = 0, rest = seen.map(({ position }) => position); ;) {
            const page = await store.dbx.readLog(reader, { after, take });
            const positions = page.map(({ position }) => position);
            expect(positions).toEqual(rest.splice(0, take));
            if (positions.length === 0) break;
            after = positions.at(-1) ?? 0;
          }
          const keys = seen.map((record) => `${record.aggregate_type}/${record.aggregate_id}`);
          const rest = [...new Set(keys)].sort();
          for (let cursor: string | null = "", first = true; cursor !== null; first = false) {
            const page: Awaited<ReturnType<typeof store.dbx.listAggregates>> =
              await store.dbx.listAggregates(reader, { take, ...(first ? {} : { cursor }) });
            expect(
              page.aggregates.map((one) => `${one.aggregate_type}/${one.aggregate_id}`),
            ).toEqual(rest.splice(0, take));
            expect(page.next_cursor === null).toBe(rest.length === 0);
            cursor = page.next_cursor;
          }
        }
      }),
      runs(25),
    ),
  runs_ms_max,
);

describe("a hidden aggregate", () => {
  test("cannot be told from one that never was", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    await hide(store, "hidden", "all");
    await append(store, "hidden", "there", { a: 1 });
    const asked: [OperationName, object][] = [
      ["getAggregate", {}],
      ["getAggregate", { version: 0 }],
      ["getAggregate", { version: 2 }],
      ["getAggregate", { at: "1970-01-01T00:00:00Z" }],
      ["getAggregate", { at: "2970-01-01T00:00:00Z" }],
      ["listEvents", {}],
      ["listEvents", { take: 0 }],
      ["verifyAggregate", {}],
    ];
    for (const [operation, input] of asked) {
      const [there, never] = await Promise.all(
        ["there", "never"].map((aggregate_id) =>
          answer(store, operation, { aggregate_type: "hidden", aggregate_id, ...input }),
        ),
      );
      expect(there).toMatchObject({ code: "not_found", message: "aggregate not found" });
      const text = JSON.stringify(there).replaceAll("there", "never");
      expect(text).toBe(JSON.stringify(never));
    }
  });

  test("takes events, whose answers are whole, and verifies with all others", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    await hide(store, "hidden", "all");
    await hide(store, "partly", hiddenFields);
    for (const type of ["hidden", "partly"]) {
      const record = await append(store, type, "x", { a: 1, ssn: secret });
      expect(record).toMatchObject({ version: 1, payload: canonicalOf({ a: 1, ssn: secret }) });
    }
    expect(await store.dbx.verifyLog(root, {})).toMatchObject({ aggregates: 2, position: 2 });
  });
});

describe("a hidden field", () => {
  test("is missing for every condition, and found again once it is shown", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    await append(store, "partly", "x", { a: 1, ssn: "123" });
    const found = async (filter: string) =>
      (await store.dbx.listAggregates(reader, { filter })).aggregates.length;
    const conditions = ["ssn = '123'", "ssn > '0'", "EXISTS ssn", "ssn != null", "ssn IN ('123')"];
    for (const condition of conditions) expect(await found(condition)).toBe(1);
    await hide(store, "partly", ["ssn"]);
    for (const condition of conditions) expect(await found(condition)).toBe(0);
    expect(await found("NOT EXISTS ssn AND ssn = null")).toBe(1);
    const shown = { field: "ssn", hidden: false };
    await store.dbx.changeSchema(root, { aggregate: "partly", hidden_field: shown });
    for (const condition of conditions) expect(await found(condition)).toBe(1);
  });
});

describe("asking for what is hidden", () => {
  const asking = Object.entries(operations)
    .filter(([, { input }]) => "include_hidden" in input.properties)
    .map(([name]) => name as OperationName);
  const key = { aggregate_type: "hidden", aggregate_id: "x" };

  test("is possible wherever aggregates and events are read", () => {
    expect(asking.toSorted()).toEqual([
      "getAggregate",
      "listAggregates",
      "listEvents",
      "readLog",
      "verifyAggregate",
    ]);
  });

  test("shows it to an admin, and is refused to anybody else", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    await hide(store, "hidden", "all");
    await append(store, "hidden", "x", { ssn: secret });
    for (const operation of asking) {
      const input = { ...("aggregate_id" in operations[operation].input.properties ? key : {}) };
      const ask = (actor: Actor, include_hidden: boolean) =>
        call(store.dbx, { operation, input: { ...input, include_hidden }, actor });
      expect(await ask(reader, true).catch((error: unknown) => error)).toMatchObject({
        ...{ code: "permission_denied", details: { grant: "admin" } },
      });
      const all = JSON.stringify(await ask(root, true));
      expect(all).toContain(operation === "verifyAggregate" ? '"version":1' : secret);
      const rest = JSON.stringify(await ask(root, false).catch((error: unknown) => error));
      expect(rest).not.toContain(secret);
      expect(rest).not.toContain('"version":1');
    }
    const exported = async (actor: Actor) =>
      JSON.stringify(await store.dbx.exportAggregates(actor, {}));
    expect(await exported(root)).toContain(secret);
    expect(await exported(reader)).toBe('{"aggregates":[],"next_cursor":null}');
  });
});
