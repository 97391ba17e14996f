// Whoever edits schemas.json by hand leaves a trace, too: by nobody who is known, once for each
// change, whether the store is open or not.

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Actor } from "../../src/model/actor.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const jane: Actor = { ...root, group: "admin", user: "jane" };

const fileOf = (data_dir: string) => {
  const path = join(data_dir, "schemas.json");
  return {
    read: (): Record<string, Record<string, unknown>> => JSON.parse(readFileSync(path, "utf8")),
    write: (schemas: unknown, indent = 0) =>
      writeFileSync(
        path,
        typeof schemas === "string" ? schemas : JSON.stringify(schemas, null, indent),
      ),
  };
};

/** What is told of schemas, once the store has looked at the file. */
async function told(store: TestStore) {
  await store.dbx.listSchemas(root, {});
  await store.tellSchemas();
  const trail = await store.dbx.listAudit(root, { action: "schema" });
  return trail.map(({ action, subject, issued_by, details }) => {
    const { file, changed } = JSON.parse(details);
    return [action, subject, issued_by?.user ?? null, file === true ? changed : "asked"];
  });
}

test("an edit while the store is open is told once, by what it changed", async () => {
  using dir = tempDir();
  const file = fileOf(dir.path);
  await using store = await openStore(dir.path);
  expect(await told(store)).toEqual([]);
  await store.dbx.createSchema(jane, { aggregate: "a", events: ["x"] });
  await store.dbx.createSchema(jane, { aggregate: "b", events: ["x"] });
  const asked = [
    ["schema.create", "a", "jane", "asked"],
    ["schema.create", "b", "jane", "asked"],
  ];
  expect(await told(store)).toEqual(asked);

  const { a, b } = file.read();
  file.write({ a, b }, 4);
  expect(await told(store)).toEqual(asked);
  file.write({ a, b: { ...b, locked: true }, c: { ...b, aggregate: "c" } });
  const edited = [...asked, ["schema.change", null, null, ["b", "c"]]];
  expect(await told(store)).toEqual(edited);
  file.write("{ damaged");
  expect(await told(store)).toEqual(edited);
  file.write({ a });
  const gone = [...edited, ["schema.change", null, null, ["b", "c"]]];
  expect(await told(store)).toEqual(gone);
  await store.dbx.changeSchema(jane, { aggregate: "a", locked: true });
  expect(await told(store)).toEqual([...gone, ["schema.change", "a", "jane", "asked"]]);
  expect((await store.dbx.verifyLog(root, {})).position).toBe(0);
});

test("the store notices an edit when it next looks at the file, without being asked", async () => {
  using dir = tempDir();
  const file = fileOf(dir.path);
  {
    await using store = await openStore(dir.path);
    await store.dbx.createSchema(jane, { aggregate: "a", events: ["x"] });
    file.write({ a: { ...file.read()["a"], locked: true } });
    await store.dbx.listSchemas(root, {});
    // Closing waits for what is being told.
  }
  await using store = await openStore(dir.path);
  expect((await store.dbx.listAudit(root, {})).map(({ action }) => action)).toEqual([
    "schema.create",
    "schema.change",
  ]);
});

test("an edit while nobody looks is told at the next start, or before the next change", async () => {
  using dir = tempDir();
  const file = fileOf(dir.path);
  {
    await using store = await openStore(dir.path);
    await store.dbx.createSchema(jane, { aggregate: "a", events: ["x"] });
  }
  {
    await using store = await openStore(dir.path);
    expect(await told(store)).toHaveLength(1);
  }
  const { a } = file.read();
  file.write({ a: { ...a, hidden: true } });
  {
    await using store = await openStore(dir.path);
    expect((await told(store)).slice(1)).toEqual([["schema.change", null, null, null]]);
  }
  file.write({ a });
  await using store = await openStore(dir.path);
  await store.dbx.changeSchema(jane, { aggregate: "a", locked: true });
  expect((await told(store)).slice(2)).toEqual([
    ["schema.change", null, null, null],
    ["schema.change", "a", "jane", "asked"],
  ]);
});

test("schemas that nobody declared by command are told when they are first seen", async () => {
  using dir = tempDir();
  using elsewhere = tempDir();
  {
    await using store = await openStore(elsewhere.path);
    await store.dbx.createSchema(jane, { aggregate: "a", events: ["x"] });
  }
  fileOf(dir.path).write(fileOf(elsewhere.path).read());
  await using store = await openStore(dir.path);
  expect(await told(store)).toEqual([["schema.change", null, null, null]]);
  await using reading = await openStore(dir.path, { access: "read" });
  await reading.tellSchemas();
  expect(await told(store)).toHaveLength(1);
});
