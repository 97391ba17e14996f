// Canonical JSON against a slow reader and writer that share nothing with it.

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  canonicalize,
  decodeUtf8,
  splitElements,
  splitMembers,
} from "../../src/model/canonical.ts";
import { canonicalNumber, decimalOf } from "../../src/model/decimal.ts";
import { DbxError } from "../../src/model/error.ts";
import { referenceCanonical } from "../support/canonical-reference.ts";
import { jsonTexts, runs, runs_ms_max } from "../support/json-texts.ts";

/** The canonical text, or null where it is refused as it should be. */
function attempt(make: () => string): string | null {
  try {
    return make();
  } catch (error) {
    if (error instanceof DbxError && error.code === "invalid_argument") return null;
    throw error;
  }
}

test(
  "every text is written, or refused, as the reference does it; and once is enough",
  () => {
    let written = 0;
    let refused = 0;
    fc.assert(
      fc.property(jsonTexts, (source) => {
        const result = attempt(() => canonicalize(source));
        expect(result).toBe(referenceCanonical(source));
        if (result === null) refused++;
        else {
          expect(canonicalize(result) as string).toBe(result);
          written++;
        }
      }),
      runs(2_000),
    );
    // Both happen often enough to mean something.
    expect(written).toBeGreaterThan(1_000);
    expect(refused).toBeGreaterThan(20);
  },
  runs_ms_max,
);

test(
  "white space, key order and escapes make no difference to a value without odd numbers",
  () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.nat({ max: 4 }), (json, indent) => {
        const once = canonicalize(JSON.stringify(json));
        expect(canonicalize(JSON.stringify(json, null, indent))).toBe(once);
        expect(canonicalize(JSON.stringify(reversed(json), null, "\t"))).toBe(once);
        expect(JSON.parse(once)).toEqual(JSON.parse(JSON.stringify(json)));
      }),
      runs(1_500),
    );
  },
  runs_ms_max,
);

/** The same value with the members of every object the other way round. */
function reversed(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(reversed);
  if (typeof json !== "object" || json === null) return json;
  return Object.fromEntries(
    Object.entries(json)
      .reverse()
      .map(([key, inner]) => [key, reversed(inner)]),
  );
}

test(
  "a changed, added or missing byte is refused or accepted by both",
  () => {
    let accepted = 0;
    fc.assert(
      fc.property(
        jsonTexts,
        fc.array(
          fc.record({
            at: fc.nat(),
            byte: fc.oneof(
              fc.nat({ max: 255 }),
              fc.constantFrom(...Buffer.from('"\\{}[],:0.-e \n')),
            ),
            kind: fc.constantFrom("change", "insert", "remove"),
          }),
          { minLength: 1, maxLength: 3 },
        ),
        (source, mutations) => {
          let bytes = [...Buffer.from(source)];
          for (const { at, byte, kind } of mutations) {
            const index = at % (bytes.length + 1);
            bytes = bytes.toSpliced(
              index,
              kind === "insert" ? 0 : 1,
              ...(kind === "remove" ? [] : [byte]),
            );
          }
          const result = attempt(() => canonicalize(decodeUtf8(Uint8Array.from(bytes))));
          // Node's decoder for the reference: it answers U+FFFD where the bytes are not UTF-8.
          const buffer = Buffer.from(bytes);
          const text = buffer.toString("utf8");
          const isUtf8 = Buffer.from(text).equals(buffer) && !text.startsWith("\ufeff");
          expect(result).toBe(isUtf8 ? referenceCanonical(text) : null);
          if (result !== null) accepted++;
        },
      ),
      runs(2_500),
    );
    expect(accepted).toBeGreaterThan(100);
  },
  runs_ms_max,
);

test(
  "a number keeps its value, whatever it is written like",
  () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^-?(?:0|[1-9][0-9]{0,25})(?:\.[0-9]{1,25})?(?:[eE][+-]?[0-9]{1,3})?$/),
        (token) => {
          const written = canonicalNumber(token);
          expect(canonicalize(token) as string).toBe(written);
          const before = decimalOf(token);
          const after = decimalOf(written);
          expect(after.digits).toBe(before.digits);
          expect(after.exponent).toBe(before.exponent);
          expect(after.negative).toBe(before.negative && before.digits !== "");
        },
      ),
      runs(5_000),
    );
  },
  runs_ms_max,
);

test(
  "a double is written as ECMAScript writes it",
  () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (double) => {
        const exact = referenceCanonical(String(double));
        expect(canonicalize(JSON.stringify(double)) as string).toBe(JSON.stringify(double));
        expect(canonicalNumber(String(double))).toBe(exact ?? "refused");
      }),
      runs(5_000),
    );
  },
  runs_ms_max,
);

test(
  "an object is its members, and an array its elements",
  () => {
    fc.assert(
      fc.property(jsonTexts, (source) => {
        const result = attempt(() => canonicalize(source));
        if (result?.startsWith("{")) {
          const object = canonicalize(result);
          const members = splitMembers(object);
          const written = members.map(([key, inner]) => `${JSON.stringify(key)}:${inner}`);
          expect(`{${written.join(",")}}`).toBe(object);
          for (const [, inner] of members) expect(canonicalize(inner)).toBe(inner);
        }
        if (result?.startsWith("[")) {
          const elements = splitElements(canonicalize(result));
          expect(`[${elements.join(",")}]`).toBe(result);
          for (const inner of elements) expect(canonicalize(inner)).toBe(inner);
        }
      }),
      runs(1_500),
    );
  },
  runs_ms_max,
);
