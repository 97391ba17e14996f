// From words to typed flags: what is accepted, in which spellings, and what is refused.

import { describe, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import fc from "fast-check";
import { command } from "../../src/cli/command.ts";
import { createOutput, pairs } from "../../src/cli/output.ts";
import { pretty } from "../../src/cli/pretty.ts";
import type { Shell } from "../../src/cli/shell.ts";
import { DbxError } from "../../src/model/error.ts";
import { canonicalize } from "../../src/model/canonical.ts";

const shell: Shell = {
  env: {},
  cwd: "/",
  home: "/",
  user: "tester",
  configPath: "/config.toml",
  configGiven: false,
  reach: { kind: "machine" },
  runWords: async () => 0,
  output: createOutput({ json: false, noColor: true }),
};

/** What a command with one flag of every kind makes of the words. */
async function flagsOf(args: readonly string[]): Promise<unknown> {
  let seen: unknown;
  const every = command({
    summary: "every kind of flag",
    flags: Type.Object(
      {
        aggregate: Type.Optional(Type.String()),
        aggregate_id: Type.Optional(Type.String()),
        take: Type.Optional(
          Type.Integer({
            minimum: 0,
            maximum: Number.MAX_SAFE_INTEGER,
            aliases: ["page_size"],
          }),
        ),
        expected: Type.Optional(Type.Union([Type.Integer(), Type.Literal("any")])),
        field: Type.Optional(Type.Array(Type.String())),
        json: Type.Optional(Type.Boolean()),
        rest: Type.Optional(Type.Boolean({ negatable: true })),
        restrict: Type.Optional(Type.String({ valueWhenBare: "default" })),
      },
      { additionalProperties: false },
    ),
    words: ["aggregate", "aggregate_id"],
    examples: [],
    run: async (flags) => {
      seen = flags;
    },
  });
  expect(await every.invoke(args, shell)).toBe(0);
  return seen;
}

const accepted: readonly (readonly [string[], object])[] = [
  [[], {}],
  [["--take", "3"], { take: 3 }],
  [["--take=3"], { take: 3 }],
  [["--page-size", "3"], { take: 3 }],
  [["--expected", "3"], { expected: 3 }],
  [["--expected", "any"], { expected: "any" }],
  [["--field", "a=1", "--field=b=2"], { field: ["a=1", "b=2"] }],
  [["--field=--x"], { field: ["--x"] }],
  [["--field", "-"], { field: ["-"] }],
  [["--json", "--no-rest"], { json: true, rest: false }],
  [["--rest", "--rest"], { rest: true }],
  [["--restrict"], { restrict: "default" }],
  [["--restrict", "--json"], { restrict: "default", json: true }],
  [["--restrict=off"], { restrict: "off" }],
  [["--restrict", "off"], { restrict: "off" }],
  [["person", "p1"], { aggregate: "person", aggregate_id: "p1" }],
  [["--aggregate-id", "p1", "person"], { aggregate: "person", aggregate_id: "p1" }],
  [["person", "--json", "p1"], { aggregate: "person", aggregate_id: "p1", json: true }],
  [["--", "--person", "-1"], { aggregate: "--person", aggregate_id: "-1" }],
  [["", "p1"], { aggregate: "", aggregate_id: "p1" }],
  [["--aggregate", "-long", "--field", "-a=b"], { aggregate: "-long", field: ["-a=b"] }],
  [["--rest", "--aggregate-id=-long"], { rest: true, aggregate_id: "-long" }],
];
const asName = "; write -- before a name that begins with a dash";
const refused: readonly (readonly [string[], string])[] = [
  [["--tak", "3"], "unknown flag --tak; did you mean --take?"],
  [["--aggregate_id", "x"], "unknown flag --aggregate_id; did you mean --aggregate-id?"],
  [["--no-json"], `unknown flag --no-json${asName}`],
  [["-j"], `unknown flag -j${asName}`],
  [["-jx"], `unknown flag -j${asName}`],
  [["--json", "-jx"], `unknown flag -j${asName}`],
  [["--aggregate", "--", "-jx"], `unknown flag -j${asName}`],
  [["--take"], "--take needs a value"],
  [["--take", "--json"], "--take needs a value; write --take=--json if that is it"],
  [["--take", ""], "--take must be an integer of at least 0"],
  [["--take", "1e3"], "--take must be an integer of at least 0"],
  [["--take", "-1"], "--take must be an integer of at least 0"],
  [["--take", "1", "--page-size", "2"], "--page-size is given twice"],
  [["--json=1"], "--json takes no value"],
  [["--rest", "--no-rest"], "--no-rest contradicts --rest"],
  [["--no-rest", "--rest"], "--rest contradicts --no-rest"],
  [["a", "b", "c"], 'unexpected argument "c"'],
  [["--aggregate", "a", "b", "c"], 'unexpected argument "c"'],
  [["__proto__", "b", "--__proto__", "c"], `unknown flag --__proto__${asName}`],
];

describe("flags", () => {
  test.each(accepted)("%j is accepted", async (args, wanted) => {
    expect(await flagsOf(args)).toEqual(wanted);
  });

  const lists: readonly (readonly [string[], object])[] = [
    [["one"], { name: "one" }],
    [["one", "a"], { name: "one", many: ["a"] }],
    [["one", "a", "b,c"], { name: "one", many: ["a", "b,c"] }],
    [["a", "b", "--name", "one"], { name: "one", many: ["a", "b"] }],
    [["one", "--many", "a", "--many=b"], { name: "one", many: ["a", "b"] }],
  ];
  test.each(lists)("%j: the last word may be a list", async (args, wanted) => {
    const flags = { name: Type.String(), many: Type.Optional(Type.Array(Type.String())) };
    let seen: unknown;
    const listing = command({
      summary: "",
      flags: Type.Object(flags),
      words: ["name", "many"],
      examples: [],
      run: async (given) => {
        seen = given;
      },
    });
    expect(await listing.invoke(args, shell)).toBe(0);
    expect(seen).toEqual(wanted);
    const both = listing.invoke(["one", "a", "--many", "b"], shell).catch(String);
    expect(await both).toContain('unexpected argument "a"');
  });

  test.each(refused)("%j is refused", async (args, message) => {
    const error = await flagsOf(args).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DbxError);
    expect(error).toMatchObject({ code: "invalid_argument", message });
  });

  // Ten million flags take longer than a test may; one takes no time.
  const group = `-${"x".repeat(10_000_000)}`;
  const groups = [[group], ["--aggregate", "--take", group], ["a", "--rest", group, group]];
  test.each(groups.map((args, index) => [index, args] as const))(
    "a group of short flags is refused by its first, however long it is (%#)",
    async (_, args) => {
      const error = await flagsOf(args).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "invalid_argument" });
    },
  );

  test("no words at all make anything but flags or a usage error", async () => {
    const word = fc.oneof(
      fc.constantFrom("--take", "--json", "--", "-", "--no-rest", "--restrict", "--field", "1"),
      fc.string(),
    );
    const property = fc.asyncProperty(fc.array(word, { maxLength: 6 }), async (args) => {
      const outcome = await flagsOf(args).catch((thrown: unknown) => thrown);
      if (outcome instanceof Error) expect(outcome).toMatchObject({ code: "invalid_argument" });
      else expect(outcome).toBeObject();
    });
    await fc.assert(property, { numRuns: 500 });
  });
});

describe("printed values", () => {
  test("pretty print says the same as the text it lays out", () => {
    const property = fc.property(fc.json({ maxDepth: 5 }), (json) => {
      const text = canonicalize(json);
      expect(canonicalize(pretty(text))).toBe(text);
      // JavaScript moves members named like list indexes to the front; dbx does not.
      fc.pre(!/"\d+":/.test(text));
      expect(pretty(text)).toBe(JSON.stringify(JSON.parse(text), null, 2));
    });
    fc.assert(property, { numRuns: 300 });
  });

  test("pretty print rounds nothing and moves nothing inside strings", () => {
    expect(pretty('{"b":18446744073709551617,"a":"{[,:]}\\"","e":[{},[]]}')).toBe(
      '{\n  "b": 18446744073709551617,\n  "a": "{[,:]}\\"",\n  "e": [\n    {},\n    []\n  ]\n}',
    );
  });

  test("pairs stay one line, whatever the values are", () => {
    expect(pairs({ a: "x", b: "x y", c: "", d: 'q"', e: 1, f: null, g: "a\nb", h: "ü" })).toBe(
      'a=x b="x y" c="" d="q\\"" e=1 f=null g="a\\nb" h=ü',
    );
  });
});
