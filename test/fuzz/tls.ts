// A port with TLS: greetings with changes, halves of greetings, clear text, and garbage behind a
// handshake that is right. Whoever leaves must leave nothing behind.

import { preface } from "../../scripts/bench/h2-frames.ts";
import { betrayed, judge } from "./answer.ts";
import { mutated, type Dice } from "./dice.ts";
import { publicRoutes, queryText, rightRequest } from "./requests.ts";
import {
  after,
  cut,
  exchange,
  requestBytes,
  wireOf,
  type Goal,
  type Said,
  type Target,
  type Tried,
} from "./target.ts";

let taken: Promise<Buffer> | undefined;

/** What a client says first, taken from one: a record with a ClientHello. */
async function takeGreeting(): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (_, bytes) => resolve(Buffer.from(bytes)) },
  });
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: server.port,
    tls: { rejectUnauthorized: false, ALPNProtocols: wireOf(["h2", "http/1.1"]) },
    // Its end is no failure: nobody answers it.
    socket: { data: () => {}, error: () => {} },
  });
  const bytes = await promise;
  socket.terminate();
  server.stop(true);
  return bytes;
}

/** A record of TLS whatever is in it: type, version, length, which may lie. */
function record(dice: Dice): Buffer {
  const body = dice.bytes(60);
  const head = Buffer.from([dice.pick([20, 21, 22, 23, 24, 255]), 3, dice.below(5), 0, 0]);
  head.writeUInt16BE(dice.chance(0.7) ? body.length : dice.below(2 ** 16), 3);
  return Buffer.concat([head, body]);
}

/** Bytes of somebody who never gets as far as a handshake. */
function unshaken(dice: Dice, greeting: Buffer): Buffer {
  switch (dice.below(5)) {
    case 0:
      return mutated(dice, greeting);
    case 1:
      return greeting.subarray(0, dice.below(greeting.length + 1));
    case 2:
      return Buffer.concat([greeting, record(dice), record(dice)]);
    case 3:
      return Buffer.concat([record(dice), dice.bytes(40)]);
    default:
      return Buffer.from(
        dice.pick(["GET /health HTTP/1.1\r\nHost: x\r\n\r\n", preface.toString()]),
      );
  }
}

async function withoutHandshake(goal: Goal, dice: Dice): Promise<Tried> {
  taken ??= takeGreeting();
  const bytes = unshaken(dice, await taken);
  const { received, hangs } = await exchange(goal, cut(dice, bytes), { leaves: true });
  const text = received.toString("latin1");
  // Nothing in clear: an answer of HTTP would invite to send the token again.
  const said: Said = { word: received.length > 0 ? "alert" : "closed", kind: "refused" };
  const faults = [
    ...(hangs ? ["a connection stays open although its client has left"] : []),
    ...(text.startsWith("HTTP/") ? [`an answer in clear: ${text}`] : []),
    ...betrayed(goal, text),
  ];
  return after({ said: [said], faults }, bytes.toString("hex"));
}

/** Garbage, the other protocol's greeting, or a request with a change, all of it encrypted. */
async function garbageInside(goal: Goal, dice: Dice): Promise<Tried> {
  const alpn = dice.pick([["http/1.1"], ["h2"], ["h2", "http/1.1"], ["spdy/1"]]);
  const request = `GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${goal.token}\r\n\r\n`;
  const bytes = dice.pick([
    dice.bytes(200),
    Buffer.concat([preface, dice.bytes(60)]),
    mutated(dice, preface),
    mutated(dice, request),
  ]);
  const { received, hangs } = await exchange(goal, cut(dice, bytes), { leaves: true, alpn });
  const text = received.toString("latin1");
  const faults = [
    ...(hangs ? ["a connection stays open although its client has left"] : []),
    ...(/HTTP\/1\.1 500|"code":"internal"/.test(text) ? [text] : []),
    ...betrayed(goal, text),
  ];
  const said: Said = { word: received.length > 0 ? "said" : "closed", kind: "neither" };
  return after({ said: [said], faults }, `${alpn.join()} ${bytes.toString("hex")}`);
}

async function right(goal: Goal, dice: Dice): Promise<Tried> {
  const { method, path, query, body } = rightRequest(dice, dice.pick(publicRoutes));
  const fields = [`Authorization: Bearer ${goal.token}`, "Content-Type: application/json"];
  const whole = { method, path: path + queryText(query), body: Buffer.from(body) };
  const bytes = requestBytes(whole, fields);
  const exchanged = await exchange(goal, cut(dice, bytes), { alpn: ["http/1.1"] });
  return after(judge(goal, exchanged), JSON.stringify(bytes.toString("latin1")));
}

export const tls: Target = {
  name: "tls",
  place: "tls",
  attempt: (goal, dice) => dice.pick([right, right, withoutHandshake, garbageInside])(goal, dice),
};
