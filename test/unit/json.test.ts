// JSON in and out by schema: exact members stay text, everything else is ordinary JavaScript.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fromJson, fromStrings, levelsAround, toJson } from "../../src/api/json.ts";
import { operations } from "../../src/api/operations.ts";
import { canonicalize, canonicalOf } from "../../src/model/canonical.ts";
import { Event, EventRecord } from "../../src/model/event.ts";
import { limits } from "../../src/model/limits.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(performance.timeOrigin + performance.now()));

const record = {
  aggregate_type: "a",
  aggregate_id: 'q"\\\n😀',
  event_type: "c",
  payload: canonicalize('{"n":9007199254740993}'),
  metadata: {
    event_id: "45c3013e-9b95-4ed0-9af9-1a465f81d3cf",
    created_at: "2024-12-01T17:22:43.512345Z",
    issued_by: null,
  },
  version: 1,
  hash: "a".repeat(64),
  merkle_root: "b".repeat(64),
  position: 2,
};

describe("fromJson", () => {
  test("keeps exact members as their text and parses the rest", () => {
    const text = canonicalize('{"payload":[1.0,9007199254740993],"note":"x","version":1}');
    expect(fromJson(Event, text)).toEqual({
      payload: "[1,9007199254740993]",
      note: "x",
      version: 1,
    });
  });

  test("goes into lists, and stops one entry after the most there may be", () => {
    const schema = operations.appendEvents.input;
    const events = Array.from({ length: limits.transaction_events_max + 5 }, () => ({
      payload: 1,
    }));
    const value = fromJson(schema, canonicalOf({ events })) as { events: unknown[] };
    expect(value.events).toHaveLength(limits.transaction_events_max + 1);
    expect(value.events[0]).toEqual({ payload: "1" });
  });

  test.each(["[]", "1", "null", '"x"', '{"payload":{}}', "{}"])(
    "%s of the wrong shape is left for the gate",
    (text) => {
      const value = fromJson(operations.appendEvents.input, canonicalize(text));
      expect(value).toEqual(JSON.parse(text));
    },
  );

  test("__proto__ is an ordinary member", () => {
    const value = fromJson(Event, canonicalize('{"__proto__":{"payload":1},"payload":2}'));
    expect(Object.keys(value as object)).toEqual(["__proto__", "payload"]);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  test("strings come out as they went in, escapes included", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (note) => {
        const value = fromJson(Event, canonicalOf({ note, payload: 1 })) as { note: string };
        expect(value.note).toBe(note);
      }),
      { seed },
    );
  });
});

describe("toJson", () => {
  test("writes members in the schema's order and exact ones untouched", () => {
    const { payload, ...rest } = record;
    expect(toJson(EventRecord, { payload, ...rest })).toBe(
      JSON.stringify({ ...record, payload: "here" }).replace('"here"', payload),
    );
  });

  test("leaves out what is undefined, and null stays", () => {
    const schema = operations.issueToken.output;
    expect(toJson(schema, { token: "t", limit: null, prefix: undefined })).toBe(
      '{"token":"t","limit":null}',
    );
    expect(toJson(operations.revokeToken.output, null)).toBe("null");
  });

  test("and fromJson are inverses for records", () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.string(),
        fc.option(fc.string()),
        (payload, aggregate_id, note) => {
          const metadata = { ...record.metadata, ...(note === null ? {} : { note }) };
          const one = { ...record, aggregate_id, metadata, payload: canonicalOf(payload) };
          const text = toJson(operations.listEvents.output, [one, one]);
          expect(fromJson(operations.listEvents.output, canonicalize(text))).toEqual([one, one]);
        },
      ),
      { seed },
    );
  });
});

describe("fromStrings", () => {
  const schema = operations.listAggregates.input;
  test.each([
    ["0", 0],
    ["17", 17],
    ["-3", -3],
    ["9007199254740991", 9007199254740991],
    ["", ""],
    ["01", "01"],
    ["-0", "-0"],
    ["1.0", "1.0"],
    ["1e3", "1e3"],
    [" 1", " 1"],
    ["99999999999999999", "99999999999999999"],
  ])("take=%s is %p", (text, value) => {
    expect(fromStrings(schema, [["take", text]])).toEqual({ take: value });
  });

  test("what is no number by schema stays text, unknown names too", () => {
    const given = fromStrings(schema, [
      ["cursor", "17"],
      ["other", "17"],
      ["__proto__", "1"],
    ]);
    expect(Object.entries(given)).toEqual([
      ["cursor", "17"],
      ["other", "17"],
      ["__proto__", "1"],
    ]);
  });

  test("booleans are converted where the schema wants them", () => {
    const token = operations.issueToken.input;
    for (const [text, value] of [
      ["true", true],
      ["false", false],
      ["yes", "yes"],
    ] as const) {
      expect(fromStrings(token, [["keep_alive", text]])).toEqual({ keep_alive: value });
    }
  });
});

test("levels around exact members are those of the schema", () => {
  const { appendEvent, appendEvents, listEvents, listAggregates, issueToken } = operations;
  expect(levelsAround(appendEvent.input)).toBe(1);
  expect(levelsAround(appendEvents.input)).toBe(3);
  expect(levelsAround(listEvents.output)).toBe(2);
  expect(levelsAround(listAggregates.output)).toBe(3);
  expect(levelsAround(issueToken.input)).toBe(0);
});
