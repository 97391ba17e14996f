// What a token with fewer grants or with a scope may do and see, asked through the gate.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { call } from "../../src/api/call.ts";
import { follow } from "../../src/api/live.ts";
import type { OperationName, Output } from "../../src/api/operations.ts";
import type { Actor, Grant, ScopeEntry } from "../../src/model/actor.ts";
import { DbxError } from "../../src/model/error.ts";
import { openStore, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const dir = tempDir();
let store: TestStore;
const root: Actor = {
  ...{ group: "admin", user: "root", grants: ["read", "append", "admin"] },
  ...{ scope: null, token_id: null },
};
const keys = ["a/1", "a/2", "b/1", "b/2", "c:x/1"].map((text) => {
  const [aggregate_type = "", aggregate_id = ""] = text.split("/");
  return { aggregate_type, aggregate_id };
});
const eventOf = (key: object) => ({ ...key, event_type: "noted", payload: { n: 1 } });

const ask = <Name extends OperationName>(
  operation: Name,
  input: object,
  actor: Actor = root,
): Promise<Output<Name>> => {
  const text = "payload" in input ? { ...input, payload: JSON.stringify(input.payload) } : input;
  return call(store.dbx, { operation, input: text, actor });
};
const codeOf = async (work: Promise<unknown>): Promise<string> => {
  const thrown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  return thrown instanceof DbxError ? thrown.code : "done";
};
const actorWith = (scope: readonly ScopeEntry[], grants: readonly Grant[] = ["read", "append"]) =>
  ({ group: "g", user: "u", grants, scope, token_id: null }) satisfies Actor;
const namesOf = (list: readonly { aggregate_type: string; aggregate_id: string }[]) => [
  ...new Set(list.map((each) => `${each.aggregate_type}/${each.aggregate_id}`)),
];

beforeAll(async () => {
  store = await openStore(dir.path);
  for (const key of keys) {
    await ask("appendEvent", eventOf(key));
    await ask("appendEvent", eventOf(key));
  }
});
afterAll(async () => {
  await store[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

const scopes: readonly (readonly [ScopeEntry[], string[]])[] = [
  [[{ aggregate_type: "a", aggregate_id: "2" }], ["a/2"]],
  [[{ aggregate_type: "b" }], ["b/1", "b/2"]],
  [
    [{ aggregate_type: "c:x" }, { aggregate_type: "a", aggregate_id: "1" }],
    ["a/1", "c:x/1"],
  ],
  [
    [{ aggregate_type: "a", aggregate_id: "1" }, { aggregate_type: "a" }],
    ["a/1", "a/2"],
  ],
  [[{ aggregate_type: "z" }, { aggregate_type: "b", aggregate_id: "9" }], []],
];

describe.each(scopes)("a scope of %j", (scope, seen) => {
  const actor = actorWith(scope);

  test("is what lists, exports and the log show, page by page", async () => {
    for (const take of [1, 2, 100]) {
      for (const operation of ["listAggregates", "exportAggregates"] as const) {
        const found: string[] = [];
        let cursor: string | null = null;
        do {
          const page: Output<"listAggregates"> = await ask(
            operation,
            { take, ...(cursor === null ? {} : { cursor }) },
            actor,
          );
          found.push(...namesOf(page.aggregates));
          cursor = page.next_cursor;
        } while (cursor !== null);
        expect(found).toEqual(seen);
      }
    }
    expect(namesOf(await ask("readLog", {}, actor)).sort()).toEqual(seen);
    const filtered = await ask("listAggregates", { filter: 'n = "1"', take: 100 }, actor);
    expect(namesOf(filtered.aggregates)).toEqual(seen);
    for (const key of keys) {
      const within = seen.includes(`${key.aggregate_type}/${key.aggregate_id}`);
      expect(await ask("readLog", key, actor)).toHaveLength(within ? 2 : 0);
      const ofType = await ask("listAggregates", { type: key.aggregate_type, take: 9 }, actor);
      expect(namesOf(ofType.aggregates)).toEqual(
        seen.filter((name) => name.startsWith(`${key.aggregate_type}/`)),
      );
    }
  });

  test("finds nothing and writes nothing outside, whether it is there or not", async () => {
    const all = [...keys, { aggregate_type: "a", aggregate_id: "none" }];
    for (const key of all) {
      const name = `${key.aggregate_type}/${key.aggregate_id}`;
      if (seen.includes(name) || scope.some((entry) => entry.aggregate_type === "a")) continue;
      for (const operation of ["getAggregate", "listEvents", "verifyAggregate"] as const) {
        const thrown = await ask(operation, key, actor).catch((error: unknown) => error);
        expect(thrown).toMatchObject({ code: "not_found", message: "aggregate not found" });
      }
      expect(await codeOf(ask("appendEvent", eventOf(key), actor))).toBe("permission_denied");
      expect(await codeOf(ask("stageEvent", eventOf(key), actor))).toBe("permission_denied");
      expect(await codeOf(ask("createAggregate", key, actor))).toBe("permission_denied");
      expect(await codeOf(ask("createSnapshot", key, actor))).toBe("permission_denied");
    }
    expect((await store.dbx.readLog(root, {})).length).toBe(2 * keys.length);
  });

  test("is what following gives, from the beginning and live", async () => {
    const until = new AbortController();
    const found: string[] = [];
    const end = (await store.dbx.serverStatus(root, {})).position;
    const input = { after: 0 };
    for await (const batch of follow(store.live, {
      ...{ input, actorOf: () => actor, signal: until.signal },
    })) {
      found.push(...namesOf(batch.records));
      if (batch.position >= end) until.abort();
    }
    expect([...new Set(found)].sort()).toEqual(seen);
  });

  test("does not reach what concerns the whole store", async () => {
    const admin = actorWith(scope, ["read", "append", "admin"]);
    for (const operation of ["listTokens", "verifyLog", "serverStatus", "listAudit"] as const) {
      expect(await codeOf(ask(operation, {}, admin))).toBe("permission_denied");
    }
    expect(await codeOf(ask("issueToken", { group: "x", user: "y" }, admin))).toBe(
      "permission_denied",
    );
  });
});

test("a batch is refused for one event outside of the scope", async () => {
  const actor = actorWith([{ aggregate_type: "a" }]);
  const events = [keys[0], keys[2]].map((key) => ({
    ...key,
    ...{ event_type: "noted", payload: "{}" },
  }));
  expect(await codeOf(ask("appendEvents", { events }, actor))).toBe("permission_denied");
});

test("of the queue a token sees, commits and discards what its scope covers", async () => {
  const [first, , third] = keys;
  await ask("stageEvent", eventOf({ ...first }));
  const staged = await ask("stageEvent", eventOf({ ...third }));
  const actor = actorWith([{ aggregate_type: "a" }]);
  expect(namesOf(await ask("listStaged", {}, actor))).toEqual(["a/1"]);
  const { event_id } = staged;
  expect(await codeOf(ask("discardStaged", { event_id }, actor))).toBe("not_found");
  expect(namesOf(await ask("commitStaged", {}, actor))).toEqual(["a/1"]);
  expect(namesOf(await ask("listStaged", {}))).toEqual(["b/1"]);
  expect(await ask("discardStaged", { all: true }, actor)).toEqual([]);
  expect(namesOf(await ask("discardStaged", { all: true }))).toEqual(["b/1"]);
});

describe("a token is issued", () => {
  test("with fewer grants than its group has, and with no others", async () => {
    const narrow = await ask("issueToken", { group: "app", user: "u", grants: ["read"] });
    expect(narrow.grants).toEqual(["read"]);
    const actor = store.authenticate(narrow.token);
    const key = { aggregate_type: "a", aggregate_id: "1" };
    expect(await codeOf(ask("getAggregate", key, actor))).toBe("done");
    expect(await codeOf(ask("appendEvent", eventOf(key), actor))).toBe("permission_denied");
    const beyond = { group: "app", user: "u", grants: ["read", "admin"] };
    expect(await codeOf(ask("issueToken", beyond))).toBe("invalid_argument");
    expect(await codeOf(ask("issueToken", { ...beyond, grants: [] }))).toBe("invalid_argument");
  });

  test("with a scope, which it keeps when it is refreshed and when dbx starts again", async () => {
    const aggregates = [{ aggregate_type: "a", aggregate_id: "2" }];
    const issued = await ask("issueToken", { group: "app", user: "u", aggregates });
    expect(issued.aggregates).toEqual(aggregates);
    await ask("refreshToken", { token: issued.id, expiration_secs: 60 });
    await store[Symbol.asyncDispose]();
    store = await openStore(dir.path);
    expect(store.authenticate(issued.token).scope).toEqual(aggregates);
    const actor = store.authenticate(issued.token);
    expect(namesOf((await ask("listAggregates", {}, actor)).aggregates)).toEqual(["a/2"]);
  });

  test("that only appends, and is shown no state and nothing that others have staged", async () => {
    const appender = actorWith([{ aggregate_type: "a" }], ["append"]);
    const key = { aggregate_type: "a", aggregate_id: "1" };
    for (const [operation, input] of [
      ["createSnapshot", key],
      ["commitStaged", {}],
      ["discardStaged", { all: true }],
      ["listStaged", {}],
      ["getAggregate", key],
    ] as const) {
      expect(await codeOf(ask(operation, input, appender))).toBe("permission_denied");
    }
    expect(await codeOf(ask("appendEvent", eventOf(key), appender))).toBe("done");
  });
});
