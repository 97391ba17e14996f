// Schemas under random payloads and random changes: nothing but refusals, nothing lost, and the
// numbers of a column judged as an oracle over big integers judges them.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { emptyState, evolve } from "../../src/model/aggregate.ts";
import { canonicalize, splitMembers, type Canonical } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { changeSchema, newSchema } from "../../src/model/schema/change.ts";
import { patternBudget } from "../../src/model/schema/budget.ts";
import { checkEvent } from "../../src/model/schema/check.ts";
import { compileSchema } from "../../src/model/schema/compile.ts";
import { writeSchemas } from "../../src/model/schema/document.ts";
import type { Schema, SchemaChange } from "../../src/model/schema/schema.ts";
import { referenceCanonical } from "../support/canonical-reference.ts";
import { jsonTexts, runs, runs_ms_max } from "../support/json-texts.ts";
import { readSchemas, refusalOf, schemaOf } from "../support/schema-rules.ts";

const now = "2026-02-03T04:05:06.000001Z";

/** Few names, so that columns, fields, locks and payloads meet; some that trip up objects. */
const names = fc.constantFrom("a", "b", "c", "10", "9", "__proto__", "constructor", "😀", "\ue000");

const plainTypes = fc.constantFrom(
  ...["int", "float", "decimal(4,2)", "numeric( 30 , 10 )", "bool", "text", "STRING", "timestamp"],
  ...["date", "json", "bytes", "object"],
);
const texts = fc.record(
  {
    type: fc.constantFrom("text", "string"),
    required: fc.boolean(),
    contains: fc.array(fc.constantFrom("a", "", "😀"), { maxLength: 2 }),
    does_not_contain: fc.array(fc.constantFrom("z", '"'), { maxLength: 2 }),
    regex: fc.array(fc.constantFrom("^a", "\\d+", "(a*)*$", ".", "\\pL"), { maxLength: 2 }),
    format: fc.constantFrom("email", "url", "credit_card"),
    length: fc.constantFrom({ min: 1 }, { max: 3 }, { min: 0, max: 9 }, {}, null),
    must_match: fc.constantFrom("a", "b", "a.b", "__proto__"),
  },
  { requiredKeys: ["type"] },
);
const numbers = fc.record(
  {
    type: fc.constantFrom("integer", "float", "decimal(9,3)"),
    required: fc.boolean(),
    range: fc.constantFrom({ min: "0" }, { max: "1_0" }, { min: "-5", max: "5" }, { min: null }),
  },
  { requiredKeys: ["type"] },
);
const settings: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  settings: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    plainTypes,
    texts,
    numbers,
    fc.record({
      type: fc.constantFrom("object", "json"),
      required: fc.boolean(),
      properties: fc.dictionary(names, tie("settings"), { maxKeys: 3, noNullPrototype: true }),
    }),
  ),
})).settings;

const paths = fc.array(names, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("."));
const byName = <Value>(values: fc.Arbitrary<Value>) =>
  fc.dictionary(names, values, { maxKeys: 3, noNullPrototype: true });
const fields = fc.array(names, { maxLength: 3 });

const changes: fc.Arbitrary<SchemaChange> = fc.record(
  {
    snapshot_threshold: fc.option(fc.integer({ min: 1 })),
    locked: fc.constant(false),
    hidden: fc.boolean(),
    field_lock: fc.record({ field: names, lock: fc.boolean() }),
    hidden_field: fc.record({ field: names, hidden: fc.boolean() }),
    add_events: fc.array(names, { minLength: 1, maxLength: 3 }),
    add_fields: byName(fields),
    remove_fields: byName(fields),
    event_notes: byName(fc.option(fc.string({ unit: "binary", maxLength: 5 }))),
    columns: fc.dictionary(paths, fc.option(settings), { maxKeys: 4, noNullPrototype: true }),
  },
  { requiredKeys: [] },
);

/** A schema with a history of changes, of which some were refused. */
const schemas = fc.array(changes, { minLength: 3, maxLength: 8 }).map((history) => {
  let schema = newSchema(
    { aggregate: "patient", events: ["added", "a"] },
    { now, snapshot_threshold: null },
  );
  for (const change of history) refusalOf(() => (schema = changeSchema(schema, change, { now })));
  return schema;
});

const values = fc.oneof(
  jsonTexts,
  fc.constantFrom('"a"', '"a1@b"', "1", "0.5", '"2024-02-29"', '"2024-02-29T00:00:00Z"', "{}"),
  fc.constantFrom('{"a":"a","b":"a"}', '{"10":1}', '"AAAA"', "true", "null", '"https://a/"'),
);
const payloads = fc.oneof(
  { weight: 1, arbitrary: jsonTexts },
  {
    weight: 5,
    arbitrary: fc
      .dictionary(names, values, { maxKeys: 5, noNullPrototype: true })
      .map((members) => {
        const written = Object.entries(members).map(([key, text]) => [JSON.stringify(key), text]);
        return `{${written.map((pair) => pair.join(":")).join(",")}}`;
      }),
  },
);

const canonicalOrNull = (text: string): Canonical | null =>
  referenceCanonical(text) === null ? null : canonicalize(text);

test(
  "an event is accepted or refused, and what is accepted folds without loss",
  () => {
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(schemas, fc.array(payloads, { minLength: 1, maxLength: 8 }), (schema, texts) => {
        const compiled = compileSchema(schema);
        for (const payload of texts.map(canonicalOrNull).filter((text) => text !== null)) {
          const event = { aggregate_type: "patient", event_type: "added", payload };
          const refusal = refusalOf(() => checkEvent("default", compiled, event, patternBudget()));
          if (refusal !== null) {
            refused++;
            expect(refusal.code).toBe("schema_violation");
            expect(refusal.message).toStartWith("schema violation: ");
            expect(refusal.message.isWellFormed()).toBe(true);
            continue;
          }
          accepted++;
          const state = new Map(splitMembers(evolve(emptyState, payload)));
          const sent = payload.startsWith("{") ? splitMembers(payload) : [["_value", payload]];
          expect([...state.keys()]).toEqual(sent.map(([key = ""]) => key));
          for (const [key = "", value = ""] of sent)
            expect(state.get(key) as string).toBe(stateOf(value));
        }
      }),
      runs(1_000),
    );
    // Both happen often enough to mean something.
    expect(accepted).toBeGreaterThan(100);
    expect(refused).toBeGreaterThan(100);
  },
  runs_ms_max,
);

/** A scalar is kept as a string of its canonical text, digit by digit. */
const stateOf = (value: string): string =>
  /^["{[]/.test(value) ? value : value === "null" ? '""' : `"${value}"`;

test(
  "a schema that was written and read is the same, and so is what becomes of it",
  () => {
    let changed = 0;
    const attempt = (schema: Schema, change: SchemaChange): Schema | string => {
      try {
        return changeSchema(schema, change, { now });
      } catch (error) {
        if (error instanceof DbxError) return error.message;
        throw error;
      }
    };
    fc.assert(
      fc.property(schemas, schemas, changes, (first, second, change) => {
        const kept = new Map([
          ["ward", { ...second, aggregate: "ward" }],
          ["patient", first],
        ]);
        const text = writeSchemas(kept);
        const again = readSchemas(text);
        expect(new Map([...again].reverse())).toEqual(kept);
        expect(writeSchemas(again)).toBe(text);
        const direct = attempt(first, change);
        expect(attempt(again.get("patient") ?? schemaOf(), change)).toEqual(direct);
        if (typeof direct !== "string") {
          changed++;
          expect(readSchemas(writeSchemas(new Map([["patient", direct]]))).get("patient")).toEqual(
            direct,
          );
        }
      }),
      runs(500),
    );
    expect(changed).toBeGreaterThan(20);
  },
  runs_ms_max,
);

test(
  "a schema has its lists sorted and each name once, whatever was changed in which order",
  () => {
    fc.assert(
      fc.property(schemas, ({ field_locks, hidden_fields, events }) => {
        for (const list of [
          field_locks,
          hidden_fields,
          ...Object.values(events).map((event) => event.fields),
        ])
          expect(list).toEqual([...new Set(list)].sort());
      }),
      runs(500),
    );
  },
  runs_ms_max,
);

/** `digits × 10^-scale`, in several spellings. */
interface Spelled {
  readonly digits: bigint;
  readonly scale: number;
  readonly quoted: boolean;
  readonly zeros: number;
}
const decimals: fc.Arbitrary<Spelled> = fc.record({
  digits: fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }),
  scale: fc.nat({ max: 12 }),
  quoted: fc.boolean(),
  zeros: fc.nat({ max: 3 }),
});

/** Plain digits, as a table of decimals would print them. */
function written({ digits, scale, quoted, zeros }: Spelled): string {
  const all = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, "0");
  const fraction = all.slice(all.length - scale, scale === 0 ? 0 : undefined) + "0".repeat(zeros);
  const whole = all.slice(0, all.length - scale);
  const text = `${digits < 0n ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`}`;
  return quoted ? `"${text}"` : text;
}

test(
  "numbers are held to digits and ranges as big integers are",
  () => {
    let accepted = 0;
    const bounds = { precision: 20, scale: 8, least: -(10n ** 12n) + 1n, most: 10n ** 15n + 7n };
    const column = {
      type: `decimal(${bounds.precision},${bounds.scale})`,
      range: { min: `${bounds.least}`, max: `${bounds.most}` },
    };
    const compiled = compileSchema(schemaOf({ column_types: { f: column } }));
    fc.assert(
      fc.property(decimals, (decimal) => {
        let { digits, scale } = decimal;
        while (scale > 0 && digits % 10n === 0n) {
          digits /= 10n;
          scale--;
        }
        const magnitude = (digits < 0n ? -digits : digits).toString();
        const precision = Math.max(digits === 0n ? 0 : magnitude.length, scale);
        const unit = 10n ** BigInt(scale);
        const fits =
          scale <= bounds.scale &&
          precision <= bounds.precision &&
          digits >= bounds.least * unit &&
          digits <= bounds.most * unit;
        const payload = canonicalize(`{"f":${written(decimal)}}`);
        const event = { aggregate_type: "patient", event_type: "added", payload };
        expect(
          refusalOf(() => checkEvent("default", compiled, event, patternBudget())) === null,
        ).toBe(fits);
        if (fits) accepted++;
      }),
      runs(3_000),
    );
    expect(accepted).toBeGreaterThan(100);
  },
  runs_ms_max,
);
