// Requests as HTTP clients send them: a method, a path, a query, headers and a body, each right or
// with something wrong, and framed rightly, so that each is owed an answer. Server-sent events too.

import { streamPath } from "../../src/api/live.ts";
import { judge } from "./answer.ts";
import { hugeNumbers, mutated, mutatedText, type Dice } from "./dice.ts";
import { filterText } from "./filter.ts";
import { jsonBytes, jsonText } from "./json.ts";
import { publicRoutes, queryText, rightRequest, typeOf, type Right } from "./requests.ts";
import { after, cut, exchange, requestBytes, type Goal, type Target } from "./target.ts";

const segments = [
  ...["order", "o-1", "..", ".", "%2F", "%ff", "%", "", "%00", "a+b", "%ED%A0%80", "%C0%AF"],
  ...["events", "$erased", "constructor", "x".repeat(257), "x".repeat(9_000)],
];
const parameters = [
  ...["skip", "take", "after", "cursor", "type", "archived", "filter", "at", "include_hidden"],
  ...["aggregate_type", "aggregate_id", "event_type", "version", "x", "__proto__", ""],
];

function segment(dice: Dice): string {
  if (dice.chance(0.7)) return dice.pick(segments);
  return encodeURIComponent(mutatedText(dice, dice.text(6)).toWellFormed());
}

function query(dice: Dice): string {
  const value = (): string => {
    const right = [String(dice.below(30)), dice.pick(hugeNumbers), "order", filterText(dice), ""];
    const text = mutatedText(dice, dice.pick(right)).slice(0, 500);
    return dice.chance(0.9) ? encodeURIComponent(text) : dice.pick(["%", "%zz", "%ff", "%00"]);
  };
  const pairs = Array.from({ length: dice.pick([0, 0, 1, 1, 2, 4]) }, () => {
    return `${dice.pick(parameters)}${dice.chance(0.95) ? "=" : ""}${value()}`;
  });
  return pairs.length === 0 ? dice.pick(["", "", "?", "?&&"]) : `?${pairs.join("&")}`;
}

/** Appends that fit, so that what is wrong afterwards is wrong in one place. */
function bodyOf(dice: Dice): Buffer {
  const event = (): string => {
    const members = [
      `"aggregate_type":${JSON.stringify(dice.pick(["order", "order", "person"]))}`,
      `"aggregate_id":"f-${dice.below(200)}"`,
      `"event_type":"noted"`,
      `"payload":${jsonText(dice)}`,
      ...(dice.chance(0.2) ? [`"note":${jsonText(dice, 0)}`] : []),
      ...(dice.chance(0.2) ? [`"expected_version":${jsonText(dice, 0)}`] : []),
      ...(dice.chance(0.2) ? [`"event_id":${jsonText(dice, 0)}`] : []),
      ...(dice.chance(0.1) ? [`"__proto__":${jsonText(dice)}`] : []),
    ];
    return `{${members.join(",")}}`;
  };
  switch (dice.below(5)) {
    case 0:
      return jsonBytes(dice);
    case 1:
      return mutated(dice, `{"events":[${Array.from({ length: dice.below(4) }, event).join()}]}`);
    case 2:
      return mutated(dice, `{"aggregate_type":"order","aggregate_id":"f-1","reason":"r"}`);
    default:
      return mutated(dice, event());
  }
}

/** Without line ends, which would make another header of it. */
const headerValue = (dice: Dice, right: string): string =>
  mutated(dice, right)
    .toString("latin1")
    .replaceAll(/[\r\n]/g, "");

function headers(dice: Dice, token: string): string[] {
  const bearer = `Bearer ${token}`;
  const others: readonly (readonly [string, string])[] = [
    ["Accept", "application/json;q=0.5, text/*"],
    ["Origin", "http://localhost:3000"],
    ["If-None-Match", '"abc", W/"d"'],
    ["If-None-Match", "*"],
    ["If-Match", '"1.abcdefghijklmnopqrstuv"'],
    ["Content-Encoding", "gzip"],
    ["X-Request-Id", "fuzz-1"],
    ["Last-Event-ID", "1"],
    ["Cookie", "a=b; c"],
    ["Access-Control-Request-Method", "POST"],
    ["Accept-Encoding", "gzip, br"],
    ["Range", "bytes=0-1"],
    ["X-Admin-Key", "a key"],
  ];
  return [
    dice.chance(0.9)
      ? `Authorization: ${bearer}`
      : `Authorization: ${headerValue(dice, `Bearer ${"A".repeat(43)}`)}`,
    `Content-Type: ${dice.chance(0.85) ? "application/json" : headerValue(dice, "text/plain; a=b")}`,
    ...others.flatMap(([name, right]) =>
      dice.chance(0.1) ? [`${name}: ${headerValue(dice, right)}`] : [],
    ),
  ];
}

/** Something right with one thing in it that may not be. */
function nearly(dice: Dice, right: Right): Right {
  switch (dice.below(4)) {
    case 0:
      return { ...right, path: right.path.replace(/[^/]+$/, () => segment(dice)) };
    case 1:
      return {
        ...right,
        query: [...right.query, [dice.pick(parameters), mutatedText(dice, "1").toWellFormed()]],
      };
    default:
      return right;
  }
}

/** Nothing of it need be right. */
function hostile(dice: Dice, { token }: Goal): Buffer {
  const route = dice.pick(publicRoutes);
  const named = route.path.replaceAll(/\{\w+\}/g, () => segment(dice));
  const foreign = `/${Array.from({ length: dice.below(5) }, () => segment(dice)).join("/")}`;
  const method = dice.chance(0.8)
    ? route.method
    : dice.pick(["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "POST", "GET"]);
  const path = (dice.chance(0.9) ? named : foreign) + query(dice);
  return requestBytes({ method, path, body: bodyOf(dice) }, headers(dice, token));
}

function request(dice: Dice, goal: Goal): Buffer {
  const kind = dice.below(10);
  if (kind < 2) return hostile(dice, goal);
  const right = rightRequest(dice, dice.pick(publicRoutes));
  const { method, path, query, body } = kind < 5 ? nearly(dice, right) : right;
  const bearer = [`Authorization: Bearer ${goal.token}`, "Content-Type: application/json"];
  return requestBytes(
    {
      method,
      path: path + queryText(query),
      body: kind === 4 ? mutated(dice, body) : Buffer.from(body),
    },
    kind === 3 ? headers(dice, goal.token) : bearer,
  );
}

export const http: Target = {
  name: "http",
  place: "shared",
  async attempt(goal, dice) {
    const bytes = request(dice, goal);
    const head = bytes.subarray(0, 5).toString() === "HEAD ";
    const tried = judge(goal, await exchange(goal, cut(dice, bytes)), { head });
    return after(tried, JSON.stringify(bytes.toString("latin1")));
  },
};

/** A stream that may be followed, of everything or of a part. */
function streamQuery(dice: Dice): string {
  const type: [string, string][] = dice.chance(0.5) ? [["aggregate_type", typeOf(dice)]] : [];
  return queryText([["after", String(dice.below(9_000))], ...type]);
}

/** Where a comment or an event has come, which is all there is to see: what follows has no end. */
const streams = (received: Buffer): boolean =>
  /text\/event-stream[^]*\r\n\r\n[^]*\n\n/i.test(received.toString("latin1"));

export const sse: Target = {
  name: "sse",
  place: "shared",
  async attempt(goal, dice) {
    const right = dice.chance(0.4);
    const value = (text: string): string => (right ? text : headerValue(dice, text));
    const fields = [
      `Authorization: Bearer ${goal.token}`,
      `Accept: ${value("text/event-stream")}`,
      ...(dice.chance(0.5) ? [`Last-Event-ID: ${value(String(dice.below(9)))}`] : []),
      ...(dice.chance(0.2) ? [`Cache-Control: ${value("no-cache")}`] : []),
    ];
    const path = streamPath + (right || dice.chance(0.4) ? streamQuery(dice) : query(dice));
    const bytes = requestBytes({ method: "GET", path, body: Buffer.alloc(0) }, fields);
    const exchanged = await exchange(goal, cut(dice, bytes), { enough: streams });
    return after(judge(goal, exchanged), JSON.stringify(bytes.toString("latin1")));
  },
};
