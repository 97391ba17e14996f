// `staged_events.json`: exact numbers, the files of EventDBX 1, damage, and who may see what.

import { expect, test } from "bun:test";
import { readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalize } from "../../src/model/canonical.ts";
import { openStaged } from "../../src/engine/staged-file.ts";
import { realSystem } from "../../src/system.ts";
import {
  loggedIds,
  noted,
  refusalOf,
  stagedIds,
  stagedPath,
  stagedText,
} from "../support/staged.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const exact = [
  '{"a":9007199254740993,"b":1e400,"c":1.0000000000000000001,"__proto__":{"x":[1,"\\"",null]}}',
  "[18446744073709551616]",
  '"text"',
  "null",
  `${"[".repeat(128)}0${"]".repeat(128)}`,
];

test("payloads survive staging, a restart and the commit to the last digit", async () => {
  using dir = tempDir();
  {
    await using store = await openStore(dir.path);
    for (const payload of exact) {
      await store.dbx.stageEvent(root, noted("p-1", { payload: canonicalize(payload) }));
    }
  }
  const texts = exact.map((payload) => canonicalize(payload) as string);
  for (const payload of texts)
    expect(stagedText(dir.path)).toContain(`    "payload": ${payload}\n`);
  await using store = await openStore(dir.path);
  const listed = await store.dbx.listStaged(root, {});
  expect(listed.map(({ payload }) => payload as string)).toEqual(texts);
  const records = await store.dbx.commitStaged(root, {});
  expect(records.map(({ payload }) => payload as string)).toEqual(texts);
});

const old = `[
  {
    "aggregate": "patient",
    "aggregate_id": "p-1",
    "event": "added",
    "payload": { "weight": 70.50000000000000000001 },
    "issued_by": { "group": "cli", "user": "cli:jane" },
    "note": "first"
  },
  { "aggregate": "patient", "aggregate_id": "p-1", "event": "noted" },
  { "aggregate": "patient", "aggregate_id": "p-1", "event": "noted" }
]`;

test("a file of EventDBX 1 is taken over, and its events have the same ids at every look", async () => {
  using dir = tempDir();
  await (await openStore(dir.path)).close();
  writeFileSync(stagedPath(dir.path), old);
  let looked: string[];
  {
    await using reading = await openStore(dir.path, { access: "read" });
    const listed = await reading.dbx.listStaged(root, {});
    expect(listed).toMatchObject([
      { event_type: "added", note: "first", issued_by: { user: "cli:jane" }, staged_at: null },
      { event_type: "noted", note: null, issued_by: null, expected_version: "any" },
      { event_type: "noted" },
    ]);
    expect(listed.map(({ payload }) => payload as string)).toEqual([
      '{"weight":70.50000000000000000001}',
      "null",
      "null",
    ]);
    looked = await stagedIds(reading);
  }
  expect(new Set(looked).size).toBe(3);
  expect(stagedText(dir.path)).toBe(old);
  await using store = await openStore(dir.path);
  expect(await stagedIds(store)).toEqual(looked);
  const [discarded] = await store.dbx.discardStaged(root, { event_id: looked[1] ?? "" });
  expect(discarded?.event_id).toBe(looked[1] ?? "");
  expect(stagedText(dir.path)).toContain(`"event_id": "${looked[2]}"`);
  const [added] = await store.dbx.commitStaged(root, {});
  expect(added?.metadata.issued_by).toEqual({ group: "cli", user: "cli:jane" });
  expect(await loggedIds(store)).toEqual([looked[0] ?? "", looked[2] ?? ""]);
});

test("the same file of EventDBX 1 put there again is new events, not the old ones", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  for (const round of [1, 2]) {
    writeFileSync(stagedPath(dir.path), old);
    expect(await store.dbx.commitStaged(root, {})).toHaveLength(3);
    expect(new Set(await loggedIds(store)).size).toBe(3 * round);
  }
});

test("events of EventDBX 1 are not committed before their ids are written down", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  // Beside a name this long no temporary file fits.
  const aside = join(dir.path, "a".repeat(250));
  writeFileSync(aside, old);
  symlinkSync(aside, stagedPath(dir.path));
  expect((await refusalOf(store.dbx.commitStaged(root, {}))).code).toBe("unavailable");
  expect(await loggedIds(store)).toEqual([]);
  expect(await store.dbx.listStaged(root, {})).toHaveLength(3);
});

test("a commit of events of EventDBX 1 that a crash cuts short is not done twice", async () => {
  using dir = tempDir();
  let atCommit: string | undefined;
  const random = (bytes: number) => {
    if (atCommit === "") atCommit = stagedText(dir.path);
    return realSystem.random(bytes);
  };
  await using store = await openStore(dir.path, { system: { random } });
  writeFileSync(stagedPath(dir.path), old);
  atCommit = "";
  expect(await store.dbx.commitStaged(root, {})).toHaveLength(3);
  // What the file held when the events were handed in, and would hold had it not been emptied.
  writeFileSync(stagedPath(dir.path), atCommit);
  for (const id of await loggedIds(store)) expect(stagedText(dir.path)).toContain(id);
  expect(await store.dbx.commitStaged(root, {})).toEqual([]);
  expect(stagedText(dir.path)).toBe("[]\n");
});

test("a missing and a blank file hold no events", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  expect(await store.dbx.listStaged(root, {})).toEqual([]);
  expect(await store.dbx.discardStaged(root, { all: true })).toEqual([]);
  expect(readdirSync(dir.path)).not.toContain("staged_events.json");
  for (const text of ["", " \n", "[]", "\ufeff[ ]\n"]) {
    writeFileSync(stagedPath(dir.path), text);
    expect(await store.dbx.commitStaged(root, {})).toEqual([]);
  }
  await store.dbx.stageEvent(root, noted("p-1"));
  expect(await stagedIds(store)).toHaveLength(1);
});

const whole = '{"aggregate":"a","aggregate_id":"1","event":"noted"';
const damaged = [
  ["cut short", `[${whole}}`],
  ["no list", `${whole}}`],
  ["another document", '{"a":1}'],
  ["no object", "[1]"],
  ["a member missing", '[{"aggregate":"a","event":"noted"}]'],
  ["a member nobody knows", `[${whole},"when":1}]`],
  ["a name that cannot be", `[${whole},"aggregate":""}]`],
  ["an id that is none", `[${whole},"event_id":"1"}]`],
  ["a member twice", `[${whole},"event":"noted"}]`],
  ["bytes that are no text", Uint8Array.of(0x5b, 0xff, 0x5d)],
] as const;

test.each(damaged)("a damaged file (%s) is named and never overwritten", async (_, bytes) => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const path = stagedPath(dir.path);
  writeFileSync(path, bytes);
  const { mtimeNs } = statSync(path, { bigint: true });
  const { dbx } = store;
  for (const step of [
    () => dbx.stageEvent(root, noted("p-1")),
    () => dbx.listStaged(root, {}),
    () => dbx.commitStaged(root, {}),
    () => dbx.discardStaged(root, { all: true }),
  ]) {
    const refusal = await refusalOf(step());
    expect(refusal.code).toBe("data_corrupted");
    expect(refusal.details).toMatchObject({ path });
    expect(refusal.message).toContain(path);
  }
  expect(statSync(path, { bigint: true }).mtimeNs).toBe(mtimeNs);
});

test("an event type of dbx's own in the file is refused by the commit, by name", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  writeFileSync(stagedPath(dir.path), '[{"aggregate":"a","aggregate_id":"1","event":"$erased"}]');
  const refusal = await refusalOf(store.dbx.commitStaged(root, {}));
  expect(refusal.code).toBe("invalid_argument");
  expect(refusal.message).toStartWith("staged event 0 (a/1 $erased, id ");
});

test("a store opened for reading lists and changes nothing", async () => {
  using dir = tempDir();
  {
    await using store = await openStore(dir.path);
    await store.dbx.stageEvent(root, noted("p-1"));
    await store.dbx.stageEvent(root, noted("p-2"));
  }
  const before = stagedText(dir.path);
  {
    await using store = await openStore(dir.path);
    await store.dbx.commitStaged(root, {});
  }
  // As after a crash between the commit and the emptying of the file.
  writeFileSync(stagedPath(dir.path), before);
  await using reading = await openStore(dir.path, { access: "read" });
  expect(await stagedIds(reading)).toEqual([]);
  const { dbx } = reading;
  for (const step of [
    () => dbx.stageEvent(root, noted("p-3")),
    () => dbx.commitStaged(root, {}),
    () => dbx.discardStaged(root, { all: true }),
  ]) {
    expect((await refusalOf(step())).message).toBe("the database is open for reading only");
  }
  expect(stagedText(dir.path)).toBe(before);
});

test("what the file holds is parsed once, until somebody changes it", async () => {
  using dir = tempDir();
  const path = stagedPath(dir.path);
  const file = openStaged(path, null);
  expect((await file.read()).events).toEqual([]);
  writeFileSync(path, '[{"aggregate":"a","aggregate_id":"1","event":"noted"}]');
  const first = await file.read();
  expect(first.events).toMatchObject([{ aggregate_type: "a" }]);
  expect(await file.read()).toBe(first);
  await file.write(first.events);
  const written = await file.read();
  expect(written.events).toBe(first.events);
  expect(written.derived.size).toBe(0);
  expect((await openStaged(path, null).read()).events).toEqual(first.events);
  writeFileSync(path, "[]");
  expect((await file.read()).events).toEqual([]);
  writeFileSync(path, "no");
  for (const _ of [1, 2]) expect((await refusalOf(file.read())).code).toBe("data_corrupted");
  rmSync(path);
  expect((await file.read()).events).toEqual([]);
});
