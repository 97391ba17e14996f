// Schemas in force: changes hold at once, come one after the other, and stop at their limits.

import { Database } from "bun:sqlite";
import { describe, expect, spyOn, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RE2JS } from "re2js";
import { canonicalize } from "../../src/model/canonical.ts";
import { limits } from "../../src/model/limits.ts";
import { openStore, root } from "../support/store.ts";
import { codeOf, event, made, openSchemasIn, passes } from "../support/schemas.ts";
import { tempDir } from "../support/temp.ts";

describe("changes", () => {
  test("hold at once and come back whole", async () => {
    using dir = tempDir();
    const opened = await openSchemasIn(dir.path);
    const { operations } = opened.schemas;
    const first = await operations.createSchema(root, { ...made("p"), snapshot_threshold: 5 });
    expect(first).toMatchObject({ aggregate: "p", snapshot_threshold: 5, locked: false });
    expect(first.events).toEqual({ made: { fields: [] } });
    expect(opened.schemas.view().snapshotThresholdOf("p")).toBe(5);
    expect(await passes(opened, event("p", "moved"))).toBe("schema_violation");
    await operations.changeSchema(root, { aggregate: "p", add_events: ["moved"] });
    expect(await passes(opened, event("p", "moved"))).toBe("fine");
    const hidden_field = { field: "ssn", hidden: true };
    const last = await operations.changeSchema(root, {
      ...{ aggregate: "p", hidden: true, hidden_field },
      snapshot_threshold: null,
    });
    expect(opened.schemas.view().visibilityOf("p")).toMatchObject({
      hidden: true,
      hidden_fields: ["ssn"],
    });
    expect(opened.schemas.view().snapshotThresholdOf("p")).toBeNull();
    expect(await operations.getSchema(root, { aggregate: "p" })).toEqual(last);
    const left = await operations.removeSchemaEvent(root, { aggregate: "p", event: "made" });
    expect(Object.keys(left.events)).toEqual(["moved"]);
    expect(await passes(opened, event("p", "made"))).toBe("schema_violation");
  });

  test("of the threshold hold for the next snapshot; 0 is never, without one the configured holds", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path, { config: { snapshot_threshold: 3 } });
    const { dbx } = store;
    const schema = await dbx.createSchema(root, made("usual"));
    expect(schema.snapshot_threshold).toBeNull();
    await dbx.createSchema(root, { ...made("own"), snapshot_threshold: 4 });
    await dbx.createSchema(root, { ...made("never"), snapshot_threshold: 0 });
    const append = async (aggregate_type: string) => {
      const added = { ...event(aggregate_type, "made"), aggregate_id: "1" };
      await dbx.appendEvent(root, added);
    };
    for (let round = 0; round < 4; round++) {
      for (const type of ["own", "usual", "unknown", "never"]) await append(type);
    }
    await dbx.changeSchema(root, { aggregate: "own", snapshot_threshold: null });
    for (let round = 0; round < 2; round++) await append("own");
    using database = new Database(join(dir.path, "dbx.db"), { readonly: true });
    const rows = database
      .query("SELECT aggregate_type, snapshot.version FROM snapshot JOIN stream USING (stream_id)")
      .values();
    expect(rows.map(([type, version]) => `${type} ${version}`).sort()).toEqual([
      ...["own 4", "own 6", "unknown 3", "usual 3"],
    ]);
  });

  test("of what is unknown or there already are refused", async () => {
    using dir = tempDir();
    const { schemas, path } = await openSchemasIn(dir.path);
    const { operations } = schemas;
    await operations.createSchema(root, made("p"));
    const before = readFileSync(path, "utf8");
    const named = { aggregate: "nobody" };
    const refusals = [
      ["already_exists", () => operations.createSchema(root, made("p", ["other"]))],
      ["not_found", () => operations.getSchema(root, named)],
      ["not_found", () => operations.changeSchema(root, { ...named, locked: true })],
      ["not_found", () => operations.removeSchemaEvent(root, { ...named, event: "e" })],
      [
        "invalid_argument",
        () => operations.changeSchema(root, { aggregate: "p", columns: { n: "nt" } }),
      ],
    ] as const;
    for (const [code, work] of refusals) expect(await codeOf(work)).toBe(code);
    expect(readFileSync(path, "utf8")).toBe(before);
    const missing = operations.getSchema(root, named).catch((error: unknown) => error);
    expect(await missing).toMatchObject({ message: "schema not found", details: named });
    // After refusals changes go on.
    await operations.changeSchema(root, { aggregate: "p", locked: true });
  });

  test("that come at once lose none of one another", async () => {
    using dir = tempDir();
    const { schemas } = await openSchemasIn(dir.path);
    const { operations } = schemas;
    const names = Array.from({ length: 20 }, (_, index) => `t${String(index).padStart(2, "0")}`);
    await operations.createSchema(root, made("all"));
    await Promise.all([
      ...names.map((name) => operations.createSchema(root, made(name))),
      ...names.map((name) =>
        operations.changeSchema(root, { aggregate: "all", add_events: [name] }),
      ),
    ]);
    const listed = await operations.listSchemas(root, {});
    expect(listed.map(({ aggregate }) => aggregate)).toEqual(["all", ...names]);
    expect(Object.keys(listed[0]?.events ?? {})).toEqual(["made", ...names]);
  });

  test("that would leave a file that cannot be read are refused, whatever let them through", async () => {
    using dir = tempDir();
    const { schemas, path } = await openSchemasIn(dir.path);
    const { operations } = schemas;
    await operations.createSchema(root, made("p"));
    const before = readFileSync(path, "utf8");
    const notes: unknown = ["not a text"];
    const event_notes = { made: notes as string };
    const refused = operations.changeSchema(root, { aggregate: "p", event_notes });
    expect(await refused.catch((error: unknown) => error)).toMatchObject({
      code: "invalid_argument",
      message:
        "invalid schema: it could not be read back: schemas.json: events.made of schema p must be " +
        "a string",
    });
    expect(readFileSync(path, "utf8")).toBe(before);
    await operations.changeSchema(root, { aggregate: "p", locked: true });
  });

  test("are refused where nothing may be written", async () => {
    using dir = tempDir();
    const { schemas } = await openSchemasIn(dir.path, { writable: false });
    expect(await codeOf(() => schemas.operations.createSchema(root, made("p")))).toBe(
      "failed_precondition",
    );
    expect(readdirSync(dir.path)).toEqual([]);
  });

  test("that are under way when the store closes are made; later ones are refused", async () => {
    using dir = tempDir();
    const store = await openStore(dir.path);
    const { dbx } = store;
    const changes = ["a", "b", "c"].map((aggregate) => dbx.createSchema(root, made(aggregate)));
    const closing = store.close();
    const late = codeOf(() => dbx.createSchema(root, made("late")));
    await closing;
    const path = join(dir.path, "schemas.json");
    const left = readFileSync(path, "utf8");
    expect(Object.keys(JSON.parse(left))).toEqual(["a", "b", "c"]);
    await Promise.all(changes);
    expect(await late).toBe("unavailable");
    expect(readFileSync(path, "utf8")).toBe(left);
  });

  test("stop at the most that is kept", async () => {
    using dir = tempDir();
    const path = join(dir.path, "schemas.json");
    const schema = (aggregate: string) => ({ aggregate, events: { e: { fields: [] } } });
    const names = Array.from({ length: limits.schema_entries_max }, (_, index) => `t${index}`);
    const all = Object.fromEntries(names.map((name) => [name, schema(name)]));
    writeFileSync(path, JSON.stringify(all));
    const { schemas } = await openSchemasIn(dir.path);
    const { operations } = schemas;
    expect(await codeOf(() => operations.createSchema(root, made("more")))).toBe(
      "failed_precondition",
    );
    expect(
      await codeOf(() => operations.changeSchema(root, { aggregate: "t1", locked: true })),
    ).toBe("fine");
  });

  test("never make a file that could not be read back", async () => {
    using dir = tempDir();
    const path = join(dir.path, "schemas.json");
    const notes = "n".repeat(128);
    const names = Array.from({ length: 1_000 }, (_, index) => `${"e".repeat(250)}${index}`);
    const events = Object.fromEntries(names.map((name) => [name, { fields: [], notes }]));
    // Laid out, the file is longer than it was written here: the room is for that.
    const count = Math.floor(limits.schemas_bytes_max / 460_000);
    const types = Array.from({ length: count }, (_, index) => `t${index}`);
    writeFileSync(
      path,
      JSON.stringify(
        Object.fromEntries(types.map((aggregate) => [aggregate, { aggregate, events }])),
      ),
    );
    const { schemas } = await openSchemasIn(dir.path);
    const { operations } = schemas;
    let code = "fine";
    for (let index = 0; code === "fine" && index < 20; index++) {
      code = await codeOf(() =>
        operations.createSchema(
          root,
          made(
            `more${index}`,
            names.map((name) => `${name}é`),
          ),
        ),
      );
    }
    expect(code).toBe("too_large");
    expect(statSync(path).size).toBeLessThanOrEqual(limits.schemas_bytes_max);
    expect((await openSchemasIn(dir.path)).schemas.figures()).toEqual(schemas.figures());
  });
});

describe("an event that is only tried", () => {
  test("is judged as by default, and without a schema it is fine", async () => {
    using dir = tempDir();
    const { operations } = (await openSchemasIn(dir.path)).schemas;
    const tried = (name: string, payload = "{}") => ({
      ...{ aggregate: "p", event: name },
      payload: canonicalize(payload),
    });
    expect(await operations.validateEvent(root, tried("any"))).toEqual({
      ...{ aggregate: "p", event: "any" },
      validation: "ok",
    });
    await operations.createSchema(root, made("p"));
    await operations.changeSchema(root, { aggregate: "p", columns: { n: "integer" } });
    const codes = [
      await codeOf(() => operations.validateEvent(root, tried("made", '{"n":1}'))),
      await codeOf(() => operations.validateEvent(root, tried("made", '{"n":"x"}'))),
      await codeOf(() => operations.validateEvent(root, tried("other"))),
    ];
    expect(codes).toEqual(["fine", "schema_violation", "schema_violation"]);
    await operations.changeSchema(root, { aggregate: "p", locked: true });
    expect(await codeOf(() => operations.validateEvent(root, tried("made")))).toBe(
      "schema_violation",
    );
  });
});

describe("the restriction", () => {
  test.each([
    ["off", ["fine", "fine", "fine", "fine"]],
    ["default", ["fine", "schema_violation", "fine", "schema_violation"]],
    ["strict", ["fine", "schema_violation", "schema_violation", "schema_violation"]],
  ] as const)("%s binds as it says", async (mode, wanted) => {
    using dir = tempDir();
    const opened = await openSchemasIn(dir.path);
    const { operations } = opened.schemas;
    await operations.createSchema(root, made("known"));
    await operations.createSchema(root, made("locked"));
    await operations.changeSchema(root, { aggregate: "locked", locked: true });
    const outcomes = [
      await passes(opened, event("known", "made"), mode),
      await passes(opened, event("known", "other"), mode),
      await passes(opened, event("unknown", "made"), mode),
      await passes(opened, event("locked", "made"), mode),
    ];
    expect(outcomes).toEqual([...wanted]);
  });
});

describe("the work of matching patterns", () => {
  const heavy = (aggregate_id: string) => {
    // A match of a third of what one transaction may spend.
    const text = "a".repeat(Math.floor(limits.pattern_work_max / 3 / 1_003));
    return { ...event("p", "made", JSON.stringify({ text })), aggregate_id };
  };

  test("is bounded for one transaction, and none spends what another has", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { dbx } = store;
    await dbx.createSchema(root, made("p"));
    const columns = { text: { type: "text", regex: ["(a?){200}a{200}$"] } };
    await dbx.changeSchema(root, { aggregate: "p", columns });
    const batch = (count: number) => {
      const events = Array.from({ length: count }, (_, index) => heavy(String(index)));
      return dbx.appendEvents(root, { events });
    };
    const whole = await Promise.allSettled([batch(3), batch(4), batch(3), batch(2)]);
    const outcomes = whole.map(({ status }) => status);
    expect(outcomes).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
    const refused = await batch(4).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: "too_large",
      details: { index: 3, field: "text", limit: limits.pattern_work_max },
    });
    expect((await dbx.getAggregate(root, { aggregate_type: "p", aggregate_id: "0" })).version).toBe(
      3,
    );
  });
});

describe("patterns", () => {
  const patterned = (count: number) => ({ f: { type: "text", regex: [..."x".repeat(count)] } });

  test("are compiled only where a schema has changed, whoever changed it", async () => {
    using dir = tempDir();
    const opened = await openSchemasIn(dir.path);
    const { path, schemas } = opened;
    const { operations } = schemas;
    for (const aggregate of ["a", "b", "c"]) {
      await operations.createSchema(root, made(aggregate));
      await operations.changeSchema(root, { aggregate, columns: patterned(10) });
    }
    const compile = spyOn(RE2JS, "compile");
    try {
      await operations.createSchema(root, made("plain"));
      await operations.changeSchema(root, { aggregate: "plain", locked: true });
      writeFileSync(path, JSON.stringify(JSON.parse(readFileSync(path, "utf8"))));
      schemas.view();
      expect(compile).not.toHaveBeenCalled();
      const edited = JSON.parse(readFileSync(path, "utf8"));
      edited.b.column_types.f.regex = ["y"];
      writeFileSync(path, JSON.stringify(edited));
      expect(await passes(opened, event("b", "made", '{"f":"y"}'))).toBe("fine");
      expect(compile.mock.calls.map(([source]) => source)).toEqual(["y"]);
    } finally {
      compile.mockRestore();
    }
    expect(await passes(opened, event("a", "made", '{"f":"y"}'))).toBe("schema_violation");
    expect(await passes(opened, event("b", "made", '{"f":"x"}'))).toBe("schema_violation");
  });

  test("have a bound for all schemas together, in changes and in the file", async () => {
    using dir = tempDir();
    const path = join(dir.path, "schemas.json");
    const pattern = "x".repeat(limits.pattern_chars_max);
    const column = { type: "text", regex: [pattern] };
    const each = Math.floor(limits.schema_pattern_chars_max / pattern.length);
    const names = Array.from({ length: each }, (_, index) => `f${index}`);
    const column_types = Object.fromEntries(names.map((name) => [name, column]));
    const count = Math.floor(limits.schemas_pattern_chars_max / (each * pattern.length));
    const document = (schemas: number) =>
      Object.fromEntries(
        Array.from({ length: schemas }, (_, index) => {
          const aggregate = `t${index}`;
          return [aggregate, { aggregate, events: { made: {} }, column_types }];
        }),
      );
    writeFileSync(path, JSON.stringify({ ...document(count), last: {} }));
    const { schemas } = await openSchemasIn(dir.path);
    const columns = column_types;
    const change = { aggregate: "last", columns };
    const refused = schemas.operations.changeSchema(root, change).catch((error: unknown) => error);
    const message = `all schemas together have more than ${limits.schemas_pattern_chars_max} characters`;
    expect(await refused).toMatchObject({ code: "too_large" });
    expect(String(await refused)).toContain(message);
    expect(schemas.figures()).toEqual({ schemas: count + 1 });
    writeFileSync(path, JSON.stringify(document(count + 1)));
    expect(schemas.figures()).toMatchObject({ schemas: count + 1 });
    expect(schemas.figures()["schemas_fault"]).toStartWith(message);
    expect(await codeOf(() => openSchemasIn(dir.path))).toBe("data_corrupted");
  });
});
