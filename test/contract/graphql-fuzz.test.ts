/**
 * Random payloads come back as REST has them, whichever way they went in. Random documents and
 * bodies, most of them broken, are always answered, never by a 500, and the server is well
 * afterwards.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { canonicalize } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { schemaText } from "../../src/server/graphql/sdl.ts";
import { bodyOf, post } from "../support/graphql.ts";
import { jsonTexts, runs, runs_ms_max } from "../support/json-texts.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ config: { storage: { durability: "normal" } } });
});
afterAll(async () => {
  expect(server.lines.filter((line) => / (?:error|warn) |stack/.test(line))).toEqual([]);
  await server[Symbol.asyncDispose]();
});

const fields = 'aggregate_type: "any", aggregate_id: "a", event_type: "x"';

/** Null where it is not what a payload may be. */
function canonicalOrNull(text: string): string | null {
  try {
    return canonicalize(text);
  } catch (error) {
    if (error instanceof DbxError) return null;
    throw error;
  }
}

/** The last event of the log, as REST writes it. */
async function lastPayload(position: number): Promise<string> {
  const { text } = await server.ask("GET", `/v1/events?after=${position - 1}&take=1`);
  return text.slice(text.indexOf('"payload":') + 10, text.lastIndexOf(',"metadata":'));
}

const answered = (payload: string, position: number) =>
  `{"data":{"appendEvent":{"payload":${payload},"position":${position}}}}`;

async function expectTaken(answer: { text: string }, payload: string): Promise<void> {
  const position = Number(/"position":(\d+)\}\}\}$/.exec(answer.text)?.[1]);
  expect(answer.text).toBe(answered(payload, position));
  expect(await lastPayload(position)).toBe(payload);
}

test(
  "a payload in a variable comes back canonical, as REST has it, or is refused",
  async () => {
    const query = `mutation($p: JSON!, $i: AppendEventInput!) {
      alone: appendEvent(input: { ${fields}, payload: $p }) { payload }
      appendEvent(input: $i) { payload position } }`;
    const input = '"aggregate_type":"any","aggregate_id":"a","event_type":"x"';
    await fc.assert(
      fc.asyncProperty(jsonTexts, async (text) => {
        const payload = canonicalOrNull(text);
        const variables = `{"p":${text},"i":{${input},"payload":${text}}}`;
        const answer = await post(server, query, { variables });
        if (payload === null) {
          expect([answer.status, answer.json.errors[0].extensions.code]).toEqual([
            ...[400, "invalid_argument"],
          ]);
          return;
        }
        const alone = `"alone":{"payload":${payload}},`;
        expect(answer.text).toContain(alone);
        await expectTaken({ text: answer.text.replace(alone, "") }, payload);
      }),
      { ...runs(400), endOnFailure: true },
    );
  },
  runs_ms_max,
);

const name = fc.constantFrom("a", "b", "__proto__", "constructor", "toString", "_1", "zZ");
const number = fc.oneof(
  fc.constantFrom("0", "-0", "1e400", "9007199254740993", "0.1", "1.50", "1E5", "-1e-400"),
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
);
/** A literal, and the JSON it stands for. */
type Literal = readonly [written: string, json: string];
const leaf: fc.Arbitrary<Literal> = fc.oneof(
  number.map((text): Literal => [text, text]),
  fc.constantFrom("true", "false").map((text): Literal => [text, text]),
  fc
    .string({ unit: fc.constantFrom("a", "é", "😀", '"', "\\", "\n", "\u0000", "{", "#") })
    .map((text): Literal => [JSON.stringify(text), JSON.stringify(text)]),
);
const nestedIn = (inner: fc.Arbitrary<Literal>): fc.Arbitrary<Literal> =>
  fc.oneof(
    inner,
    fc
      .array(inner, { maxLength: 4 })
      .map((list): Literal => [
        `[${list.map(([written]) => written).join(" ")}]`,
        `[${list.map(([, json]) => json).join(",")}]`,
      ]),
    fc
      .uniqueArray(fc.tuple(name, inner), { maxLength: 4, selector: ([key]) => key })
      .map((list): Literal => [
        `{${list.map(([key, [written]]) => `${key}: ${written}`).join(", ")}}`,
        `{${list.map(([key, [, json]]) => `"${key}":${json}`).join(",")}}`,
      ]),
  );
const literal = nestedIn(nestedIn(nestedIn(leaf)));

test(
  "a payload in a literal comes back canonical, as REST has it",
  async () => {
    await fc.assert(
      fc.asyncProperty(literal, async ([written, json]) => {
        const query = `mutation { appendEvent(input: { ${fields}, payload: ${written} })
          { payload position } }`;
        await expectTaken(await post(server, query), canonicalize(json));
      }),
      { ...runs(300), endOnFailure: true },
    );
  },
  runs_ms_max,
);

const words = [...new Set(schemaText().match(/\w+/g))].slice(0, 120);
const piece = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...words) },
  {
    weight: 4,
    arbitrary: fc.constantFrom("{", "}", "(", ")", "[", "]", ":", "!", "=", "...", "@", "$", "|"),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      ...["query", "mutation", "subscription", "fragment", "on", "aggregates", "version", "take"],
      ...["__schema", "__type", "@skip(if: true)", "#", '"', '"""', "$take: Int", "null", "-1"],
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 4 }) },
);
const shapes = [
  "query($take: Int!) { aggregates(take: $take) { aggregate_type state } }",
  '{ aggregate(aggregate_type: "any", aggregate_id: "a", version: 1) { ...f } }',
  "query A { events(after: 0, take: 1) { payload metadata { note } } } query B { __typename }",
  `mutation { appendEvent(input: { ${fields}, payload: { a: [1, "x"] } }) { hash } }`,
  "{ __schema { types { name fields { type { kind } } } } }",
];
const documents = fc.oneof(
  fc.array(piece, { maxLength: 40 }).map((parts) => parts.join(" ")),
  // A right one with pieces put in place of others.
  fc
    .tuple(fc.constantFrom(...shapes), fc.array(fc.tuple(fc.nat(), piece), { maxLength: 3 }))
    .map(([text, changes]) =>
      changes.reduce((changed, [at, put]) => {
        const cut = at % (changed.length + 1);
        return changed.slice(0, cut) + put + changed.slice(cut + (at % 7));
      }, text),
    ),
);
const bodies = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(documents, jsonTexts).map(([d, v]) => bodyOf(d.toWellFormed(), v)),
  },
  { weight: 4, arbitrary: documents.map((text) => bodyOf(text.toWellFormed(), '{"take":1}')) },
  { weight: 1, arbitrary: jsonTexts },
  {
    weight: 1,
    arbitrary: fc
      .tuple(documents, fc.nat(), fc.string({ unit: "binary", maxLength: 2 }))
      .map(([text, at, put]) => {
        const body = bodyOf(text.toWellFormed());
        const cut = at % (body.length + 1);
        return (body.slice(0, cut) + put + body.slice(cut + 1)).toWellFormed();
      }),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary" }).map((text) => text.toWellFormed()) },
);

test(
  "whatever is sent is answered, in the shape of GraphQL, and never by a 500",
  async () => {
    await fc.assert(
      fc.asyncProperty(
        bodies,
        fc.constantFrom("*/*", "application/json", "application/graphql-response+json"),
        async (body, Accept) => {
          const response = await fetch(`http://127.0.0.1:${server.port}/graphql`, {
            method: "POST",
            headers: {
              ...{ Authorization: `Bearer ${server.token}`, Accept },
              "Content-Type": "application/json",
            },
            body,
          });
          expect([200, 400, 406]).toContain(response.status);
          if (response.headers.get("content-type") === "text/event-stream") {
            await response.body?.cancel();
            return;
          }
          const answer: { data?: unknown; errors?: any[] } = JSON.parse(await response.text());
          expect("data" in answer || (answer.errors ?? []).length > 0).toBe(true);
          for (const error of answer.errors ?? []) {
            expect(error.extensions.code).not.toBe("internal");
            expect(typeof error.message).toBe("string");
          }
        },
      ),
      { ...runs(1_500), endOnFailure: true },
    );
    expect((await post(server, "{ __typename }")).status).toBe(200);
    expect((await server.ask("GET", "/health")).status).toBe(200);
  },
  runs_ms_max,
);
