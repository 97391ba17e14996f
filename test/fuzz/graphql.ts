// GraphQL documents and their variables: right ones with changes, and random rows of the words and
// signs of the schema.

import { schemaText } from "../../src/server/graphql/sdl.ts";
import { judge } from "./answer.ts";
import { mutated, mutatedText, nested, type Dice } from "./dice.ts";
import { jsonBytes, jsonText } from "./json.ts";
import { after, exchange, requestBytes, type Target } from "./target.ts";

const event = 'aggregate_type: "order", aggregate_id: "f-2", event_type: "noted"';
const right = [
  "query($take: Int!) { aggregates(take: $take) { aggregate_type state } }",
  '{ aggregate(aggregate_type: "order", aggregate_id: "f-1", version: 1) { state version } }',
  "query A { events(after: 0, take: 1) { payload metadata { note } } }",
  "query A { __typename } query B { aggregates(take: 1) { merkle_root } }",
  'subscription { eventAppended(after: 0, aggregate_type: "order") { position payload } }',
  `mutation { appendEvent(input: { ${event}, payload: { a: [1, "x"] } }) { hash } }`,
  `mutation($p: JSON!) { appendEvent(input: { ${event}, payload: $p }) { payload position } }`,
  "{ __schema { types { name fields { type { kind } } } } }",
];
const signs = [
  ...["{", "}", "(", ")", "[", "]", ":", "!", "=", "...", "@", "$", "|", "#", '"', '"""', "&"],
  ...["query", "mutation", "subscription", "fragment", "on", "@skip(if: true)", "null", "-1"],
];
const words = [...new Set(schemaText().match(/\w+/g))];

function document(dice: Dice): string {
  switch (dice.below(8)) {
    case 0:
      return Array.from({ length: dice.below(50) }, () =>
        dice.pick(dice.chance(0.5) ? signs : words),
      ).join(" ");
    case 1: {
      const pairs = [["{ aggregates ", "x", "}"] as const, ["[", "", "]"] as const];
      return nested(dice.pick([14, 15, 16, 500, 20_000]), dice.pick(pairs));
    }
    default:
      return mutatedText(dice, dice.pick(right));
  }
}

function body(dice: Dice): Buffer {
  const query = JSON.stringify(document(dice));
  const variables = dice.chance(0.5)
    ? `{"take":${dice.below(5)},"p":${jsonText(dice)}}`
    : jsonText(dice);
  const operation = dice.chance(0.2) ? `,"operationName":${jsonText(dice, 0)}` : "";
  if (dice.chance(0.1)) return jsonBytes(dice);
  const whole = `{"query":${query},"variables":${variables}${operation}}`;
  return dice.chance(0.8) ? Buffer.from(whole) : mutated(dice, whole);
}

/** A document that can be answered, with the variables it asks for. */
const rightBody = (dice: Dice): Buffer =>
  Buffer.from(
    JSON.stringify({
      query: dice.pick(right),
      variables: { take: dice.below(5), p: { status: "open" } },
    }),
  );

const none = Buffer.alloc(0);

/** The body as it may stand in a path, as far as it is a request at all. */
function pathOf(sent: Buffer): string {
  const text = sent.toString("utf8").toWellFormed();
  const query = /"query":("(?:[^"\\]|\\.)*")/.exec(text)?.[1] ?? '"{ __typename }"';
  return `/graphql?query=${encodeURIComponent(query.slice(1, -1).replaceAll('\\"', '"'))}`;
}

const streams = (received: Buffer): boolean =>
  /text\/event-stream[^]*\r\n\r\n[^]*\n\n/i.test(received.toString("latin1"));

export const graphql: Target = {
  name: "graphql",
  place: "shared",
  async attempt(goal, dice) {
    const sent = dice.chance(0.45) ? rightBody(dice) : body(dice);
    const accepts = [
      ...["*/*", "application/json", "application/graphql-response+json"],
      ...["text/event-stream", "text/plain"],
    ];
    const fields = [
      `Authorization: Bearer ${goal.token}`,
      "Content-Type: application/json",
      `Accept: ${dice.chance(0.8) ? "*/*" : dice.pick(accepts)}`,
    ];
    // Long ones do not fit into the head of a request, which is not what is tried here.
    const inPath = dice.chance(0.1) && sent.length < 4_000;
    const bytes = inPath
      ? requestBytes({ method: "GET", path: pathOf(sent), body: none }, fields)
      : requestBytes({ method: "POST", path: "/graphql", body: sent }, fields);
    const exchanged = await exchange(goal, [bytes], { enough: streams });
    const { said, faults } = judge(goal, exchanged);
    const internal = /"code":"internal"/.test(exchanged.received.toString())
      ? [`an internal error: ${exchanged.received.toString()}`]
      : [];
    return after(
      { said, faults: [...internal, ...faults] },
      JSON.stringify(sent.toString("latin1")),
    );
  },
};
