// The file of schemas: what it means at the start, what somebody else's edit does while the server
// runs, and that damage changes nothing and is overwritten by nobody.

import { describe, expect, test } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { Schemas } from "../../src/engine/schemas.ts";
import { DbxError } from "../../src/model/error.ts";
import { root } from "../support/store.ts";
import { codeOf, event, made, openSchemasIn, passes } from "../support/schemas.ts";
import { tempDir } from "../support/temp.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

describe("the file", () => {
  test.each([null, "", " \n", "{}", "{}\n"])("%j means no schemas", async (content) => {
    using dir = tempDir();
    if (content !== null) writeFileSync(join(dir.path, "schemas.json"), content);
    const opened = await openSchemasIn(dir.path);
    expect(await opened.schemas.operations.listSchemas(root, {})).toEqual([]);
    expect(opened.schemas.figures()).toEqual({ schemas: 0 });
    expect(await passes(opened, event("a", "any"))).toBe("fine");
    expect(await passes(opened, event("a", "any"), "strict")).toBe("schema_violation");
    // Nothing is written before there is something to write.
    expect(readdirSync(dir.path)).toEqual(content === null ? [] : ["schemas.json"]);
  });

  test.each([
    ["{", "schemas.json"],
    ["[]", "schemas.json"],
    ['{"a":1}', "schemas.json"],
    [JSON.stringify({ a: { aggregate: "a", events: 5 } }), "events"],
    [
      JSON.stringify({
        a: { aggregate: "a", events: { x: { fields: [] } }, column_types: { n: "nt" } },
      }),
      "nt",
    ],
  ])("%s stops everything at the start", async (content, named) => {
    using dir = tempDir();
    const path = join(dir.path, "schemas.json");
    writeFileSync(path, content);
    const error = await openSchemasIn(dir.path).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "data_corrupted", details: { path } });
    expect(error).toBeInstanceOf(DbxError);
    expect(String(error)).toContain(path);
    expect(String(error)).toContain(named);
    expect(readFileSync(path, "utf8")).toBe(content);
  });

  test("is its owner's alone, is replaced whole, and stays where a link leads", async () => {
    using dir = tempDir();
    mkdirSync(join(dir.path, "elsewhere"));
    const real = join(dir.path, "elsewhere", "real.json");
    writeFileSync(real, "{}", { mode: 0o644 });
    symlinkSync(real, join(dir.path, "schemas.json"));
    const { path, schemas } = await openSchemasIn(dir.path);
    const before = statSync(real).ino;
    const schema = await schemas.operations.createSchema(root, made("b", ["y", "x"]));
    expect(statSync(real).ino).not.toBe(before);
    expect(statSync(real).mode & 0o777).toBe(0o600);
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
    expect(readdirSync(join(dir.path, "elsewhere"))).toEqual(["real.json"]);
    await schemas.operations.createSchema(root, made("a"));
    const text = readFileSync(path, "utf8");
    expect(text).toStartWith('{\n  "a": {\n    "aggregate": "a",\n');
    expect(Object.keys(JSON.parse(text))).toEqual(["a", "b"]);
    expect(JSON.parse(text).b).toEqual(schema);
    // Whoever opens it next has the same.
    const again = await openSchemasIn(dir.path);
    expect(await again.schemas.operations.getSchema(root, { aggregate: "b" })).toEqual(schema);
  });
});

describe("an edit by somebody else", () => {
  test("holds at once, and the next change keeps it", async () => {
    using dir = tempDir();
    const opened = await openSchemasIn(dir.path);
    const { path, schemas } = opened;
    await schemas.operations.createSchema(root, made("p"));
    const edited = JSON.parse(readFileSync(path, "utf8"));
    edited.p.events.edited = { fields: ["ward"] };
    edited.q = { aggregate: "q", events: { asked: { fields: [] } } };
    writeFileSync(path, JSON.stringify(edited));
    expect(await passes(opened, event("p", "edited", '{"ward":"a"}'))).toBe("fine");
    expect(await passes(opened, event("p", "edited"))).toBe("schema_violation");
    expect(await passes(opened, event("q", "made"))).toBe("schema_violation");
    await schemas.operations.changeSchema(root, { aggregate: "p", locked: true });
    const after = JSON.parse(readFileSync(path, "utf8"));
    expect(Object.keys(after)).toEqual(["p", "q"]);
    expect(after.p).toMatchObject({ locked: true, events: { edited: { fields: ["ward"] } } });
    writeFileSync(path, "{}");
    expect(await passes(opened, event("p", "any"))).toBe("fine");
    expect(schemas.figures()).toEqual({ schemas: 0 });
    rmSync(path);
    await schemas.operations.createSchema(root, made("again"));
  });

  test("that takes the file away for a moment neither opens nor shows anything", async () => {
    using dir = tempDir();
    const opened = await openSchemasIn(dir.path);
    const { path, schemas } = opened;
    await schemas.operations.createSchema(root, made("p"));
    await schemas.operations.changeSchema(root, { aggregate: "p", hidden: true });
    const moved = join(dir.path, "moved.json");
    const gone = [
      () => renameSync(path, moved),
      // A deploy puts the link in place before what it leads to.
      () => symlinkSync(join(dir.path, "later.json"), path),
    ];
    for (const take of gone) {
      take();
      for (let round = 0; round < 2; round++) {
        expect(await passes(opened, event("p", "other"))).toBe("schema_violation");
        expect(schemas.view().visibilityOf("p").hidden).toBe(true);
      }
      expect(schemas.figures()).toEqual({
        schemas: 1,
        schemas_fault: `schemas.json is missing; restore it, or write {} to have no schemas (${path})`,
      });
      const change = { aggregate: "p", locked: true };
      expect(await codeOf(() => schemas.operations.changeSchema(root, change))).toBe(
        "failed_precondition",
      );
    }
    expect(readdirSync(dir.path).sort()).toEqual(["moved.json", "schemas.json"]);
    renameSync(moved, join(dir.path, "later.json"));
    expect(schemas.figures()).toEqual({ schemas: 1 });
    await schemas.operations.changeSchema(root, { aggregate: "p", locked: true });
  });

  test("that damages the file changes nothing and is overwritten by nobody", async () => {
    using dir = tempDir();
    const opened = await openSchemasIn(dir.path);
    const { path, schemas, lines } = opened;
    await schemas.operations.createSchema(root, made("p"));
    const good = readFileSync(path, "utf8");
    lines.length = 0;
    // An empty file is what a write under way leaves, or a full disk.
    for (const damaged of [good.slice(0, -9), "", `${good}}`]) {
      writeFileSync(path, damaged);
      for (let round = 0; round < 3; round++) {
        expect(await passes(opened, event("p", "other"))).toBe("schema_violation");
        expect(await passes(opened, event("p", "made"))).toBe("fine");
      }
      const { schemas: count, schemas_fault } = schemas.figures();
      expect(count).toBe(1);
      expect(schemas_fault).toEndWith(` (${path})`);
      const change = { aggregate: "p", locked: true };
      const refusal = schemas.operations
        .changeSchema(root, change)
        .catch((error: unknown) => error);
      expect(await refusal).toMatchObject({
        code: "failed_precondition",
        message: `schemas cannot be changed before the file is repaired: ${schemas_fault}`,
      });
      expect(readFileSync(path, "utf8")).toBe(damaged);
    }
    expect(lines.map((line) => line.split(" ")[1])).toEqual(["error", "error", "error"]);
    writeFileSync(path, good.replace("made", "mended"));
    expect(await passes(opened, event("p", "mended"))).toBe("fine");
    expect(schemas.figures()).toEqual({ schemas: 1 });
    await schemas.operations.changeSchema(root, { aggregate: "p", locked: true });
  });

  test(`in any order with changes leaves what a plain list of both has (SEED=${seed})`, async () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constantFrom("create" as const, "add" as const),
        name: fc.constantFrom("a", "b"),
      }),
      fc.constantFrom("edit" as const, "damage" as const, "repair" as const),
      fc.constantFrom("remove" as const, "clear" as const),
    );
    const property = fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (steps) => {
      using dir = tempDir();
      const { path, schemas } = await openSchemasIn(dir.path);
      const expected: Expected = new Map();
      let damaged = false;
      for (const [index, taken] of steps.entries()) {
        if (typeof taken === "object") {
          const change = { ...taken, event: `e${index}` };
          const wanted = damaged ? "failed_precondition" : outcomeOf(change, expected);
          expect(await codeOf(() => ask(change, schemas))).toBe(wanted);
          continue;
        }
        // What is gone must be brought back, unless there was nothing in it.
        damaged = taken === "damage" || (taken === "remove" && expected.size > 0);
        if (taken === "edit") expected.set("c", [`e${index}`]);
        if (taken === "clear") expected.clear();
        if (taken === "remove") rmSync(path, { force: true });
        else writeFileSync(path, taken === "damage" ? `{${index}` : documentOf(expected));
        const listed = await schemas.operations.listSchemas(root, {});
        const events = listed.map((each) => [each.aggregate, Object.keys(each.events)] as const);
        expect(new Map(events)).toEqual(expected);
      }
    });
    await fc.assert(property, { seed, numRuns: 60 });
  });
});

/** Events by schema. */
type Expected = Map<string, string[]>;

interface Change {
  readonly kind: "create" | "add";
  readonly name: string;
  readonly event: string;
}

const ask = ({ kind, name, event: added }: Change, { operations }: Schemas) =>
  kind === "create"
    ? operations.createSchema(root, made(name))
    : operations.changeSchema(root, { aggregate: name, add_events: [added] });

/** What must come of a change, which is made to the list as well. */
function outcomeOf({ kind, name, event: added }: Change, expected: Expected): string {
  const known = expected.get(name);
  if (kind === "create") {
    if (known !== undefined) return "already_exists";
    expected.set(name, ["made"]);
    return "fine";
  }
  if (known === undefined) return "not_found";
  expected.set(name, [...known, added].sort());
  return "fine";
}

const documentOf = (expected: Expected): string =>
  JSON.stringify(
    Object.fromEntries(
      [...expected].map(([aggregate, names]) => {
        const events = Object.fromEntries(names.map((name) => [name, { fields: [] }]));
        return [aggregate, { aggregate, events }];
      }),
    ),
  );
