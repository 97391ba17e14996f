// `/openapi.json` is right: it fits the official schema of OpenAPI 3.1, has every route that is
// served, and whatever is asked by it, right or wrong, is answered as it says.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import fc from "fast-check";
import { routes } from "../../src/api/routes.ts";
import {
  createJudge,
  fitting,
  operationsOf,
  responseOf,
  spoiled,
  type Document,
  type Operation,
} from "../support/openapi.ts";
import { startTestServer, type Answer, type TestServer } from "../support/server.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(performance.timeOrigin + performance.now()));

let server: TestServer;
let text: string;
let document: Document;
let judge: ReturnType<typeof createJudge>;
beforeAll(async () => {
  server = await startTestServer();
  const answer = await server.ask("GET", "/openapi.json", { token: null });
  ({ text, json: document } = answer);
  judge = createJudge(document);
});
afterAll(() => server[Symbol.asyncDispose]());

test("it is valid OpenAPI 3.1 by the official schema", async () => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(JSON.parse(text));
  expect([valid, errors ?? []]).toEqual([true, []]);
  expect(validator.version).toBe("3.1");
  // The validator finds what is wrong.
  const broken = { ...JSON.parse(text), paths: { "/x": { get: { responses: 7 } } } };
  expect((await new Validator().validate(broken)).valid).toBe(false);
});

test("it has every route that is served and the stream, and each has a name of its own", () => {
  const described = operationsOf(document);
  const served = routes.map(({ method, path, operation }) => `${operation}: ${method} ${path}`);
  const shown = described.map(
    ({ operationId, method, path }) => `${operationId}: ${method} ${path}`,
  );
  expect(shown.sort()).toEqual([...served, "followLog: GET /v1/events/stream"].sort());
});

test("what is off is not in it", async () => {
  const config = { api: { rest: false, graphql: true, grpc: true } };
  await using admin = await startTestServer({ config });
  const { json } = await admin.ask("GET", "/openapi.json", { token: null });
  const paths = Object.keys(json.paths);
  expect(paths.filter((path) => path.startsWith("/v1/"))).toEqual([]);
  expect(paths).toContain("/admin/tokens");
  expect((await new Validator().validate(json)).valid).toBe(true);
});

test("our own annotations stay with us", () => {
  expect(text).not.toMatch(/"(?:fault|urlLength|\$id|live)":|"secret":true/);
  expect(text).not.toMatch(/"name":(?:true|false)/);
});

test("every reference leads somewhere, and everything named is used", () => {
  const used = new Set(
    [...text.matchAll(/"\$ref":"#\/components\/(\w+\/[\w-]+)"/g)].map(([, ref]) => ref),
  );
  const { schemas, responses, headers } = document.components;
  const named = Object.entries({ schemas, responses, headers }).flatMap(([kind, members]) =>
    Object.keys(members).map((name) => `${kind}/${name}`),
  );
  expect([...used].filter((ref) => !named.includes(ref ?? ""))).toEqual([]);
  // A method that a path does not take is no operation's answer.
  expect(named.filter((name) => !used.has(name))).toEqual(["responses/Error405"]);
});

test("every example fits the schema it is an example of", () => {
  for (const [name, schema] of Object.entries(document.components.schemas)) {
    const fits = judge({ $ref: `#/components/schemas/${name}` });
    for (const example of schema.examples ?? []) {
      expect([name, fits(example), fits.errors]).toEqual([name, true, null]);
    }
  }
  for (const { operationId, requestBody } of operationsOf(document)) {
    const { schema, example } = requestBody?.content["application/json"] ?? {};
    if (schema === undefined || example === undefined) continue;
    expect([operationId, judge(schema)(example)]).toEqual([operationId, true]);
  }
});

/** Holds an answer against what the document says of its status. */
function expectDocumented(operation: Operation, answer: Answer): void {
  const { operationId } = operation;
  const { status, headers, json } = answer;
  const response = responseOf(document, operation, status);
  expect([operationId, status, response !== undefined]).toEqual([operationId, status, true]);
  const required = Object.keys(response?.headers ?? {}).filter((name) => name !== "X-Next-Cursor");
  expect(required.filter((name) => !headers.has(name))).toEqual([]);
  const schema = response?.content?.["application/json"]?.schema;
  if (schema === undefined) return expect(json).toBeUndefined();
  expect(headers.get("content-type")).toBe("application/json");
  const fits = judge(schema);
  const fitted = fits(json);
  expect([operationId, status, fitted, fitted ? null : fits.errors]).toEqual([
    ...[operationId, status, true, null],
  ]);
}

interface Asked {
  readonly path: Record<string, string | undefined>;
  readonly query: Record<string, string | undefined>;
  readonly headers: Record<string, string | undefined>;
  readonly body: unknown;
}

const given = (values: Record<string, string | undefined>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );

function send(operation: Operation, asked: Asked, token?: null): Promise<Answer> {
  const path = operation.path.replaceAll(/\{(\w+)\}/g, (_, name) =>
    encodeURIComponent(asked.path[name] ?? ""),
  );
  const query = new URLSearchParams(given(asked.query)).toString();
  return server.ask(operation.method, query === "" ? path : `${path}?${query}`, {
    ...(token === null ? { token } : {}),
    headers: given(asked.headers),
    ...(asked.body === undefined ? {} : { body: JSON.stringify(asked.body) }),
  });
}

const aboutPlugins = [
  ...["putPlugin", "listPlugins", "testPlugins", "replayPlugin", "listQueue", "retryQueue"],
  ...["clearQueue", "disablePlugin", "enablePlugin", "disablePlugin", "removePlugin"],
].map((name) => [name, { name: "audit" }] as const);

test("each operation succeeds with its examples, and answers as documented", async () => {
  const patient = { aggregate_type: "patient", aggregate_id: "p-001" };
  const empty = { ...patient, aggregate_id: "p-002" };
  const schema = { aggregate: "patient", event: "patient-added" };
  const { json: own } = await server.ask("POST", "/admin/tokens", {
    body: { group: "app", user: "u" },
  });
  const token = { token: String(own.id) };
  const order: readonly (readonly [string, Record<string, string>])[] = [
    ["health", {}],
    ...(["appendEvent", "appendEvents", "createAggregate"] as const).map(
      (name) => [name, {}] as const,
    ),
    ...(["readLog", "listAggregates", "exportAggregates"] as const).map(
      (name) => [name, {}] as const,
    ),
    ["getAggregate", patient],
    ["listEvents", patient],
    ["verifyAggregate", patient],
    ["createSnapshot", patient],
    ["archiveAggregate", patient],
    ["restoreAggregate", patient],
    ["removeAggregate", empty],
    ["stageEvent", {}],
    ["listStaged", {}],
    ["commitStaged", {}],
    ["discardStaged", {}],
    ["createSchema", {}],
    ["listSchemas", {}],
    ["getSchema", schema],
    ["changeSchema", schema],
    ["validateEvent", schema],
    ["removeSchemaEvent", schema],
    ...aboutPlugins,
    ["issueToken", {}],
    ["listTokens", {}],
    ["refreshToken", token],
    ["revokeToken", token],
    ["verifyLog", {}],
    ["listAudit", {}],
    ...(["listPositions", "rootsAt", "readForeign", "applySchemas", "listRemotes"] as const).map(
      (name) => [name, {}] as const,
    ),
    ["serverStatus", {}],
  ];
  const described = operationsOf(document);
  for (const [name, path] of order) {
    const operation = described.find(({ operationId }) => operationId === name);
    if (operation === undefined) throw new Error(`${name} is not described`);
    const body = operation.requestBody?.content["application/json"]?.example;
    const answer = await send(operation, { path, query: {}, headers: {}, body });
    expect([name, Math.floor(answer.status / 100)]).toEqual([name, 2]);
    expectDocumented(operation, answer);
  }
  const left = described.filter(({ operationId }) => !order.some(([name]) => name === operationId));
  // No configuration file, no key and no other node stand behind this server, and a stream never
  // ends; all have tests of their own.
  expect(left.map(({ operationId }) => operationId).sort()).toEqual([
    "eraseAggregate",
    "followLog",
    "importEvents",
    "putRemote",
    "reloadConfig",
    "removeRemote",
    "rotateKey",
  ]);
});

test("the stream begins and is refused as documented", async () => {
  const stream = operationsOf(document).find(({ operationId }) => operationId === "followLog");
  if (stream === undefined) throw new Error("the stream is not described");
  const { path } = stream;
  const refusals = [
    ["?after=x", 400],
    ["?after=999999", 409],
    ["?include_hidden=maybe", 400],
  ] as const;
  for (const [query, status] of refusals) {
    const answer = await server.ask("GET", `${path}${query}`);
    expect([query, answer.status]).toEqual([query, status]);
    expectDocumented(stream, answer);
  }
  // Without a body it ends at once.
  const head = await server.ask("HEAD", path);
  const described = responseOf(document, stream, head.status);
  expect(head.headers.get("content-type")).toBe(Object.keys(described?.content ?? {})[0] ?? "none");
  expect(Object.keys(described?.headers ?? {}).filter((name) => !head.headers.has(name))).toEqual(
    [],
  );
});

/** A request that the document describes, mostly right in each of its parts. */
function requestOf({ parameters, requestBody }: Operation): fc.Arbitrary<Asked> {
  const place = (where: string) =>
    parameters
      .filter((parameter) => parameter.in === where)
      .map((parameter) => {
        const right = fitting(document, parameter.schema).map(String);
        const value =
          where === "query" ? fc.oneof({ weight: 4, arbitrary: right }, fc.string()) : right;
        return [parameter.name, value] as const;
      });
  const texts = (where: string, requiredKeys: [] | undefined) =>
    fc.record(Object.fromEntries(place(where)), { ...(requiredKeys ? { requiredKeys } : {}) });
  const schema = requestBody?.content["application/json"]?.schema;
  const right = schema === undefined ? fc.constant(undefined) : fitting(document, schema);
  const visible = /^[\x21-\x7e]+$/;
  return fc.record({
    // Clients tidy `.` and `..` out of a path before it is sent.
    path: texts("path", undefined).filter((values) =>
      Object.values(values).every((value) => !/^\.{1,2}$/.test(value ?? "")),
    ),
    query: texts("query", []),
    headers: texts("header", []).filter((values) =>
      Object.values(values).every((value) => visible.test(value ?? "")),
    ),
    body: schema === undefined ? right : fc.oneof(right, spoiled(right)),
  });
}

describe("requests made from the document", () => {
  test(`are answered as it says, and refused where it says they are wrong (SEED=${seed})`, async () => {
    const described = operationsOf(document).filter(
      ({ operationId }) => operationId !== "followLog",
    );
    const counts = { accepted: 0, refused: 0 };
    for (const operation of described) {
      const schema = operation.requestBody?.content["application/json"]?.schema;
      await fc.assert(
        fc.asyncProperty(requestOf(operation), async (asked) => {
          const answer = await send(operation, asked);
          expectDocumented(operation, answer);
          const { status, json } = answer;
          if (status < 300) counts.accepted++;
          else counts.refused++;
          // A condition is no part of the body; it has a test of its own.
          const { headers } = asked;
          const conditional = [headers["If-Match"], headers["If-None-Match"]].some(Boolean);
          if (schema === undefined || status === 413 || conditional) return;
          // Where the body is wrong by the document it is refused; where it is right, what is
          // refused is nothing that the document could have said: the gate would name its path.
          const fits = judge(schema)(asked.body);
          if (!fits) expect([asked.body, status]).toEqual([asked.body, 400]);
          else expect([asked.body, json?.details?.path]).toEqual([asked.body, undefined]);
        }),
        { seed, numRuns: 40, endOnFailure: true },
      );
    }
    expect(counts.accepted).toBeGreaterThan(50);
    expect(counts.refused).toBeGreaterThan(50);
  }, 60_000);

  test("need a token where it says so, and only there", async () => {
    for (const operation of operationsOf(document)) {
      const path = Object.fromEntries(operation.parameters.map(({ name }) => [name, "x"]));
      const answer = await send(operation, { path, query: {}, headers: {}, body: undefined }, null);
      const isOpen = operation.security?.length === 0;
      expect([operation.operationId, answer.status]).toEqual([
        ...[operation.operationId, isOpen ? 200 : 401],
      ]);
      expectDocumented(operation, answer);
    }
  });
});
