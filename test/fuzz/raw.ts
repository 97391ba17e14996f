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
import { cut, exchange, type Goal, type Target } from "./target.ts";

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

function bytesOf(dice: Dice, goal: Goal): Buffer {
  switch (dice.below(5)) {
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

export const raw: Target = {
  name: "raw",
  async attempt(goal, dice) {
    const bytes = bytesOf(dice, goal);
    const { received, hangs } = await exchange(goal, cut(dice, bytes), { leaves: true });
    const failed = /^HTTP\/1\.1 500|"code":"internal"/m.test(received.toString("latin1"));
    const after = `after ${JSON.stringify(bytes.toString("latin1"))}`;
    return [
      ...(hangs ? [`a connection stays open although its client has left, ${after}`] : []),
      ...(failed ? [`${received.toString()} ${after}`] : []),
    ];
  },
};
