// What may be in an event: payloads to the last digit, notes, and names.

import { expect } from "bun:test";
import { limits } from "../../src/model/limits.ts";
import { eventOf, json, refusal } from "../support/surfaces.ts";
import type { Check } from "./dbx-check.ts";

/** As it is sent, and as every surface gives it out. */
const exact: readonly (readonly [sent: string, kept: string])[] = [
  // The table of contract 2.1.
  ["-0", "0"],
  ["-0.0", "0"],
  ["0e5", "0"],
  ["1E5", "100000"],
  ["1.0", "1"],
  ["0.1", "0.1"],
  ["1e21", "1e+21"],
  ["9007199254740993", "9007199254740993"],
  ["18446744073709551616", "18446744073709551616"],
  ["18446744073709552000", "18446744073709552000"],
  ["1e23", "1e+23"],
  ["0.30000000000000004", "0.30000000000000004"],
  ["1.7976931348623158e308", "1.7976931348623158e308"],
  ["1e400", "1e400"],
  ["-1e-400", "-1e-400"],
  ["2e-324", "2e-324"],
  ["5e-324", "5e-324"],
  ["1.0000000000000000001", "1.0000000000000000001"],
  ["12345678901234567890e0", "12345678901234567890e0"],
  // Values that are no objects.
  ["true", "true"],
  ["false", "false"],
  ['""', '""'],
  ['"text"', '"text"'],
  ["[]", "[]"],
  ["{ }", "{}"],
  ['[1, "a", null, [], {}]', '[1,"a",null,[],{}]'],
  // Keys in the order of their UTF-16 units, none of them special.
  ['{"10":1,"9":2,"b":3,"":4}', '{"":4,"10":1,"9":2,"b":3}'],
  ['{"__proto__":{"a":1},"constructor":2}', '{"__proto__":{"a":1},"constructor":2}'],
  ['{"\\ufb33":1,"\\ud83d\\ude00":2}', '{"😀":2,"\ufb33":1}'],
  // Strings with the shortest escapes.
  ['"\\u00e9\\/\\u0000\\n\\u001f\\u007f"', '"é/\\u0000\\n\\u001f\x7f"'],
  ['"\\ud83d\\ude00 \\u2028"', '"😀 \u2028"'],
  ['"e\\u0301"', '"e\u0301"'],
];

const refused: readonly (readonly [what: string, payload: string])[] = [
  ["a leading zero", "01"],
  ["a plus sign", "+1"],
  ["a missing digit", "1."],
  ["no number", "NaN"],
  ["a key twice", '{"a":1,"a":2}'],
  ["a key twice in disguise", '{"a":1,"\\u0061":2}'],
  ["a lone surrogate", '"\\ud800"'],
  ["a key with a lone surrogate", '{"\\udc00":1}'],
  ["a control character", '"\u0001"'],
  ["half of it", '{"a":'],
  ["two values", "1 2"],
  ["a number longer than any double", `1${"0".repeat(limits.json_number_chars_max)}`],
];

const nested = (levels: number) => json("[".repeat(levels) + "]".repeat(levels));

export function payloads(check: Check): void {
  const comesBack = async (
    sent: string,
    kept: string,
    world: Parameters<Parameters<Check>[1]>[0],
  ) => {
    const { admin } = world;
    const payload = json(sent);
    const record = await admin.appendEvent(eventOf("exact", { payload }));
    expect(record.payload).toBe(json(kept));
    const [inBatch] = await admin.appendEvents({ events: [eventOf("exact", { payload })] });
    expect(inBatch?.payload).toBe(json(kept));
    const after = record.position - 1;
    for (const each of await admin.readLog({ after, take: 2 }))
      expect(each.payload).toBe(json(kept));
    const key = { aggregate_type: "exact", aggregate_id: "a-1" };
    const events = await admin.listEvents({ ...key, skip: record.version - 1 });
    expect(events.map((event) => event.payload)).toEqual([json(kept), json(kept)]);
  };
  for (const [sent, kept] of exact) {
    check(`the payload ${JSON.stringify(sent)} is kept as ${JSON.stringify(kept)}`, (world) =>
      comesBack(sent, kept, world),
    );
  }
  check("the payload null is kept", (world) => comesBack("null", "null", world), "null payload");

  for (const [what, payload] of refused) {
    check(`a payload with ${what} is refused`, async ({ admin }) => {
      const error = await refusal(admin.appendEvent(eventOf("broken", { payload: json(payload) })));
      expect(error.code).toBe("invalid_argument");
    });
  }

  check("a payload may be 128 levels deep, alone and in a batch", async ({ admin }) => {
    const deep = eventOf("deep", { payload: nested(limits.json_depth_max) });
    expect((await admin.appendEvent(deep)).payload).toBe(deep.payload);
    const [record] = await admin.appendEvents({ events: [deep] });
    expect(record?.payload).toBe(deep.payload);
    const { state } = await admin.getAggregate({ aggregate_type: "deep", aggregate_id: "a-1" });
    expect(`${state}`).toBe(`{"_value":${deep.payload}}`);
    const { aggregates } = await admin.listAggregates({ type: "deep" });
    expect(aggregates[0]?.state).toBe(state);
    const deeper = eventOf("deep", { payload: nested(limits.json_depth_max + 1) });
    const alone = await refusal(admin.appendEvent(deeper));
    const inBatch = await refusal(admin.appendEvents({ events: [deeper] }));
    expect([alone.code, inBatch.code]).toEqual(["invalid_argument", "invalid_argument"]);
  });

  check("the limit counts the bytes of the canonical payload", async ({ admin }) => {
    const limit = limits.payload_bytes_default;
    const sized = (bytes: number) => json(`"é${"x".repeat(bytes - 4)}"`);
    const fits = eventOf("sized", { payload: sized(limit) });
    expect((await admin.appendEvent(fits)).payload).toBe(fits.payload);
    const [read] = await admin.listEvents({ aggregate_type: "sized", aggregate_id: "a-1" });
    expect(read?.payload).toBe(fits.payload);
    const above = await refusal(admin.appendEvent({ ...fits, payload: sized(limit + 1) }));
    expect([above.code, above.details]).toEqual(["too_large", { bytes: limit + 1, limit }]);
    const events = [eventOf("sized"), { ...fits, payload: sized(limit + 1) }];
    const batch = await refusal(admin.appendEvents({ events }));
    expect(batch.details).toEqual({ index: 1, bytes: limit + 1, limit });
  });
}

export function notes(check: Check): void {
  check("a note has up to 128 characters, whatever they take", async ({ admin }) => {
    const most = limits.note_chars_max;
    for (const note of ["", "x".repeat(most), "😀".repeat(most), " a\u0000\n", "null"]) {
      const record = await admin.appendEvent(eventOf("noted", { note }));
      expect(record.metadata.note).toBe(note);
    }
    for (const note of ["x".repeat(most + 1), "😀".repeat(most + 1)]) {
      const error = await refusal(admin.appendEvent(eventOf("noted", { note })));
      expect([error.code, error.details]).toEqual(["invalid_argument", { path: "/note" }]);
      expect(error.message).toContain(`${most}`);
    }
  });

  check("no note is no member", async ({ admin }) => {
    for (const none of [{}, { note: null }]) {
      const { metadata } = await admin.appendEvent(eventOf("unnoted", none));
      expect(Object.hasOwn(metadata, "note")).toBe(false);
    }
  });
}

const odd = [
  ...["a/b", "a%2Fb", "%", "%zz", "..", ".", "a b", "a+b", "a?b#c&d=e", "ä", "😀", "e\u0301", "é"],
  ...['"', "\\", "'", "<a>", "${x}", "__proto__", "constructor", "0", "null", "*", "$x", "\ufffd"],
  ...["x".repeat(limits.name_chars_max), "😀".repeat(limits.name_chars_max)],
];
const wrong = ["", " a", "a ", "a\u0000b", "a\n", "\u0085", "x".repeat(limits.name_chars_max + 1)];

export function names(check: Check): void {
  check("names may have any character that people can see", async ({ admin }) => {
    for (const name of odd) {
      const key = { aggregate_type: `odd ${odd.indexOf(name)}`, aggregate_id: name };
      const event = {
        ...eventOf(key.aggregate_type),
        ...key,
        event_type: `e ${name}`.slice(0, 250),
      };
      const record = await admin.appendEvent(event);
      expect(record).toMatchObject({ ...key, event_type: event.event_type });
      expect(await admin.getAggregate(key)).toMatchObject({ ...key, version: 1 });
      expect(await admin.listEvents(key)).toEqual([record]);
      expect(await admin.verifyAggregate(key)).toMatchObject({ ...key, version: 1 });
    }
  });

  check("types may, too", async ({ admin }) => {
    for (const aggregate_type of odd) {
      await admin.appendEvent(eventOf(aggregate_type, { aggregate_id: "typed" }));
      const { aggregates } = await admin.listAggregates({ type: aggregate_type });
      const ids = aggregates.map((each) => [each.aggregate_type, each.aggregate_id]);
      expect(ids).toEqual([[aggregate_type, "typed"]]);
    }
  });

  check("names that nobody could read out are refused, and say which", async ({ admin }) => {
    for (const member of ["aggregate_type", "aggregate_id", "event_type"] as const) {
      for (const name of wrong) {
        const work = admin.appendEvent({ ...eventOf("wrong"), [member]: name });
        const error = await refusal(work);
        expect([name, error.code]).toEqual([name, "invalid_argument"]);
        expect([name, error.details]).toEqual([name, { path: `/${member}` }]);
      }
    }
  });
}
