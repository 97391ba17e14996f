// evolve against a fold over plain JavaScript values.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { emptyState, evolve, type State } from "../../src/model/aggregate.ts";
import { canonicalize, type Canonical } from "../../src/model/canonical.ts";
import { referenceCanonical } from "../support/canonical-reference.ts";
import { jsonTexts, runs, runs_ms_max } from "../support/json-texts.ts";

/** Few keys, so that states and payloads share many; with escapes and beyond the basic plane. */
const keys = fc.oneof(
  fc.constantFrom("a", "b", "ab", "a b", "10", "9", "__proto__", "_value", "", "\ue000", "😀"),
  fc.constantFrom('"', "\\", '\\"', "\n", "\u0001", "\u0002", 'a"', 'a"b', "a\\", "a\n", "A", "{}"),
);
const scalars = fc.oneof(
  fc.constantFrom(null, true, false, "", "null", 'x",', "}{", 0, -1.5, 1e21, "\n"),
  fc.integer(),
);
const values = fc.oneof(
  scalars,
  fc.array(scalars, { maxLength: 2 }),
  fc.dictionary(keys, scalars, { maxKeys: 3, noNullPrototype: true }),
);
const payloads = fc.oneof(
  { weight: 6, arbitrary: fc.array(fc.tuple(keys, values), { maxLength: 8 }) },
  { weight: 1, arbitrary: values.map((value) => value) },
);

type Member = readonly [string, unknown];
const isMembers = (payload: unknown): payload is Member[] =>
  Array.isArray(payload) && payload.every((part) => Array.isArray(part) && part.length === 2);

/** The state as the contract describes it, over a Map of JSON texts. */
function fold(state: Map<string, string>, members: readonly Member[]): Map<string, string> {
  const folded = new Map(state);
  for (const [key, value] of members) {
    const text = JSON.stringify(value);
    if (value === null) folded.set(key, '""');
    else if (typeof value === "object" || typeof value === "string") folded.set(key, text);
    else folded.set(key, `"${text}"`);
  }
  return folded;
}

const textOf = (members: Map<string, string>): string =>
  `{${[...members].map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(",")}}`;

test(
  "a history of payloads folds to the same state as plain values do",
  () => {
    fc.assert(
      fc.property(fc.array(payloads, { maxLength: 8 }), (history) => {
        let state: State = emptyState;
        let expected = new Map<string, string>();
        for (const payload of history) {
          const members = isMembers(payload)
            ? [...new Map(payload)]
            : typeof payload === "object" && payload !== null && !Array.isArray(payload)
              ? Object.entries(payload)
              : [["_value", payload] as const];
          const sent = isMembers(payload)
            ? textOf(new Map(members.map(([key, value]) => [key, JSON.stringify(value)])))
            : JSON.stringify(payload);
          state = evolve(state, canonicalize(sent));
          expected = fold(expected, members);
          expect(state as string).toBe(referenceCanonical(textOf(expected)) ?? "refused");
        }
      }),
      runs(1_500),
    );
  },
  runs_ms_max,
);

test(
  "a state is canonical whatever was sent, and the same payload again changes nothing",
  () => {
    fc.assert(
      fc.property(jsonTexts, jsonTexts, (first, second) => {
        const sent: Canonical[] = [];
        for (const text of [first, second]) {
          const canonical = referenceCanonical(text);
          if (canonical !== null) sent.push(canonicalize(canonical));
        }
        const state = sent.reduce(evolve, emptyState);
        expect(referenceCanonical(state)).toBe(state);
        const last = sent.at(-1);
        if (last !== undefined) expect(evolve(state, last)).toBe(state);
      }),
      runs(1_000),
    );
  },
  runs_ms_max,
);
