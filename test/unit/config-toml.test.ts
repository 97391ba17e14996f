// Changing a TOML file in place: the wanted keys change, every other line stays as it was.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  changeToml,
  lineOf,
  lookUp,
  readToml,
  removeToml,
  type TomlValue,
} from "../../src/cli/toml.ts";
import { DbxError } from "../../src/model/error.ts";

const change = (text: string, key: string, value: TomlValue, aliases: string[] = []): string =>
  changeToml(text, [{ key, value, aliases }], "config.toml");

const cases: readonly (readonly [string, string, string, TomlValue, string])[] = [
  ["a new key of an empty file", "", "port", 1, "port = 1\n"],
  ["a new table of an empty file", "", "api.rest", true, "[api]\nrest = true\n"],
  ["a value before a comment", "port = 1  # mine\n", "port", 22, "port = 22  # mine\n"],
  ["a string with a # in it", 'a = "x # y" # z\n', "a", "q#", 'a = "q#" # z\n'],
  ["a literal string", "a = 'x # y'#z\n", "a", 1, "a = 1#z\n"],
  ["indentation and odd spacing", "\t port\t=\t1\n", "port", 2, "\t port\t=\t2\n"],
  [
    "a key in its table only",
    "rest = 1\n[api]\nrest = true\n",
    "api.rest",
    false,
    "rest = 1\n[api]\nrest = false\n",
  ],
  ["a dotted key", "api.rest = true\n", "api.rest", false, "api.rest = false\n"],
  ["a quoted key", '"port" = 1\n', "port", 2, '"port" = 2\n'],
  [
    "an inline table",
    "api = { rest = true, x = 'y' } # c\n",
    "api.rest",
    false,
    'api = { rest = false, x = "y" } # c\n',
  ],
  [
    "a new key before the first table",
    "# top\nport = 1\n\n[api]\n",
    "page_limit",
    5,
    "# top\nport = 1\npage_limit = 5\n\n[api]\n",
  ],
  [
    "a new key in a table in the middle",
    "[api]\nrest = true\n\n[x]\ny = 1\n",
    "api.grpc",
    false,
    "[api]\nrest = true\ngrpc = false\n\n[x]\ny = 1\n",
  ],
  [
    "below its commented-out default",
    "# Port.\n# port = 7070\n# b = 1\n",
    "port",
    1,
    "# Port.\n# port = 7070\nport = 1\n# b = 1\n",
  ],
  ["Windows line ends", "a = 1\r\nb = 2\r\n", "b", 3, "a = 1\r\nb = 3\r\n"],
  ["a new key with Windows line ends", "a = 1\r\n", "b", 3, "a = 1\r\nb = 3\r\n"],
  ["no newline at the end", "a = 1", "b", 3, "a = 1\nb = 3"],
  [
    "a value after a text of several lines",
    'a = """\nport = 9\n"""\nport = 1\n',
    "port",
    2,
    'a = """\nport = 9\n"""\nport = 2\n',
  ],
  [
    "a value after a list of several lines",
    "a = [\n  1,\n]\nport = 1\n",
    "port",
    2,
    "a = [\n  1,\n]\nport = 2\n",
  ],
];

describe("changeToml", () => {
  test.each(cases)("%s", (_name, text, key, value, wanted) => {
    expect(change(text, key, value)).toBe(wanted);
  });

  test("keeps the spelling that the file uses", () => {
    expect(change("cache_threshold = 1\n", "memory_threshold", 2, ["cache_threshold"])).toBe(
      "cache_threshold = 2\n",
    );
  });

  test("refuses what it cannot change without harm", () => {
    const text = 'port = """\n1\n"""\n';
    expect(() => change(text, "port", 2)).toThrow(/edit it by hand/);
    expect(() => change("[[api]]\nrest = true\n", "api.rest", false)).toThrow(DbxError);
  });

  test("says where a broken file is broken", () => {
    expect(() => readToml("a = 1\nb = = 2\n", "x.toml")).toThrow(/^x\.toml, line 2, column \d+: /);
  });

  test("changes the wanted key and nothing else of any file", () => {
    const name = fc.constantFrom("port", "page_limit", "rest", "x", "list_page_size", "odd-key");
    const table = fc.constantFrom("", "api", "storage", "a.b");
    const value = fc.oneof(
      fc.integer(),
      fc.boolean(),
      fc.string().filter((text) => text.isWellFormed()),
    );
    const entry = fc.record({ table, name, value, comment: fc.constantFrom("", " # c", "  #[x]") });
    const property = fc.property(
      fc.uniqueArray(entry, { selector: (one) => `${one.table}.${one.name}`, maxLength: 12 }),
      entry,
      fc.constantFrom("\n", "\r\n"),
      (entries, wanted, newline) => {
        const lines: string[] = [];
        for (const owner of ["", "api", "storage", "a.b"]) {
          const own = entries.filter((one) => one.table === owner);
          if (owner !== "" && own.length > 0) lines.push("", `# ${owner}`, `[${owner}]`);
          for (const one of own) {
            lines.push(`${one.name} = ${JSON.stringify(one.value)}${one.comment}`);
          }
        }
        const text = lines.map((line) => line + newline).join("");
        const key = wanted.table === "" ? wanted.name : `${wanted.table}.${wanted.name}`;
        const changed = change(text, key, wanted.value);
        expect(lookUp(readToml(changed, "f"), key)).toEqual(wanted.value);
        // Every old line but the one of the key is still there, in order.
        const old = text.split("\n").filter((_line, at) => at + 1 !== lineOf(text, key));
        let from = 0;
        for (const line of old.slice(0, -1)) {
          const at = changed.split("\n").indexOf(line, from);
          expect(at).toBeGreaterThanOrEqual(from);
          from = at + 1;
        }
        // What is kept stays kept.
        expect(change(changed, key, wanted.value)).toBe(changed);
      },
    );
    fc.assert(property, { numRuns: 300, ...seed() });
  });
});

const seed = () => (process.env["SEED"] === undefined ? {} : { seed: Number(process.env["SEED"]) });

describe("a table is removed", () => {
  const gone: readonly (readonly [string, string, string])[] = [
    ["that is the last", "a = 1\n\n[t.x]\nb = 1\n", "a = 1\n"],
    ["beside another", "[t.x]\nb = 1\n\n[t.y]\nb = 2\n", "\n[t.y]\nb = 2\n"],
    ["with a heading above it", "[t]\n\n[t.x]\nb = 1\n", "[t]\n"],
    ["of dotted keys", "t.x.b = 1 # one\nt.y.b = 2\nt.x.c = 3\n", "t.y.b = 2\n"],
    ["that is inline", "[t]\nx = { b = 1 }\ny = { b = 2 }\n", "[t]\ny = { b = 2 }\n"],
    ["with a quoted name", "[t.'x']\nb = 1\n[u]\n", "[u]\n"],
    ["with Windows line ends", "a = 1\r\n\r\n[t.x]\r\nb = 1\r\n", "a = 1\r\n"],
    ["but for its comments", "# 1\n[t.x] # 2\n# 3\nb = 1 # 4\n# 5\n[u]\n", "# 1\n# 3\n# 5\n[u]\n"],
    ["with tables of its own", "[t.x]\n[t.x.y]\nb = 1\n[u]\n", "[u]\n"],
    ["that is not there", "[t.y]\nb = 1\n", "[t.y]\nb = 1\n"],
  ];
  test.each(gone)("%s", (_, text, expected) => {
    expect(removeToml(text, "t.x", "config.toml")).toBe(expected);
  });

  test("or the file is left to whoever wrote it", () => {
    for (const text of ["t = { x = { b = 1 } }\n", '[t.x]\nb = """\n1\n"""\n']) {
      expect(() => removeToml(text, "t.x", "config.toml")).toThrow("edit it by hand");
    }
  });
});
