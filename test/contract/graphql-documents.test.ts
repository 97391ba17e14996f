/**
 * What a document may cost: each bound at its edge, and documents written to hurt. Each is answered
 * at once, and the server is well afterwards.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { getIntrospectionQuery } from "graphql";
import { limits } from "../../src/model/limits.ts";
import { bodyOf, post } from "../support/graphql.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  await server.append("a", "b", '"x"');
});
afterAll(async () => {
  expect(server.lines.filter((line) => / (?:error|warn) |stack/.test(line))).toEqual([]);
  await server[Symbol.asyncDispose]();
});

const many = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => text(index)).join(" ");

/** The code of the first error, or `data` where there is none. */
async function outcome(query: string, variables?: string): Promise<string> {
  const { status, json } = await post(server, query, variables === undefined ? {} : { variables });
  expect(status).toBe(200);
  return json.errors === undefined ? "data" : json.errors[0].extensions.code;
}

describe("a document has at most", () => {
  const nested = (levels: number) =>
    `{ __schema { types { ${"ofType { ".repeat(levels - 3)} name ${"}".repeat(levels - 3)} } } }`;
  const edges: readonly (readonly [string, (count: number) => string, number])[] = [
    ["tokens", (count) => `{${"__typename ".repeat(count - 2)}}`, limits.graphql_tokens_max],
    ["levels of selections", nested, limits.graphql_depth_max],
    [
      "aliases",
      (count) => `{ ${many(count, (index) => `a${index}: __typename`)} }`,
      limits.graphql_aliases_max,
    ],
    [
      "characters",
      (count) => `{ __typename } #${"x".repeat(count - 16)}`,
      limits.graphql_document_chars_max,
    ],
  ];
  for (const [what, make, limit] of edges) {
    test(`${limit} ${what}`, async () => {
      // GraphQL's own rules may have a bound of theirs below ours.
      expect(await outcome(make(limit))).not.toBe("too_large");
      const { json } = await post(server, make(limit + 1));
      const [error] = json.errors;
      expect(error.message).toContain(`at most ${limit} are taken`);
      expect(error.message).toContain(what);
      expect(error.extensions.code).toBe("too_large");
      expect(error.extensions.details["limit"]).toBe(limit);
    });
  }
  test("so many levels, those of its fragments included", async () => {
    const chain = many(
      14,
      (index) => `fragment f${index} on __Type { ofType { ...f${index + 1} } }`,
    );
    const query = `{ __schema { types { ...f0 } } } ${chain} fragment f14 on __Type { name }`;
    expect(await outcome(query)).toBe("too_large");
  });
});

describe("a document asks for at most ten thousand rows", () => {
  const key = 'aggregate_type: "a", aggregate_id: "b"';
  const pages = (count: number, take = 1000) =>
    many(count, (index) => `a${index}: events(take: ${take}) { position }`);
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["ten pages", `{ ${pages(10)} }`, true],
    ["a row more", `{ ${pages(10)} aggregates(take: 1) { version } }`, false],
    ["pages without a number are full ones", `{ ${pages(9)} events { position } }`, true],
    [
      "and two of them are two",
      `{ ${pages(9)} events { position }
         aggregateEvents(aggregate_type: "a", aggregate_id: "b") { position } }`,
      false,
    ],
    ["what is above the cap of a page is that cap", `{ ${pages(10, 2_000_000_000)} }`, true],
    [
      "in fragments",
      `{ ...f } fragment f on Query { ...g } fragment g on Query { ${pages(11)} }`,
      false,
    ],
    ["in inline fragments", `{ ... { ... on Query { ${pages(11)} } } }`, false],
    [
      "a fragment that is spread twice is asked for once",
      `{ ...f ...f } fragment f on Query { ${pages(10)} }`,
      true,
    ],
    [
      "what is skipped counts",
      `{ ${many(11, (index) => `a${index}: events @skip(if: true) { position }`)} }`,
      false,
    ],
    [
      "verifying counts for a thousand",
      `{ ${many(11, (i) => `a${i}: verifyAggregate(${key}) { version }`)} }`,
      false,
    ],
    ["a hundred aggregates are few", `{ aggregates(take: 100) { version } }`, true],
  ];
  for (const [what, query, taken] of cases) {
    test(what, async () => {
      expect(await outcome(query)).toBe(taken ? "data" : "too_large");
    });
  }
  test("those of variables and of defaults", async () => {
    const asked = many(11, (index) => `a${index}: events(take: $take) { position }`);
    const query = `query($take: Int = 1000) { ${asked} }`;
    expect(await outcome(query)).toBe("too_large");
    expect(await outcome(query, '{"take":900}')).toBe("data");
  });
  test("and one full page where the owner has made it larger", async () => {
    await using other = await startTestServer({ config: { page_limit: 20_000 } });
    const answer = await post(other, "{ events { position } }");
    expect(answer.json).toEqual({ data: { events: [] } });
    const two = await post(other, "{ events { position } aggregates { version } }");
    expect(two.json.errors[0].extensions.details).toEqual({ limit: 20_000, actual: 20_010 });
  });
});

test("a mutation is refused as a whole when its fields share too much", async () => {
  const variables = `{"p":"${"x".repeat(1_000_000)}"}`;
  const fields = many(
    20,
    (index) => `a${index}: appendEvent(input: { aggregate_type: "shared", aggregate_id: "s",
      event_type: "x", payload: $p }) { version }`,
  );
  expect(await outcome(`mutation($p: JSON!) { ${fields} }`, variables)).toBe("too_large");
  expect((await server.ask("GET", "/v1/aggregates/shared/s")).status).toBe(404);
});

test("an answer is as large as a page may be, and no larger", async () => {
  const payload = `"${"x".repeat(1_000_000)}"`;
  for (let count = 0; count < 10; count++) await server.append("large", "l", payload);
  const fields = (count: number) =>
    many(
      count,
      (index) => `a${index}: events(aggregate_type: "large", take: 10) { position payload }`,
    );
  const { json } = await post(server, `{ ${fields(7)} }`);
  expect(json.data).toBeNull();
  expect(json.errors).toHaveLength(1);
  expect(json.errors[0].extensions.code).toBe("too_large");
  expect(json.errors[0].extensions.details["limit"]).toBe(limits.page_bytes_max);
  expect((await post(server, `{ ${fields(6)} }`)).json.errors).toBeUndefined();
});

test("the introspection of the usual tools passes", async () => {
  for (const options of [
    {},
    { descriptions: true, schemaDescription: true, specifiedByUrl: true },
    { inputValueDeprecation: true, directiveIsRepeatable: true, oneOf: true },
  ]) {
    const { json } = await post(server, getIntrospectionQuery(options));
    expect(json.errors).toBeUndefined();
    expect(json.data.__schema.subscriptionType.name).toBe("Subscription");
  }
});

describe("a document written to hurt is answered at once:", () => {
  const spread = (count: number) =>
    many(count, (index) => `fragment f${index} on Query { ...f${index + 1} ...f${index + 1} }`);
  const doubled = (count: number) =>
    many(
      count,
      (i) => `fragment f${i} on __Type {
        a${i}: ofType { ...f${i + 1} } b${i}: ofType { ...f${i + 1} } }`,
    );
  const attacks: Readonly<Record<string, string>> = {
    "a fragment that spreads itself": "{ ...f } fragment f on Query { ...f }",
    "fragments in a circle": "{ ...f } fragment f on Query { ...g } fragment g on Query { ...f }",
    "a circle through fields":
      "{ __schema { types { ...f } } } fragment f on __Type { fields { type { ...f } } }",
    "fragments that double": `{ ...f0 } ${spread(80)} fragment f80 on Query { __typename }`,
    "fields that double": `{ __schema { types { ...f0 } } } ${doubled(11)}
      fragment f11 on __Type { name }`,
    "10,000 aliases": `{ ${many(10_000, (index) => `a${index}: __typename`)} }`,
    "introspection of introspection":
      "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
    "introspection, 30 times": `{ ${many(
      30,
      (i) => `a${i}: __schema { types { fields { args { type { ofType { name } } } } } }`,
    )} }`,
    "a list of directives": `{ __typename ${"@include(if: true) ".repeat(280)} }`,
    "a longer list of directives": `{ __typename ${"@skip(if: false) ".repeat(50_000)} }`,
    "unknown directives": `{ __typename ${"@x ".repeat(990)} }`,
    "one field again and again": `{ aggregates { ${"version ".repeat(1990)} } }`,
    "fields that may conflict": `{ ${"aggregates_page { aggregates { version } } ".repeat(240)} }`,
    "open braces": "{ a ".repeat(1_000),
    "open braces, a million": "{a".repeat(100_000),
    "open brackets": `{ aggregates(type: ${"[".repeat(1_900)}`,
    "a deep literal": `mutation { appendEvent(input: { aggregate_type: "a", aggregate_id: "b",
      event_type: "x", payload: ${"[".repeat(900)}${"]".repeat(900)} }) { version } }`,
    comments: `${"#\n".repeat(131_000)}{ __typename }`,
    "a long string": `{ aggregates(type: "${"x".repeat(200_000)}") { version } }`,
    "a long name": `{ ${"x".repeat(200_000)} }`,
    "many operations": many(400, (index) => `query q${index} { __typename }`),
    "many variables": `query(${many(480, (index) => `$v${index}: Int`)}) { __typename }`,
    "deep types": `query($v: ${"[".repeat(900)}Int${"]".repeat(900)}) { __typename }`,
    "names of the prototype": `query($__proto__: Int, $constructor: __proto__) {
      __proto__: __typename constructor toString(__proto__: $__proto__) ...__proto__ }
      fragment __proto__ on constructor { hasOwnProperty }`,
    "a number nobody can hold": `{ aggregates(take: ${"9".repeat(100_000)}) { version } }`,
    "defer and stream": "{ ... @defer { __typename } aggregates @stream { version } }",
    "two subscriptions":
      "subscription { eventAppended { position } other: eventAppended { position } }",
    "a definition of a type": "type Query { x: Int }",
  };
  for (const [what, query] of Object.entries(attacks)) {
    test(what, async () => {
      const started = performance.now();
      const answer = await server.ask("POST", "/graphql", {
        body: bodyOf(query, '{"__proto__":1,"constructor":{"__proto__":{}}}'),
      });
      // A quiet machine takes a few ms; a hang takes for ever.
      expect(performance.now() - started).toBeLessThan(5_000);
      expect(answer.status).toBe(200);
      expect(answer.text.length).toBeLessThan(200_000);
      for (const error of answer.json.errors ?? []) {
        expect(["invalid_argument", "too_large"]).toContain(error.extensions.code);
        expect(error.message.length).toBeLessThanOrEqual(limits.graphql_message_chars_max + 1);
      }
    });
  }
  test("names of the prototype stay names", async () => {
    const { text } = await post(server, "{ __proto__: __typename constructor: __typename }");
    expect(text).toBe('{"data":{"__proto__":"Query","constructor":"Query"}}');
    expect(Object.hasOwn(Object.prototype, "Query")).toBe(false);
  });
  test("a variable of JSON that a literal names again and again", async () => {
    const query = `mutation($p: JSON!) { appendEvent(input: { aggregate_type: "shared",
      aggregate_id: "s", event_type: "x", payload: [${"$p ".repeat(1_000)}] }) { version } }`;
    expect(await outcome(query, `{"p":"${"x".repeat(1_000_000)}"}`)).toBe("too_large");
  });
  test("lists of variables as long as a body", async () => {
    const query = "mutation($i: AppendEventsInput!) { appendEvents(input: $i) { version } }";
    const numbers = "1,".repeat(2_000_000);
    expect(await outcome(query, `{"i":{"events":[${numbers}1]}}`)).toBe("too_large");
    const event = '{"aggregate_type":"a","aggregate_id":"b","event_type":"c","payload":1},';
    const events = event.repeat(50_000).slice(0, -1);
    expect(await outcome(query, `{"i":{"events":[${events}]}}`)).toBe("too_large");
  });
});

describe("variables are refused at the first fault, with its path:", () => {
  const appending = "mutation($i: AppendEventInput!) { appendEvent(input: $i) { version } }";
  const batch = "mutation($i: AppendEventsInput!) { appendEvents(input: $i) { version } }";
  const listed = (type: string) => `mutation($x: ${type}) { appendEvent(input: {
    aggregate_type: "a", aggregate_id: "b", event_type: "c", payload: { a: $x } }) { version } }`;
  const event = '"aggregate_type":"a","aggregate_id":"b","event_type":"c"';
  const ones = (count: number) => `[${"1,".repeat(count - 1)}1]`;
  const members = Array.from({ length: 300_000 }, (_, index) => `"k${index}":1`).join(",");
  const cases: readonly (readonly [string, string, string, string, string])[] = [
    ["members nobody knows", appending, `{"i":{${members}}}`, "invalid_argument", "/k0"],
    [
      "one in a batch",
      batch,
      `{"i":{"events":[{${event},"payload":1},{${event},"payload":1,"a/b":2}]}}`,
      ...(["invalid_argument", "/events/1/a~1b"] as const),
    ],
    ["a missing member", appending, `{"i":{${event}}}`, "invalid_argument", "/payload"],
    [
      "null where there is none",
      appending,
      `{"i":{${event},"payload":1,"event_type":null}}`.replace('"event_type":"c",', ""),
      ...(["invalid_argument", "/event_type"] as const),
    ],
    ["a list for an object", appending, `{"i":${ones(9)}}`, "invalid_argument", ""],
    ["a batch too long", batch, `{"i":{"events":${ones(1_001)}}}`, "too_large", "/events"],
    ["a list of JSON", listed("[JSON]"), `{"x":${ones(3_000_000)}}`, "too_large", ""],
    ["a list of numbers", listed("[Int]"), `{"x":${ones(3_000_000)}}`, "too_large", ""],
    ["a list for a number", listed("Int"), `{"x":${ones(3_000_000)}}`, "invalid_argument", ""],
    ["a text for a number", listed("[Int]"), '{"x":[1,"1"]}', "invalid_argument", "/1"],
    [
      "more values than there may be",
      listed("[[Int]]"),
      `{"x":[${`${ones(1_000)},`.repeat(100)}[]]}`,
      ...(["too_large", "/99/899"] as const),
    ],
  ];
  for (const [what, query, variables, code, path] of cases) {
    test(what, async () => {
      const { text, json } = await post(server, query, { variables });
      expect(json.errors).toHaveLength(1);
      expect(json.errors[0].extensions).toEqual({ code, details: { path } });
      expect(text.length).toBeLessThan(1_000);
    });
  }
  test("names that GraphQL keeps for itself", async () => {
    const query = `mutation($__proto__: JSON) { appendEvent(input: { aggregate_type: "lost",
      aggregate_id: "l", event_type: "x", payload: { a: $__proto__ } }) { version } }`;
    for (const variables of ['{"__proto__":5}', "{}"]) {
      const { json } = await post(server, query, { variables });
      const details = { path: "" };
      expect(json.errors[0].extensions).toEqual({ code: "invalid_argument", details });
    }
    expect((await server.ask("GET", "/v1/aggregates/lost/l")).status).toBe(404);
  });
  test("and those that the operation does not declare are not looked at", async () => {
    expect(await outcome("{ __typename }", `{"x":${ones(2_000)},"__y":{"k":1}}`)).toBe("data");
  });
});
