// Requests as HTTP clients send them: a method, a path, a query, headers and a body, each right or
// with something wrong, and framed rightly, so that each is owed an answer. Server-sent events too.

import { streamPath } from "../../src/api/live.ts";
import { routes } from "../../src/api/routes.ts";
import { hugeNumbers, mutated, mutatedText, type Dice } from "./dice.ts";
import { filterText } from "./filter.ts";
import { jsonBytes, jsonText } from "./json.ts";
import { cut, exchange, faultsOf, requestBytes, type Goal, type Target } from "./target.ts";

const segments = [
  ...["order", "o-1", "..", ".", "%2F", "%ff", "%", "", "%00", "a+b", "%ED%A0%80", "%C0%AF"],
  ...["events", "$erased", "constructor", "x".repeat(257), "x".repeat(9_000)],
];
const parameters = [
  ...["skip", "take", "after", "cursor", "type", "archived", "filter", "at", "include_hidden"],
  ...["aggregate_type", "aggregate_id", "event_type", "version", "x", "__proto__", ""],
];

/** A rotated key, a reloaded file, ends of tokens and erasures change what is fuzzed. */
const left = new Set(["rotateKey", "reloadConfig", "revokeToken", "refreshToken", "issueToken"]);
const paths = routes.filter(({ operation }) => !left.has(operation));

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
    ["X-Request-Id", "fuzz-1"],
    ["Last-Event-ID", "1"],
    ["Cookie", "a=b; c"],
    ["Access-Control-Request-Method", "POST"],
    ["Accept-Encoding", "gzip, br"],
    ["Range", "bytes=0-1"],
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

function request(dice: Dice, { token }: Goal): Buffer {
  const route = dice.pick(paths);
  const named = route.path.replaceAll(/\{\w+\}/g, () => segment(dice));
  const foreign = `/${Array.from({ length: dice.below(5) }, () => segment(dice)).join("/")}`;
  const method = dice.chance(0.9)
    ? route.method
    : dice.pick(["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "POST", "GET"]);
  const path = (dice.chance(0.9) ? named : foreign) + query(dice);
  return requestBytes({ method, path, body: bodyOf(dice) }, headers(dice, token));
}

export const http: Target = {
  name: "http",
  async attempt(goal, dice) {
    const bytes = request(dice, goal);
    const head = bytes.subarray(0, 5).toString() === "HEAD ";
    const faults = faultsOf(await exchange(goal, cut(dice, bytes)), { head });
    return faults.map((fault) => `${fault}\n  after ${JSON.stringify(bytes.toString("latin1"))}`);
  },
};

export const sse: Target = {
  name: "sse",
  async attempt(goal, dice) {
    const fields = [
      `Authorization: Bearer ${goal.token}`,
      `Accept: ${headerValue(dice, "text/event-stream")}`,
      ...(dice.chance(0.5) ? [`Last-Event-ID: ${headerValue(dice, String(dice.below(9)))}`] : []),
      ...(dice.chance(0.2) ? [`Cache-Control: ${headerValue(dice, "no-cache")}`] : []),
    ];
    const path = streamPath + query(dice);
    const bytes = requestBytes({ method: "GET", path, body: Buffer.alloc(0) }, fields);
    // The head of a stream is all there is to see of it: what follows has no end.
    const streams = (received: Buffer): boolean => /text\/event-stream/i.test(String(received));
    const faults = faultsOf(await exchange(goal, cut(dice, bytes), { enough: streams }));
    return faults.map((fault) => `${fault}\n  after ${JSON.stringify(bytes.toString("latin1"))}`);
  },
};
