// Bytes that need not be HTTP at all on the port that HTTP and gRPC share: requests and frames with
// changes, several of them, and noise. Nobody is owed an answer; the connection must end.

import {
  flag,
  frame,
  frameOf,
  headerBlock,
  preface,
  prefixed,
} from "../../scripts/bench/h2-frames.ts";
import { mutated, type Dice } from "./dice.ts";
import { betrayed } from "./answer.ts";
import { after, cut, exchange, type Goal, type Said, type Target } from "./target.ts";

function requests(dice: Dice, { token }: Goal): Buffer {
  const framings = [
    "Content-Length: 2\r\n\r\n{}",
    "Content-Length: 20\r\n\r\n{}",
    "Content-Length: -1\r\n\r\n",
    "Content-Length: 99999999999999999999\r\n\r\n{}",
    "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAAA\r\n\r\n",
    `X-Long: ${"x".repeat(dice.below(40_000))}\r\n\r\n`,
    "\r\n",
  ];
  const paths = ["/health", "/v1/events", "/v1/events/stream", "/graphql", "*", "http://x/health"];
  const one = (): string => {
    const method = dice.pick(["GET", "POST", "PRI", "CONNECT", "OPTIONS"]);
    const head = `${method} ${dice.pick(paths)} HTTP/1.1\r\nHost: x\r\n`;
    return `${head}Authorization: Bearer ${token}\r\n${dice.pick(framings)}`;
  };
  return Buffer.from(Array.from({ length: 1 + dice.below(4) }, one).join(""));
}

function frames(dice: Dice, { token }: Goal): Buffer {
  const headers = headerBlock({ path: "/dbx.api.EventService/Health", token });
  const none = Buffer.alloc(0);
  const rows = Array.from({ length: dice.below(8) }, (): Buffer => {
    const id = dice.pick([0, 1, 1, 3, 5, 2, 2 ** 31 - 1]);
    const types = [...Object.values(frame), 2, 5, 9, 10, 255];
    const noise = { flags: dice.below(256), id, body: dice.bytes(40) };
    switch (dice.below(4)) {
      case 0:
        return frameOf(dice.pick(types), noise);
      case 1:
        return frameOf(frame.data, { flags: dice.below(2), id, body: prefixed(dice.bytes(9)) });
      case 2:
        return frameOf(frame.settings, { flags: dice.below(2), id: 0, body: dice.bytes(24) });
      default:
        return frameOf(frame.headers, {
          flags: flag.endHeaders | dice.below(2),
          id,
          body: headers,
        });
    }
  });
  return Buffer.concat([
    preface,
    frameOf(frame.settings, { flags: 0, id: 0, body: none }),
    ...rows,
  ]);
}

/** Two that are right, the second of which need not be read. */
function rightRequests(dice: Dice, { token }: Goal): Buffer {
  const one = (): string =>
    `GET ${dice.pick(["/health", "/v1/aggregates?take=2"])} HTTP/1.1\r\nHost: x\r\n` +
    `Authorization: Bearer ${token}\r\n\r\n`;
  return Buffer.from(one() + (dice.chance(0.5) ? one() : dice.bytes(20).toString("latin1")));
}

function bytesOf(dice: Dice, goal: Goal): Buffer {
  switch (dice.below(8)) {
    case 5:
    case 6:
    case 7:
      return rightRequests(dice, goal);
    case 0:
      return dice.bytes(80);
    case 1:
      return frames(dice, goal);
    case 2:
      return mutated(dice, frames(dice, goal));
    case 3:
      return mutated(dice, requests(dice, goal));
    default:
      return requests(dice, goal);
  }
}

/** Everything that looks like an answer; frames of HTTP/2 count as one. */
function saidIn(received: Buffer): Said[] {
  const text = received.toString("latin1");
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => String(status));
  if (statuses.length > 0) {
    return statuses.map((word) => ({ word, kind: Number(word) < 400 ? "answered" : "refused" }));
  }
  return [{ word: received.length > 0 ? "frames" : "closed", kind: "neither" }];
}

export const raw: Target = {
  name: "raw",
  place: "shared",
  async attempt(goal, dice) {
    const bytes = bytesOf(dice, goal);
    const { received, hangs } = await exchange(goal, cut(dice, bytes), { leaves: true });
    const text = received.toString("latin1");
    const failed = /HTTP\/1\.1 500|"code":"internal"/.test(text);
    const faults = [
      ...(hangs ? ["a connection stays open although its client has left"] : []),
      ...(failed ? [text] : []),
      ...betrayed(goal, text),
    ];
    return after({ said: saidIn(received), faults }, JSON.stringify(bytes.toString("latin1")));
  },
};
