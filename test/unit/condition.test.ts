// The conditions of HTTP apart from HTTP: what a tag depends on, which lists name it, and which
// version `If-Match` means.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { etagOf, isKnown, tagOf, withCondition } from "../../src/server/condition.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(performance.timeOrigin + performance.now()));

describe("a tag", () => {
  test("begins with the version, and is a quoted string of visible characters", () => {
    expect(etagOf(7, "{}")).toMatch(/^"7-[\w-]{22}"$/);
    expect(tagOf("{}")).toMatch(/^"[\w-]{22}"$/);
    expect(tagOf(new TextEncoder().encode("{}"))).toBe(tagOf("{}"));
  });

  test(`is the same for the same text, and only for it (SEED=${seed})`, () => {
    const aggregate = fc.record({ version: fc.nat(), text: fc.string() });
    fc.assert(
      fc.property(aggregate, aggregate, (one, other) => {
        const same = one.version === other.version && one.text === other.text;
        expect(etagOf(one.version, one.text) === etagOf(other.version, other.text)).toBe(same);
        expect(etagOf(one.version, one.text)).toBe(etagOf(one.version, one.text));
      }),
      { seed },
    );
  });

  test(`stands for its version in If-Match (SEED=${seed})`, () => {
    const version = fc.maxSafeNat();
    fc.assert(
      fc.property(version, fc.string(), (expected_version, text) => {
        for (const header of [etagOf(expected_version, text), `"${expected_version}"`]) {
          const headers = new Headers({ "If-Match": header });
          expect(withCondition({ a: 1 }, headers)).toEqual({ a: 1, expected_version });
        }
      }),
      { seed },
    );
  });
});

describe("If-None-Match", () => {
  const etag = etagOf(7, "{}");
  test.each([
    [null, false],
    ["", false],
    ["*", true],
    [" * ", true],
    [etag, true],
    [`W/${etag}`, true],
    [`"a", W/"b,c" ,${etag}`, true],
    [`"a","b"`, false],
    ['"7"', false],
    ["7", false],
    [etag.replaceAll('"', ""), false],
    [etag.slice(0, -1), false],
    [`"x${etag.slice(1)}`, false],
    ['"*"', false],
  ])("%j names the tag: %p", (header, known) => {
    expect(isKnown(header, etag)).toBe(known);
  });
});
