// The gate's words: what is wrong with an input, and where. And the gate's order.

import { describe, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { call } from "../../src/api/call.ts";
import { decode } from "../../src/api/decode.ts";
import { httpStatusOf } from "../../src/api/errors.ts";
import { operations, type OperationName } from "../../src/api/operations.ts";
import { routes } from "../../src/api/routes.ts";
import { Config } from "../../src/model/config.ts";
import { DbxError, type ErrorCode } from "../../src/model/error.ts";
import { foreignEvent } from "../support/foreign.ts";
import { openStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

function faultOf(operation: OperationName, value: unknown): DbxError {
  try {
    decode(operations[operation].input, value);
  } catch (error) {
    if (error instanceof DbxError) return error;
  }
  throw new Error(`${JSON.stringify(value)} was taken`);
}

const event = { aggregate_type: "a", aggregate_id: "b", event_type: "c", payload: "1" };

test("no object by names leaves a name unchecked, with whatever line end", () => {
  const patterns = new Set<string>();
  const collect = (part: unknown): void => {
    if (typeof part !== "object" || part === null) return;
    for (const [name, inner] of Object.entries(part)) {
      if (name === "patternProperties") for (const key of Object.keys(inner)) patterns.add(key);
      collect(inner);
    }
  };
  collect([Object.values(operations), Config]);
  expect(patterns.size).toBeGreaterThan(0);
  for (const pattern of patterns) {
    for (const name of ["", "a", "\n", "a\rb", "\u2028", "a\u2029"])
      expect(name).toMatch(RegExp(pattern));
  }
});

describe("decode", () => {
  test.each<[OperationName, unknown, string, string]>([
    ["appendEvent", null, "", "the input must be an object"],
    ["appendEvent", [], "", "the input must be an object"],
    ["appendEvent", {}, "/aggregate_type", "aggregate_type is missing"],
    [
      "appendEvent",
      { ...event, aggregate_tpye: 1 },
      "/aggregate_tpye",
      "unknown member aggregate_tpye; did you mean aggregate_type?",
    ],
    ["appendEvent", { ...event, zzz: 1 }, "/zzz", "unknown member zzz"],
    ["appendEvent", { ...event, note: 1 }, "/note", "note must be one of: string, null"],
    [
      "appendEvent",
      { ...event, note: "x".repeat(129) },
      "/note",
      "note must have at most 128 characters, but has 129",
    ],
    [
      "appendEvent",
      { ...event, expected_version: -1 },
      "/expected_version",
      "expected_version must be an integer of at least 0",
    ],
    [
      "appendEvent",
      { ...event, event_id: "x" },
      "/event_id",
      "event_id must look like 45c3013e-9b95-4ed0-9af9-1a465f81d3cf",
    ],
    ["appendEvent", { ...event, event_id: 1 }, "/event_id", "event_id must be a string"],
    ["appendEvents", { events: [] }, "/events", "events must be an array of 1 to 1000 entries"],
    [
      "appendEvents",
      { events: [event, { ...event, "a/b~": 1 }] },
      "/events/1/a~1b~0",
      "unknown member events[1].a/b~",
    ],
    [
      "issueToken",
      { group: "a", user: "b", expiration_secs: 0 },
      "/expiration_secs",
      "expiration_secs must be an integer from 1 to 3155760000",
    ],
    [
      "issueToken",
      { group: "a", user: "b", keep_alive: "yes" },
      "/keep_alive",
      "keep_alive must be a boolean",
    ],
    ...(
      [
        [5, "/aggregates", "aggregates must be one of: array, null"],
        [{}, "/aggregates", "aggregates must be one of: array, null"],
        [[], "/aggregates", "aggregates must be an array of 1 to 100 entries"],
        [["patient"], "/aggregates/0", "aggregates[0] must be an object"],
        [[{}], "/aggregates/0/aggregate_type", "aggregates[0].aggregate_type is missing"],
        [
          [{ aggregate_type: "p" }, { aggregate_type: "p", aggregate_i: "x" }],
          "/aggregates/1/aggregate_i",
          "unknown member aggregates[1].aggregate_i; did you mean aggregate_id?",
        ],
        [
          [{ aggregate_type: "p", aggregate_id: "" }],
          "/aggregates/0/aggregate_id",
          "aggregates[0].aggregate_id must not be empty",
        ],
      ] satisfies [unknown, string, string][]
    ).map(([aggregates, path, message]): [OperationName, unknown, string, string] => [
      ...(["issueToken" as const, { group: "a", user: "b", aggregates }, path, message] as const),
    ]),
    ["health", { x: 1 }, "/x", "unknown member x"],
    [
      "listAggregates",
      { at: "2".repeat(65) },
      "/at",
      "at must have at most 64 characters, but has 65",
    ],
    ["listAggregates", { at: 1 }, "/at", "at must be a string"],
    ["listAggregates", { cursor: "ä" }, "/cursor", "cursor is not one that dbx gave out"],
    [
      "listAggregates",
      { filter: "😀".repeat(4_097) },
      "/filter",
      "filter must have at most 4096 characters, but has 4097",
    ],
    [
      "listAggregates",
      { filter: `${"é".repeat(1_365)}xyz` },
      "/filter",
      "filter must have at most 8192 characters percent-encoded, but has 8193",
    ],
  ])("%s of %j: %s: %s", (operation, value, path, message) => {
    const error = faultOf(operation, value);
    expect([error.code, error.details, error.message]).toEqual([
      "invalid_argument",
      { path },
      message,
    ]);
  });

  test("takes a filter that is as long as it may be, in either way of counting", () => {
    for (const filter of ["x".repeat(4_096), `${"é".repeat(1_365)}xy`, "😀".repeat(682)]) {
      expect(decode(operations.listAggregates.input, { filter })).toEqual({ filter });
    }
  });

  test("says what a text shorter than it may be is", () => {
    const schema = Type.Object({
      key: Type.String({ minLength: 1 }),
      pin: Type.String({ minLength: 4 }),
    });
    expect(() => decode(schema, { key: "", pin: "1234" })).toThrow("key must not be empty");
    expect(() => decode(schema, { key: "k", pin: "1" })).toThrow(
      "pin must have at least 4 characters",
    );
  });

  test("gives back the very value when it fits", () => {
    const value: unknown = event;
    expect<unknown>(decode(operations.appendEvent.input, value)).toBe(value);
  });

  test("does not give a huge name back", () => {
    const { message, details } = faultOf("appendEvent", { ...event, ["k".repeat(100_000)]: 1 });
    expect(message.length).toBeLessThan(320);
    expect(JSON.stringify(details).length).toBeLessThan(320);
  });

  test("looks at a bounded number of faults", () => {
    const events = Array.from({ length: 200_000 }, () => 1);
    expect(faultOf("appendEvents", { events }).details).toEqual({ path: "/events" });
  });
});

describe("call", () => {
  const anybody = { group: "g", user: "u", grants: [], scope: null, token_id: null };

  test("refuses a wrong input before a missing grant, and both as rejections", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const ask = (input: unknown) =>
      call(store.dbx, { operation: "listTokens", input, actor: anybody }).catch(
        (error: DbxError) => error.code,
      );
    expect(await ask({ x: 1 })).toBe("invalid_argument");
    expect(await ask({})).toBe("permission_denied");
  });

  test("every operation with a grant asks for it", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const key = { aggregate_type: "a", aggregate_id: "b" };
    const inputs: Partial<Record<OperationName, unknown>> = {
      appendEvent: event,
      appendEvents: { events: [event] },
      importEvents: { events: [{ ...foreignEvent(key), payload: "{}" }] },
      stageEvent: event,
      createAggregate: key,
      getAggregate: key,
      listEvents: key,
      verifyAggregate: key,
      createSnapshot: key,
      archiveAggregate: key,
      restoreAggregate: key,
      removeAggregate: key,
      eraseAggregate: { ...key, reason: "x" },
      rotateKey: { data_encryption_key: Buffer.alloc(32).toString("base64") },
      createSchema: { aggregate: "a", events: ["b"] },
      getSchema: { aggregate: "a" },
      changeSchema: { aggregate: "a", locked: true },
      removeSchemaEvent: { aggregate: "a", event: "b" },
      validateEvent: { aggregate: "a", event: "b", payload: "{}" },
      putPlugin: { name: "a", config: { type: "tcp", host: "127.0.0.1", port: 9 } },
      enablePlugin: { name: "a" },
      disablePlugin: { name: "a" },
      removePlugin: { name: "a" },
      replayPlugin: { name: "a", aggregate_type: "b" },
      issueToken: { group: "a", user: "b" },
      revokeToken: { token: "x" },
      refreshToken: { token: "x" },
      applySchemas: { schemas: [], remove: [] },
      listPositions: { take: 1 },
      rootsAt: { of: [{ ...key, version: 1 }] },
      readForeign: { ...key, after: 0, take: 1 },
      putRemote: { name: "a", endpoint: "b", public_key: "c" },
      removeRemote: { name: "a" },
    };
    for (const operation of Object.keys(operations) as OperationName[]) {
      const { grant } = operations[operation];
      const asked = call(store.dbx, { operation, input: inputs[operation] ?? {}, actor: anybody });
      const code = await asked.then(
        () => null,
        (error: DbxError) => [error.code, error.details["grant"]],
      );
      expect([operation, code]).toEqual([
        operation,
        grant === null ? null : ["permission_denied", grant],
      ]);
    }
  });
});

test("every operation has a route, and only health is open", () => {
  const routed = new Set(routes.map(({ operation }) => operation));
  expect(Object.keys(operations).filter((name) => !routed.has(name as OperationName))).toEqual([]);
  const open = Object.entries(operations).filter(([, { grant }]) => grant === null);
  expect(open.map(([name]) => name)).toEqual(["health"]);
});

test.each<[unknown, ErrorCode, number]>([
  ["request_timeout", "invalid_argument", 408],
  ["method_not_allowed", "invalid_argument", 405],
  ["unsupported_media_type", "invalid_argument", 415],
  ["precondition_failed", "version_conflict", 412],
  ["precondition_failed", "invalid_argument", 400],
  ["method_not_allowed", "not_found", 404],
  ["toString", "invalid_argument", 400],
  [7, "invalid_argument", 400],
  [undefined, "version_conflict", 409],
])("reason %p of %s is HTTP %d", (reason, code, status) => {
  expect(httpStatusOf({ message: "", code, details: { reason } })).toBe(status);
});
