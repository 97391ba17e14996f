/**
 * GraphQL over HTTP: the examples of the documentation as they stand there, who gets in, what comes
 * back with which status, and numbers that stay as they were written.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { root } from "../support/store.ts";
import { bodyOf, post } from "../support/graphql.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { connectRaw, requestText } from "../support/server-raw.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  expect(server.lines.filter((line) => / (?:error|warn) |stack/.test(line))).toEqual([]);
  await server[Symbol.asyncDispose]();
});

describe("the examples of the documentation", () => {
  test("append an event, and list what it changed", async () => {
    const mutation = await server.ask("POST", "/graphql", {
      body: `{
        "query": "mutation Append($input: AppendEventInput!) { ${[
          "appendEvent(input: $input) { aggregate_type aggregate_id version payload }",
        ]} }",
        "variables": {
          "input": {
            "aggregate_type": "patient",
            "aggregate_id": "p-001",
            "event_type": "patient-updated",
            "payload": { "status": "inactive", "comment": "Archived via GraphQL" }
          }
        }
      }`,
    });
    expect(mutation.status).toBe(200);
    expect(mutation.text).toBe(
      '{"data":{"appendEvent":{"aggregate_type":"patient","aggregate_id":"p-001","version":1,' +
        '"payload":{"comment":"Archived via GraphQL","status":"inactive"}}}}',
    );
    const query = await server.ask("POST", "/graphql", {
      body: `{
        "query": "query RecentAggregates($take: Int!) { aggregates(take: $take) { ${[
          "aggregate_type aggregate_id version merkle_root state",
        ]} } }",
        "variables": { "take": 5 }
      }`,
    });
    const [aggregate] = query.json.data.aggregates;
    const rest = await server.ask("GET", "/v1/aggregates/patient/p-001");
    const { archived: _, ...shown } = rest.json;
    expect(aggregate).toEqual(shown);
  });
});

describe("every field answers what its operation does", () => {
  const key = 'aggregate_type: "field", aggregate_id: "f-1"';
  test("as REST has it", async () => {
    await server.append("field", "f-1", '{"a":1}');
    await server.append("field", "f-1", '{"b":[1,2]}');
    const record = `aggregate_type aggregate_id event_type payload version hash merkle_root position
      metadata { event_id created_at issued_by { group user } }`;
    const aggregate = "aggregate_type aggregate_id version state merkle_root archived";
    const { json } = await post(
      server,
      `{ aggregates(type: "field") { ${aggregate} }
         aggregates_page(type: "field", take: 1, archived: false, filter: "a = 1")
           { aggregates { ${aggregate} } next_cursor }
         aggregate(${key}) { ${aggregate} }
         past: aggregate(${key}, version: "1") { ${aggregate} }
         aggregateEvents(${key}, skip: 1, take: 1) { ${record} }
         events(after: 0, aggregate_type: "field", event_type: "noted") { ${record} }
         verifyAggregate(${key}) { aggregate_type aggregate_id version merkle_root erased } }`,
    );
    const get = async (path: string) => (await server.ask("GET", path)).json;
    const now = await get("/v1/aggregates/field/f-1");
    const events = await get("/v1/aggregates/field/f-1/events");
    expect(json.data).toEqual({
      aggregates: [now],
      aggregates_page: { aggregates: [now], next_cursor: null },
      aggregate: now,
      past: await get("/v1/aggregates/field/f-1?version=1"),
      aggregateEvents: [events[1]],
      events,
      verifyAggregate: await get("/v1/aggregates/field/f-1/verify"),
    });
  });
  test("and a batch in its order", async () => {
    const event = '{"aggregate_type":"batch","aggregate_id":"b","event_type":"x","payload":1';
    const { json } = await post(
      server,
      "mutation($i: AppendEventsInput!) { appendEvents(input: $i) { version payload } }",
      { variables: `{"i":{"events":[${event},"expected_version":"no_stream"},${event}}]}}` },
    );
    expect(json.data.appendEvents).toEqual([
      { version: 1, payload: 1 },
      { version: 2, payload: 1 },
    ]);
  });
  test("what is not there is null, and an error says why", async () => {
    const { status, json } = await post(
      server,
      '{ aggregate(aggregate_type: "no", aggregate_id: "one") { version } }',
    );
    expect(status).toBe(200);
    expect(json).toEqual({
      errors: [
        {
          message: "aggregate not found",
          locations: [{ line: 1, column: 3 }],
          path: ["aggregate"],
          extensions: {
            code: "not_found",
            details: { aggregate_type: "no", aggregate_id: "one" },
          },
        },
      ],
      data: { aggregate: null },
    });
  });
  test("a conflict has its code and its values", async () => {
    const { status, json } = await post(
      server,
      `mutation { appendEvent(input: { ${key}, event_type: "x", payload: 1, expected_version: 7 })
        { version } }`,
    );
    expect([status, json.data]).toEqual([200, null]);
    expect(json.errors[0].extensions).toEqual({
      code: "version_conflict",
      details: { aggregate_type: "field", aggregate_id: "f-1", expected: 7, actual: 2 },
    });
  });
  test("null is no version and no id of an event, as on REST, and may be a note", async () => {
    for (const [member, taken] of [
      ["expected_version", false],
      ["event_id", false],
      ["note", true],
    ] as const) {
      const input = `{ ${key}, event_type: "x", payload: 1, ${member}: null }`;
      const { json } = await post(server, `mutation { appendEvent(input: ${input}) { version } }`);
      const details = { path: `/${member}` };
      if (taken) expect(json.errors).toBeUndefined();
      else expect(json.errors[0].extensions).toEqual({ code: "invalid_argument", details });
    }
    const { json } = await post(server, "{ aggregates(type: null, take: 0) { version } }");
    expect(json).toEqual({ data: { aggregates: [] } });
  });
  test("what the gate refuses is told with its path", async () => {
    const { json } = await post(server, "{ aggregates(take: -1) { version } }");
    const { code, details } = json.errors[0].extensions;
    expect([code, details]).toEqual(["invalid_argument", { path: "/take" }]);
  });
});

describe("numbers stay as they were written", () => {
  const append = 'mutation($p: JSON!) { appendEvent(input: { aggregate_type: "number", ';
  const rest = 'aggregate_id: "n", event_type: "x", payload: $p }) { payload } }';
  const texts = [
    '{"10":1,"9":9007199254740993,"__proto__":{"a":1e400},"constructor":0.1}',
    "[18446744073709551616,1.0000000000000000001,1e-400]",
    "9007199254740993",
    '"9007199254740993"',
    "null",
    '{"deep":{"__proto__":[{"10":1e400,"9":-0.5}]}}',
  ];
  for (const text of texts) {
    test(`${text} in a variable`, async () => {
      const answer = await post(server, append + rest, { variables: `{"p":${text}}` });
      expect(answer.text).toBe(`{"data":{"appendEvent":{"payload":${text}}}}`);
      const stored = await server.ask("GET", "/v1/aggregates/number/n/events");
      expect(stored.text).toContain(`"payload":${text},"metadata"`);
    });
  }
  test("in literals, whose names GraphQL allows", async () => {
    const answer = await post(
      server,
      `mutation($p: JSON!, $n: Int, $none: Int) { appendEvent(input: { aggregate_type: "number",
        aggregate_id: "n", event_type: "x", payload: { z: 9007199254740993, __proto__: 1e400,
        a: [0.1, -0, 1.50, "é\\u00e9", null, true, $p, $n, $none], p: $p, none: $none } })
        { payload } }`,
      { variables: '{"p":{"10":1,"9":1e400},"n":7}' },
    );
    const p = '{"10":1,"9":1e400}';
    expect(answer.text).toBe(
      `{"data":{"appendEvent":{"payload":{"__proto__":1e400,"a":[0.1,0,1.5,"éé",null,true,` +
        `${p},7,null],"p":${p},"z":9007199254740993}}}}`,
    );
  });
  test("versions and positions take numbers and strings of digits, up to 2^53 - 1", async () => {
    const query = "query($after: Long) { events(after: $after, take: 1) { position } }";
    for (const after of ["0", '"0"', "9007199254740991", '"9007199254740991"']) {
      const { json } = await post(server, query, { variables: `{"after":${after}}` });
      expect(json.errors).toBeUndefined();
    }
    for (const after of ["9007199254740992", "9007199254740993", "-1", "1.5", '"x"', "1e400"]) {
      const { json } = await post(server, query, { variables: `{"after":${after}}` });
      expect(json.errors[0].message).toContain(
        "Long must be an integer from 0 to 9007199254740991",
      );
    }
    const literal = await post(server, "{ events(after: 9007199254740992) { position } }");
    expect(literal.json.errors[0].extensions.code).toBe("invalid_argument");
  });
  test("a number that is no Int is refused, not rounded into one", async () => {
    const query = "query($take: Int!) { events(take: $take) { position } }";
    const { json } = await post(server, query, { variables: '{"take":1.0000000000000000001}' });
    expect(json.errors[0].message).toContain("1.0000000000000000001");
  });
  test("a payload may be as deep as on REST, and no deeper", async () => {
    const depths = [128, 129].map((levels) => "[".repeat(levels) + "]".repeat(levels));
    const variables = depths.map((text) => `{"p":${text}}`);
    const [taken, refused] = await Promise.all(
      variables.map((text) => post(server, append + rest, { variables: text })),
    );
    expect(taken?.json.errors).toBeUndefined();
    expect(refused?.json.errors[0].extensions.code).toBe("invalid_argument");
  });
});

describe("nobody gets in without a token", () => {
  const query = encodeURIComponent("{ __typename }");
  const body = bodyOf("{ __schema { types { name } } }");
  const asked = [
    ["POST", "/graphql", { body }],
    ["POST", "/graphql", { body: "{" }],
    ["POST", "/graphql", { body: "x", headers: { "Content-Type": "text/plain" } }],
    ["GET", `/graphql?query=${query}`, {}],
    ["GET", "/graphql?query=", {}],
    ["GET", "/graphql", { headers: { Accept: "application/json" } }],
  ] as const;
  for (const [method, path, options] of asked) {
    test(`${method} ${path} ${"body" in options ? options.body : ""}`, async () => {
      for (const token of [null, "EVT-unknown"]) {
        const answer = await server.ask(method, path, { ...options, token });
        expect(answer.status).toBe(401);
        expect(answer.headers.get("www-authenticate")).toBe("Bearer");
        const [{ extensions }] = answer.json.errors;
        expect(extensions).toEqual({ code: "unauthenticated", details: {} });
      }
    });
  }
  test("a token that is revoked while the body is held back is no token", async () => {
    const { token, id } = await server.store.dbx.issueToken(root, { group: "admin", user: "eve" });
    const text = requestText("POST", "/graphql", { token, body: bodyOf("{ __typename }") });
    using connection = await connectRaw(server.port);
    connection.write(text.slice(0, -5));
    await server.ask("GET", "/health");
    await server.store.dbx.revokeToken(root, { token: id });
    connection.write(text.slice(-5));
    expect((await connection.read()).status).toBe(401);
  });
  test("a grant that is missing is told after what was wrong", async () => {
    const { dbx } = server.store;
    const { token } = await dbx.issueToken(root, { group: "clerk", user: "ann" });
    const codes = [1, -1].map(async (take) => {
      const text = `{ aggregates(take: ${take}, include_hidden: true) { version } }`;
      return (await post(server, text, { token })).json.errors[0].extensions.code;
    });
    expect(await Promise.all(codes)).toEqual(["permission_denied", "invalid_argument"]);
  });
});

describe("the status", () => {
  const json = "application/json";
  const graphql = "application/graphql-response+json";
  const faults = [
    ["{ aggregates(", "of syntax"],
    ["{ nothing }", "of an unknown field"],
    ["query($t: Int!) { events(take: $t) { position } }", "of a missing variable"],
    ["query A { __typename } query B { __typename }", "of two operations"],
    ["", "of an empty document"],
  ] as const;
  for (const [query, what] of faults) {
    test(`of a fault ${what} is 200 as JSON, and 400 as GraphQL's own type`, async () => {
      for (const [accept, status] of [
        [json, 200],
        ["*/*", 200],
        [graphql, 400],
        [`${graphql}, ${json};q=0.9`, 400],
      ] as const) {
        const answer = await post(server, query, { headers: { Accept: accept } });
        expect(answer.status).toBe(status);
        expect(answer.headers.get("content-type")).toContain(status === 400 ? graphql : json);
        const [error] = answer.json.errors;
        expect(error.extensions.code).toBe("invalid_argument");
        expect(answer.json).not.toHaveProperty("data");
      }
    });
  }
  test("of an error while executing is 200 for both", async () => {
    const query = '{ aggregate(aggregate_type: "no", aggregate_id: "one") { version } }';
    for (const Accept of [json, graphql]) {
      expect((await post(server, query, { headers: { Accept } })).status).toBe(200);
    }
  });
  test("a fault of syntax is located", async () => {
    const { json: answer } = await post(server, "{\n  aggregates(");
    expect(answer.errors[0].locations).toEqual([{ line: 2, column: 14 }]);
  });

  const malformed = [
    ["", 400],
    ["{", 400],
    ["[]", 400],
    ['[{"query":"{ __typename }"}]', 400],
    ["null", 400],
    ["{}", 400],
    ['{"query":1}', 400],
    ['{"query":null}', 400],
    ['{"query":"{ __typename }","variables":[]}', 400],
    ['{"query":"{ __typename }","variables":"{}"}', 400],
    ['{"query":"{ __typename }","extensions":1}', 400],
    ['{"query":"{ __typename }","operationName":1}', 400],
    ['{"query":"{ __typename }","operation":1}', 400],
    ['{"query":"{ __typename }","query":"{ __typename }"}', 400],
    ['{"query":"\\ud800"}', 400],
    ['\ufeff{"query":"{ __typename }"}', 400],
    [`{"query":"{ __typename }","variables":${"[".repeat(200)}${"]".repeat(200)}}`, 400],
    [`{"query":"${" ".repeat(16_777_216)}"}`, 413],
  ] as const;
  for (const [body, status] of malformed) {
    test(`${status} for ${body.slice(0, 60)}`, async () => {
      const answer = await server.ask("POST", "/graphql", { body });
      expect(answer.status).toBe(status);
      const code = status === 413 ? "too_large" : "invalid_argument";
      expect(answer.json.errors[0].extensions.code).toBe(code);
    });
  }
  test("what may be left out may be null", async () => {
    const body =
      '{"query":"{ __typename }","variables":null,"operationName":null,"extensions":null}';
    expect((await server.ask("POST", "/graphql", { body })).json.errors).toBeUndefined();
  });
  for (const type of ["multipart/form-data; boundary=x", "text/plain", "application/graphql"]) {
    test(`415 for a body of ${type}`, async () => {
      const answer = await post(server, "{ __typename }", { headers: { "Content-Type": type } });
      expect(answer.status).toBe(415);
      expect(answer.json.errors[0].extensions.code).toBe("invalid_argument");
    });
  }
  test("a condition that would say nothing is refused", async () => {
    const answer = await post(server, "{ __typename }", { headers: { "If-Match": '"1"' } });
    expect(answer.status).toBe(400);
  });
});

describe("GET", () => {
  const get = (query: string, more = "") =>
    server.ask("GET", `/graphql?query=${encodeURIComponent(query)}${more}`);
  const mutation = (type: string) => `mutation { appendEvent(input: { aggregate_type: "${type}",
    aggregate_id: "g", event_type: "x", payload: 1 }) { version } }`;
  test("takes a query with its variables", async () => {
    const variables = encodeURIComponent('{"take":1}');
    const query =
      "query A($take: Int!) { events(take: $take) { position } } query B { __typename }";
    const answer = await get(query, `&operationName=A&variables=${variables}`);
    expect(answer.json).toEqual({ data: { events: [{ position: 1 }] } });
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });
  test("refuses a mutation, and says what takes one", async () => {
    const answer = await get(mutation("get"));
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "POST"]);
    expect((await server.ask("GET", "/v1/aggregates/get/g")).status).toBe(404);
  });
  test("refuses a mutation as HEAD as well", async () => {
    const query = encodeURIComponent(mutation("head"));
    await fetch(`http://127.0.0.1:${server.port}/graphql?query=${query}`, {
      method: "HEAD",
      headers: { Authorization: `Bearer ${server.token}` },
    });
    expect((await server.ask("GET", "/v1/aggregates/head/g")).status).toBe(404);
  });
  for (const more of ["&variables={", "&variables=1", "&query=x", "&x=1", "&operationName=%ff"]) {
    test(`refuses ${more}`, async () => {
      const answer = await get("{ __typename }", more);
      expect(answer.status).toBe(400);
      expect(answer.json.errors[0].extensions.code).toBe("invalid_argument");
    });
  }
});

test("without the surface there is no path", async () => {
  await using other = await startTestServer({
    config: { api: { rest: true, graphql: false, grpc: false } },
  });
  for (const path of ["/graphql", "/graphql/playground"]) {
    expect((await other.ask("GET", path)).status).toBe(404);
  }
  expect((await post(other, "{ __typename }")).status).toBe(404);
});
