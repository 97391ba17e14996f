// Schemas over HTTP: declared, changed and tried through the admin routes, and binding for every
// append from the answer on.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "../../src/client/http.ts";
import { grants, type Actor } from "../../src/model/actor.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { limits } from "../../src/model/limits.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { testConfig } from "../support/store.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const append = async (aggregate_type: string, event_type: string, payload: unknown = {}) => {
  const body = { aggregate_type, aggregate_id: "1", event_type, payload };
  const { status, json } = await server.ask("POST", "/v1/events", { body });
  return status === 200 ? "fine" : `${status} ${json.code}: ${json.message}`;
};
const create = (aggregate: string, events: readonly string[] = ["made"]) =>
  server.ask("POST", "/admin/schemas", { body: { aggregate, events } });
const change = (aggregate: string, body: unknown) =>
  server.ask("PATCH", `/admin/schemas/${encodeURIComponent(aggregate)}`, { body });

const undefinedEvent = (event: string, type: string) =>
  `400 schema_violation: schema violation: event ${event} is not defined for aggregate ${type}`;

describe("the admin routes", () => {
  test("declare a schema, which binds the next append", async () => {
    expect(await append("order", "anything")).toBe("fine");
    const { status, json, headers } = await server.ask("POST", "/admin/schemas", {
      body: { aggregate: "order", events: ["placed", "paid"], snapshot_threshold: 3 },
    });
    expect(status).toBe(201);
    expect(headers.get("cache-control")).toBe("no-store");
    expect(Object.keys(json)).toEqual([
      ...["aggregate", "snapshot_threshold", "locked", "field_locks", "hidden", "hidden_fields"],
      ...["column_types", "events", "created_at", "updated_at"],
    ]);
    expect(json).toMatchObject({ aggregate: "order", snapshot_threshold: 3 });
    expect(json.events).toEqual({ paid: { fields: [] }, placed: { fields: [] } });
    expect(await append("order", "anything")).toBe(undefinedEvent("anything", "order"));
    expect(await append("order", "placed")).toBe("fine");
    expect((await server.ask("GET", "/admin/schemas/order")).json).toEqual(json);
    const { json: all } = await server.ask("GET", "/admin/schemas");
    expect(all).toContainEqual(json);
  });

  test("change what is named, and nothing else", async () => {
    const { json: first } = await create("patch");
    const { status, json } = await change("patch", {
      ...{ snapshot_threshold: 25, locked: true },
      field_lock: { field: "secret", lock: true },
      hidden_field: { field: "ssn", hidden: true },
      add_fields: { made: ["status"], updated: ["status", "by"] },
      event_notes: { made: "the first" },
      columns: { status: { type: "text", length: { max: 9 } } },
    });
    expect(status).toBe(200);
    expect(json).toEqual({
      ...first,
      ...{ snapshot_threshold: 25, locked: true, field_locks: ["secret"], hidden_fields: ["ssn"] },
      column_types: { status: { type: "text", length: { min: null, max: 9 } } },
      events: {
        made: { fields: ["status"], notes: "the first" },
        updated: { fields: ["by", "status"] },
      },
      updated_at: json.updated_at,
    });
    expect(json.updated_at > first.updated_at).toBe(true);
    expect(await append("patch", "made", { status: "new" })).toBe(
      "400 schema_violation: schema violation: aggregate patch is locked for updates",
    );
    const lock = { field: "secret", lock: false };
    // Null takes away what missing leaves.
    const cleared = await change("patch", {
      ...{ snapshot_threshold: null, locked: false, field_lock: lock },
      ...{ remove_fields: { updated: ["by"] }, event_notes: { made: null } },
      columns: { status: null },
    });
    expect(cleared.json).toMatchObject({ snapshot_threshold: null, locked: false });
    expect(cleared.json).toMatchObject({ field_locks: [], column_types: {} });
    expect(cleared.json.events).toEqual({
      made: { fields: ["status"] },
      updated: { fields: ["status"] },
    });
    expect(await append("patch", "made", { status: "new" })).toBe("fine");
  });

  test("change all or nothing", async () => {
    const { json: first } = await create("whole");
    const { status, json } = await change("whole", {
      ...{ locked: true, add_events: ["more"] },
      columns: { age: { type: "integer", regex: ["x"] } },
    });
    expect([status, json.code]).toEqual([400, "invalid_argument"]);
    expect(json.message).toStartWith("invalid schema: ");
    expect((await server.ask("GET", "/admin/schemas/whole")).json).toEqual(first);
  });

  test("look at every member, whatever line end its name has", async () => {
    const { json: first } = await create("lines");
    const changes: readonly (readonly [string, unknown])[] = [
      ["event_notes", ["not a text"]],
      ["add_fields", "not a list"],
      ["remove_fields", { not: "a list" }],
    ];
    for (const end of ["\n", "\r", "\u2028", "\u2029"]) {
      for (const [member, value] of changes) {
        const { status, json } = await change("lines", { [member]: { [`a${end}b`]: value } });
        expect([status, json.code]).toEqual([400, "invalid_argument"]);
        expect(json.message).toStartWith(`${member}.a${end}b must be `);
      }
    }
    expect((await server.ask("GET", "/admin/schemas/lines")).json).toEqual(first);
  });

  test("remove an event by DELETE, but never the last", async () => {
    await create("less", ["a", "b/c"]);
    const gone = await server.ask("DELETE", "/admin/schemas/less/events/b%2Fc");
    expect([gone.status, Object.keys(gone.json.events)]).toEqual([200, ["a"]]);
    expect(await append("less", "b/c")).toBe(undefinedEvent("b/c", "less"));
    const rows = [
      ["less/events/a", "400 schema_violation: schema violation: aggregate less must define at"],
      ["less/events/b", "400 schema_violation: schema violation: event b is not defined for"],
      ["nobody/events/b", "404 not_found: schema not found"],
    ] as const;
    for (const [path, message] of rows) {
      const { status, json } = await server.ask("DELETE", `/admin/schemas/${path}`);
      expect(`${status} ${json.code}: ${json.message}`).toStartWith(message);
    }
    const strange = await server.ask("DELETE", "/admin/schemas/less/events/a?force=true");
    expect([strange.status, strange.json.message]).toEqual([400, "unknown member force"]);
  });

  test("try an event without appending it", async () => {
    await create("tried");
    await change("tried", { columns: { big: "integer" } });
    const check = (body: string) => server.ask("POST", "/admin/schemas/tried/validate", { body });
    const fine = await check('{"event":"made","payload":{"big":9223372036854775807}}');
    expect([fine.status, fine.json]).toEqual([
      200,
      { aggregate: "tried", event: "made", validation: "ok" },
    ]);
    // Read as a double it would be the same number.
    const above = await check('{"event":"made","payload":{"big":9223372036854775808}}');
    expect([above.status, above.json.message]).toEqual([
      400,
      "schema violation: field big exceeds signed integer range",
    ]);
    expect((await server.ask("GET", "/v1/aggregates/tried/1")).status).toBe(404);
  });

  test("take as many events, with names as long, as a schema may have; no more", async () => {
    const { schema_entries_max, schema_body_bytes_max } = limits;
    const long = "\u{10ffff}".repeat(limits.name_chars_max - 4);
    const names = Array.from({ length: schema_entries_max }, (_, index) => `${index}${long}`);
    expect((await create("large", names)).status).toBe(201);
    const more = await change("large", { add_events: ["one more"] });
    expect([more.status, more.json.code]).toEqual([400, "invalid_argument"]);
    const body = `{"aggregate":"larger","events":["${" ".repeat(schema_body_bytes_max)}"]}`;
    const above = await server.ask("POST", "/admin/schemas", { body });
    expect([above.status, above.json.code]).toEqual([413, "too_large"]);
  });

  test("take a name that looks like a command or a path", async () => {
    for (const name of ["list", "a/b", "ä b", "__proto__"]) {
      expect((await create(name)).status).toBe(201);
      const path = `/admin/schemas/${encodeURIComponent(name)}`;
      expect((await server.ask("GET", path)).json.aggregate).toBe(name);
      expect((await change(name, { add_events: ["__proto__"] })).status).toBe(200);
      expect(await append(name, "__proto__")).toBe("fine");
      expect(await append(name, "toString")).toBe(undefinedEvent("toString", name));
    }
  });
});

describe("what is wrong is told", () => {
  const rows: readonly (readonly [string, string, unknown, string])[] = [
    ["POST", "", { aggregate: "order2" }, "400 invalid_argument: events is missing"],
    [
      "POST",
      "",
      { aggregate: "x", events: [] },
      "400 invalid_argument: events must be an array of",
    ],
    ["POST", "", { aggregate: "", events: ["a"] }, "400 invalid_argument: aggregate must not be"],
    [
      "POST",
      "",
      { aggregate: "x", events: ["a"], snapshot_threshold: -1 },
      "400 invalid_argument: snapshot_threshold must be an integer",
    ],
    [
      "POST",
      "",
      { aggregate: "x", events: ["a"], event: [] },
      "400 invalid_argument: unknown member event; did you mean events?",
    ],
    [
      "POST",
      "",
      { aggregate: "known", events: ["a"] },
      "409 already_exists: schema already exists",
    ],
    ["GET", "/nobody", undefined, "404 not_found: schema not found"],
    ["PATCH", "/nobody", { locked: true }, "404 not_found: schema not found"],
    ["PATCH", "/known", { lock: true }, "400 invalid_argument: unknown member lock"],
    ["PATCH", "/known", { locked: "yes" }, "400 invalid_argument: locked must be a boolean"],
    ["PATCH", "/known", { aggregate: "other" }, "400 invalid_argument: unknown member aggregate"],
    ["PATCH", "/known", [], "400 invalid_argument: the input must be an object"],
    ["POST", "/known/validate", { event: "made" }, "400 invalid_argument: payload is missing"],
    [
      "PUT",
      "/known",
      {},
      "405 invalid_argument: this path takes GET, HEAD, PATCH, OPTIONS, not PUT",
    ],
    ["DELETE", "/known", undefined, "405 invalid_argument: this path takes GET, HEAD, PATCH"],
  ];
  beforeAll(async () => {
    await create("known");
  });
  test.each(rows)("%s /admin/schemas%s %j", async (method, path, body, wanted) => {
    const options = body === undefined ? {} : { body };
    const { status, json } = await server.ask(method, `/admin/schemas${path}`, options);
    expect(`${status} ${json.code}: ${json.message}`).toStartWith(wanted);
  });

  test("to nobody without a token, and changes are for administrators", async () => {
    const app = await server.ask("POST", "/admin/tokens", { body: { group: "app", user: "u" } });
    const body = { locked: true };
    const tries = [
      ["GET", "/admin/schemas/known", {}, 403],
      ["GET", "/admin/schemas", {}, 403],
      ["POST", "/admin/schemas/known/validate", { body: { event: "made", payload: {} } }, 200],
      ["POST", "/admin/schemas", { body: { aggregate: "new", events: ["a"] } }, 403],
      ["PATCH", "/admin/schemas/known", { body }, 403],
      ["DELETE", "/admin/schemas/known/events/made", {}, 403],
    ] as const;
    for (const [method, path, options, status] of tries) {
      const bare = await server.ask(method, path, { ...options, token: null });
      const own = await server.ask(method, path, { ...options, token: app.json.token });
      expect([bare.status, own.status]).toEqual([401, status]);
    }
    expect((await server.ask("GET", "/admin/schemas/known")).json.locked).toBe(false);
  });
});

test("the client answers what the engine answers", async () => {
  const actor: Actor = { group: "admin", user: "test", grants, scope: null, token_id: null };
  const engine = server.store.dbx;
  const { control_port: port, token } = server;
  const client = createClient({ host: "127.0.0.1", port, token, idle_ms_max: 5_000 });
  const { dbx } = client;
  try {
    const aggregate = "cli/ent ?#%";
    const made = await dbx.createSchema(actor, { aggregate, events: ["b", "a"] });
    expect(made).toEqual(await engine.getSchema(actor, { aggregate }));
    const changed = await dbx.changeSchema(actor, {
      ...{ aggregate, add_events: ["c"], snapshot_threshold: null, event_notes: { a: null } },
      columns: { n: { type: "integer", range: { max: "9" } } },
    });
    expect(changed).toEqual(await engine.getSchema(actor, { aggregate }));
    expect(await dbx.getSchema(actor, { aggregate })).toEqual(changed);
    expect(await dbx.listSchemas(actor, {})).toEqual(await engine.listSchemas(actor, {}));
    const payload = canonicalize('{"n":9}');
    const tried = { aggregate, event: "a", payload };
    expect(await dbx.validateEvent(actor, tried)).toEqual(await engine.validateEvent(actor, tried));
    const wrong = { ...tried, payload: canonicalize('{"n":9.5}') };
    const thrown = await dbx.validateEvent(actor, wrong).catch((error: unknown) => error);
    const here = await engine.validateEvent(actor, wrong).catch((error: unknown) => error);
    expect(thrown).toEqual(here);
    const left = await dbx.removeSchemaEvent(actor, { aggregate, event: "b" });
    expect(Object.keys(left.events)).toEqual(["a", "c"]);
  } finally {
    client.close();
  }
});

test("an edited file binds the next append, and a damaged one changes nothing", async () => {
  await create("edited");
  const path = join(server.directory, "schemas.json");
  const good = readFileSync(path, "utf8");
  const document = JSON.parse(good);
  document.edited.events = { other: { fields: ["by"] } };
  writeFileSync(path, JSON.stringify(document));
  expect(await append("edited", "made")).toBe(undefinedEvent("made", "edited"));
  expect(await append("edited", "other", { by: "me" })).toBe("fine");
  writeFileSync(path, good.slice(0, -20));
  expect(await append("edited", "made")).toBe(undefinedEvent("made", "edited"));
  expect(await append("edited", "other", { by: "me" })).toBe("fine");
  const refused = await change("edited", { locked: true });
  expect([refused.status, refused.json.code]).toEqual([409, "failed_precondition"]);
  const { json } = await server.ask("GET", "/admin/status");
  expect(json.figures.schemas_fault).toEndWith(` (${path})`);
  writeFileSync(path, good);
  expect(await append("edited", "made")).toBe("fine");
  expect((await server.ask("GET", "/admin/status")).json.figures).not.toHaveProperty(
    "schemas_fault",
  );
});

test("appends and changes at once: each event fits the schema of its moment", async () => {
  await create("race", ["e0"]);
  const steps = Array.from({ length: 10 }, (_, index) => `e${index + 1}`);
  for (const event of steps) {
    const before = Array.from({ length: 5 }, () => append("race", event));
    const changing = change("race", { add_events: [event] });
    const during = Array.from({ length: 5 }, () => append("race", event));
    const outcomes = await Promise.all([...before, ...during]);
    for (const outcome of outcomes)
      expect(["fine", undefinedEvent(event, "race")]).toContain(outcome);
    expect((await changing).status).toBe(200);
    // From the answer on it holds.
    expect(await append("race", event)).toBe("fine");
  }
});

describe("the restriction", () => {
  test.each([
    ["off", ["fine", "fine", "fine"]],
    [
      "default",
      [
        "fine",
        "400 schema_violation: schema violation: event other is not defined for aggregate known",
        "400 schema_violation: schema violation: aggregate locked is locked for updates",
      ],
    ],
    [
      "strict",
      [
        "400 schema_violation: schema violation: aggregate unknown requires a schema before events " +
          "can be appended when restrict=strict",
        "400 schema_violation: schema violation: event other is not defined for aggregate known",
        "400 schema_violation: schema violation: aggregate locked is locked for updates",
      ],
    ],
  ] as const)("%s, also when it changes while the server runs", async (restrict, wanted) => {
    let now: "off" | "default" | "strict" = restrict === "off" ? "strict" : "off";
    await using other = await startTestServer({
      config: { restrict: now },
      reload: async (directory) => testConfig(directory, { restrict: now }),
    });
    for (const aggregate of ["known", "locked"]) {
      await other.ask("POST", "/admin/schemas", { body: { aggregate, events: ["made"] } });
    }
    await other.ask("PATCH", "/admin/schemas/locked", { body: { locked: true } });
    now = restrict;
    const { json } = await other.ask("POST", "/admin/config/reload");
    expect(json.applied).toEqual(["restrict"]);
    const tries = [
      ["unknown", "made"],
      ["known", "other"],
      ["locked", "made"],
    ];
    const outcomes: string[] = [];
    for (const [aggregate_type, event_type] of tries) {
      const body = { aggregate_type, aggregate_id: "1", event_type, payload: {} };
      const answer = await other.ask("POST", "/v1/events", { body });
      const told = `${answer.status} ${answer.json.code}: ${answer.json.message}`;
      outcomes.push(answer.status === 200 ? "fine" : told);
    }
    expect(outcomes).toEqual([...wanted]);
  });
});
