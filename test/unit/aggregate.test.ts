// The state of an aggregate: what one more event makes of it.

import { describe, expect, test } from "bun:test";
import { emptyState, evolve, toAggregate } from "../../src/model/aggregate.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { emptyFrontier, growFrontier, leafHash, nodeHash } from "../../src/model/merkle.ts";

describe("evolve", () => {
  test.each([
    ["{}", "{}", "{}"],
    ["{}", '{"a":"x"}', '{"a":"x"}'],
    ["{}", '{"a":null,"b":true,"c":false,"d":1.50}', '{"a":"","b":"true","c":"false","d":"1.5"}'],
    ["{}", '{"a":9007199254740993}', '{"a":"9007199254740993"}'],
    ["{}", '{"a":-1e400}', '{"a":"-1e400"}'],
    ["{}", '{"a":{"b":1,"c":null},"d":[1,null]}', '{"a":{"b":1,"c":null},"d":[1,null]}'],
    ["{}", "null", '{"_value":""}'],
    ["{}", "7", '{"_value":"7"}'],
    ["{}", '"x"', '{"_value":"x"}'],
    ["{}", "[{}]", '{"_value":[{}]}'],
    ['{"a":"1"}', "{}", '{"a":"1"}'],
    ['{"a":"1"}', '{"a":2}', '{"a":"2"}'],
    ['{"b":"1"}', '{"a":2}', '{"a":"2","b":"1"}'],
    ['{"a":"1"}', '{"b":2}', '{"a":"1","b":"2"}'],
    [
      '{"a":"1","c":"3","e":"5"}',
      '{"b":2,"c":{},"f":6}',
      '{"a":"1","b":"2","c":{},"e":"5","f":"6"}',
    ],
    ['{"a":{"x":1}}', '{"a":{"y":2}}', '{"a":{"y":2}}'],
    ['{"_value":"1","a":"2"}', "false", '{"_value":"false","a":"2"}'],
    ['{"10":"a","9":"b"}', '{"1":0,"__proto__":1}', '{"1":"0","10":"a","9":"b","__proto__":"1"}'],
    ['{"a":"}","b":"\\",\\""}', '{"b":",","c":"{"}', '{"a":"}","b":",","c":"{"}'],
    [
      '{"\\n":"1","A":"2","\\"":"3"}',
      '{"\\n":0,"\\\\":4}',
      '{"\\n":"0","\\"":"3","A":"2","\\\\":"4"}',
    ],
    ['{"a\\"b":"1"}', '{"a":2,"a\\"b":3,"a\\"c":4}', '{"a":"2","a\\"b":"3","a\\"c":"4"}'],
    ['{"\\u0001":"1"}', '{"\\u0000":2,"\\u0001":3}', '{"\\u0000":"2","\\u0001":"3"}'],
    ['{"😀":"1"}', '{"\ue000":2,"€":3}', '{"€":"3","😀":"1","\ue000":"2"}'],
  ])("%s and then %s makes %s", (state, payload, expected) => {
    const before = canonicalize(state);
    const after = evolve(before, canonicalize(payload));
    expect(after as string).toBe(canonicalize(expected) as string);
    expect(canonicalize(after)).toBe(after);
  });
});

test("an aggregate shows its head with the root its frontier stands for", () => {
  const leaves = [leafHash("a"), leafHash("b")] as const;
  const root = nodeHash(...leaves);
  const aggregate = toAggregate({
    aggregate_type: "patient",
    aggregate_id: "p-001",
    version: 2,
    frontier: growFrontier(growFrontier(emptyFrontier, leaves[0]), leaves[1]),
    root,
    state: emptyState,
    archived: true,
    erased: 0,
    updated_at: "2024-12-01T17:22:43.512345Z",
  });
  expect(aggregate).toEqual({
    aggregate_type: "patient",
    aggregate_id: "p-001",
    version: 2,
    state: emptyState,
    merkle_root: nodeHash(...leaves).toHex(),
    archived: true,
  });
});
