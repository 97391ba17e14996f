// What was appended comes back from an export, exactly, in either format and however the pages
// were cut. The CSV is read by a reader of its own, which knows the format from the help text only.

import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { exportTables } from "../../src/cli/export/export.ts";
import { placeOf, type Format } from "../../src/cli/export/place.ts";
import { emptyState, evolve, type Aggregate } from "../../src/model/aggregate.ts";
import { canonicalize, splitElements, splitMembers } from "../../src/model/canonical.ts";
import { emptyRoot } from "../../src/model/merkle.ts";
import { compareKeys } from "../../src/model/stream.ts";
import { jsonTexts, runs, runs_ms_max } from "../support/json-texts.ts";
import { tempDir } from "../support/temp.ts";

const awkward = fc.constantFrom(
  ...["", " ", "a", "b", "a,b", 'say "x"', '"', '""', "line\nline", "\r", "\r\n", "\t", "\u0000"],
  ...[
    "=1+1",
    "+1",
    "-1",
    "-1e400",
    "-x",
    "@SUM(A1)",
    "'",
    "''",
    "'=1",
    "=a,b",
    '="x"',
    "\t=",
    "\r=",
  ],
  ...["__aggregate_id", "___aggregate_id", "____aggregate_id", "_aggregate_id", "__proto__"],
  ...["é", "😀", "\ue000", "\u2028", "\ufeff", "9007199254740993", "0.1000000000000000055", "{}"],
);
const texts = fc.oneof(awkward, fc.string({ unit: awkward, maxLength: 3 }), fc.string());
const exactNumbers = fc.constantFrom(
  "9007199254740993",
  "1e400",
  "-0.30000000000000004999",
  "1.50",
);
const values = fc.oneof(
  texts.map((text) => JSON.stringify(text)),
  exactNumbers,
  jsonTexts,
);
const payloads = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .uniqueArray(fc.tuple(texts, values), { selector: ([key]) => key, maxLength: 6 })
      .map((list) => `{${list.map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(",")}}`),
  },
  { weight: 1, arbitrary: values },
);

const ids = fc.constantFrom("1", "=1", "'1", "a,b", 'a"b', "-1", "@x", "😀", "\ue000");
const types = fc.constantFrom("order", "o", "Ö", "a/b", "a?b", "A_B", "=x", "\ue000", "😀");

const stores = fc
  .uniqueArray(fc.tuple(types, ids, fc.array(payloads, { maxLength: 3 })), {
    selector: ([type, id]) => `${type}\n${id}`,
    minLength: 1,
    maxLength: 12,
  })
  .map((list) => list.flatMap(([type, id, history]) => aggregateOf(type, id, history)))
  .map((list) => list.sort(compareKeys));

/** None where a payload is not strict JSON: it could not have been appended. */
function aggregateOf(aggregate_type: string, aggregate_id: string, history: string[]): Aggregate[] {
  let state = emptyState;
  try {
    for (const payload of history) state = evolve(state, canonicalize(payload));
  } catch {
    // Generated with one key twice.
    return [];
  }
  const merkle_root = emptyRoot.toHex();
  const version = history.length;
  return [{ aggregate_type, aggregate_id, version, state, merkle_root, archived: false }];
}

async function* pagesOf(list: readonly Aggregate[], size: number) {
  for (let start = 0; start < list.length; start += size) yield list.slice(start, start + size);
}

/** Rows as they were in the store: id, then each member of the state as text. */
type Row = [id: string, members: [key: string, text: string][]];
type Read = (text: string) => Row[];

const rowsOf = (list: readonly Aggregate[]): Row[] =>
  list.map(({ aggregate_id, state }) => [aggregate_id, splitMembers(state)]);

async function exported(
  list: readonly Aggregate[],
  { format, size, pretty }: { format: Format; size: number; pretty: boolean },
): Promise<Map<string, string>> {
  using dir = tempDir();
  const output = join(dir.path, "out");
  mkdirSync(output);
  const place = placeOf({ output, format, archive: null, data_dir: join(dir.path, "none") });
  const tables = await exportTables({
    ...{ place, format, pretty, pages: pagesOf(list, size) },
    ...{ zip: false, advance: () => {} },
  });
  expect(tables.every(({ file }) => (statSync(file).mode & 0o777) === 0o600)).toBe(true);
  return new Map(
    tables.map(({ aggregate_type, file }) => [aggregate_type, readFileSync(file, "utf8")]),
  );
}

const keyOf = (column: string): string =>
  /^___+aggregate_id$/.test(column) ? column.slice(1) : column;

const readJson: Read = (text) =>
  splitElements(canonicalize(text)).map((row) => {
    const members = splitMembers(canonicalize(row));
    const id = members.find(([column]) => column === "__aggregate_id")?.[1] ?? "";
    const others = members.filter(([column]) => column !== "__aggregate_id");
    return [JSON.parse(id), sorted(others.map(([column, value]) => [keyOf(column), value]))];
  });

const sorted = (members: [string, string][]) =>
  members.sort(([left], [right]) => (left < right ? -1 : 1));

const readCsv: Read = (text) => {
  const [header = [], ...rows] = cellsOf(text);
  const columns = header.map((cell) => keyOf(cell ?? ""));
  expect(header[0]).toBe("__aggregate_id");
  const names = header.slice(1).map((cell) => Buffer.from(cell ?? ""));
  expect(names).toEqual(names.toSorted((left, right) => Buffer.compare(left, right)));
  return rows.map(([id, ...cells]) => {
    const members = cells.flatMap((cell, index): [string, string][] =>
      cell === null ? [] : [[columns[index + 1] ?? "", cell]],
    );
    return [id ?? "", sorted(members)];
  });
};

/** RFC 4180 with `\n`; null is a cell with nothing in it, not even quotes. */
function cellsOf(text: string): (string | null)[][] {
  const rows: (string | null)[][] = [[]];
  const cell = /("(?:[^"]|"")*"|[^",\r\n]*)([,\n])/y;
  for (let at = 0; at < text.length; at = cell.lastIndex) {
    cell.lastIndex = at;
    const [, raw = "", end = ""] = cell.exec(text) ?? [];
    if (end === "") throw new Error(`no cell at ${at} of ${JSON.stringify(text)}`);
    const value = raw.startsWith('"') ? raw.slice(1, -1).replaceAll('""', '"') : raw;
    expect(value).not.toMatch(/^[=+@\t\r]/);
    rows.at(-1)?.push(raw === "" ? null : value.replace(/^'/, ""));
    if (end === "\n") rows.push([]);
  }
  expect(rows.pop()).toEqual([]);
  return rows;
}

/** CSV does not tell a string from the text of an object. */
const asCells = ([id, members]: Row): Row => [
  id,
  members.map(([key, text]) => [key, text.startsWith('"') ? String(JSON.parse(text)) : text]),
];

const layouts = fc.record({
  format: fc.constantFrom<Format>("csv", "json"),
  size: fc.integer({ min: 1, max: 5 }),
  pretty: fc.boolean(),
});

test(
  "every id and member of every state comes back as it was",
  async () => {
    await fc.assert(
      fc.asyncProperty(stores, layouts, async (list, layout) => {
        const files = await exported(list, layout);
        expect([...files.keys()]).toEqual([...new Set(list.map((each) => each.aggregate_type))]);
        for (const [type, text] of files) {
          const rows = rowsOf(list.filter(({ aggregate_type }) => aggregate_type === type));
          if (layout.format === "csv") expect(readCsv(text)).toEqual(rows.map(asCells));
          else expect(readJson(text)).toEqual(rows);
        }
      }),
      runs(300),
    );
  },
  runs_ms_max,
);

test(
  "the compact rows of a JSON export are canonical JSON",
  async () => {
    await fc.assert(
      fc.asyncProperty(stores, fc.integer({ min: 1, max: 5 }), async (list, size) => {
        for (const text of (
          await exported(list, { format: "json", size, pretty: false })
        ).values()) {
          // An array lies around rows that may be as deep as states are.
          expect(`${canonicalize(text, { envelope: 2 })}\n`).toBe(text);
        }
      }),
      runs(100),
    );
  },
  runs_ms_max,
);
