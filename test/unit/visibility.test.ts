// What is left of states and payloads when schemas hide members of them.

import { expect, test } from "bun:test";
import { canonicalize } from "../../src/model/canonical.ts";
import { everything, visiblePayload, visibleState } from "../../src/model/visibility.ts";

const without = (...hidden_fields: string[]) => ({ hidden: false, hidden_fields });

const states: readonly [string, readonly string[], string][] = [
  ['{"a":"1","b":"2","c":"3"}', ["a"], '{"b":"2","c":"3"}'],
  ['{"a":"1","b":"2","c":"3"}', ["b"], '{"a":"1","c":"3"}'],
  ['{"a":"1","b":"2","c":"3"}', ["c"], '{"a":"1","b":"2"}'],
  ['{"a":"1","b":"2","c":"3"}', ["c", "a"], '{"b":"2"}'],
  ['{"a":"1","b":"2"}', ["b", "a", "z"], "{}"],
  ["{}", ["a"], "{}"],
  // Top-level members only, by their whole name, as it is meant and not as it is written.
  ['{"a":{"b":"inner"},"b":"2"}', ["b"], '{"a":{"b":"inner"}}'],
  ['{"ab":"1","b.c":"2"}', ["a", "b", "c"], '{"ab":"1","b.c":"2"}'],
  ['{"\\n":"1","\\"":"2","é":"3"}', ["\n", '"', "é"], "{}"],
  ['{"__proto__":"1","constructor":"2"}', ["__proto__"], '{"constructor":"2"}'],
  ['{"_value":["x"],"a":"1"}', ["_value"], '{"a":"1"}'],
  // Brackets, commas and quotes within values are no ends.
  ['{"a":[{"b":[1,2]},"},{"],"b":"\\",\\"c\\":\\"1"}', ["a"], '{"b":"\\",\\"c\\":\\"1"}'],
  ['{"a":12345678901234567890,"b":1}', ["b"], '{"a":12345678901234567890}'],
];

test.each(states)("%s without %j is %s", (text, hidden_fields, left) => {
  const whole = canonicalize(text);
  expect(visibleState(whole, without(...hidden_fields))).toBe(canonicalize(left));
  expect(visiblePayload(whole, without(...hidden_fields))).toBe(canonicalize(left));
});

test("of a payload that is no object nothing is left where _value is hidden", () => {
  for (const text of ['"x"', "7", "true", "null", '["a"]']) {
    expect(visiblePayload(canonicalize(text), without("_value"))).toBe(canonicalize("null"));
    expect(visiblePayload(canonicalize(text), without("a", "x"))).toBe(canonicalize(text));
  }
});

test("where nothing is hidden, the very text is given out", () => {
  const text = canonicalize('{"a":1}');
  expect(visibleState(text, everything)).toBe(text);
  expect(visiblePayload(text, everything)).toBe(text);
});
