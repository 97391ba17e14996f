// Protobuf messages and their five bytes over real HTTP/2: encoded requests with changes, noise,
// lengths that are not true, the flag for compression. Each call is owed a status, and none of
// those that mean that dbx has failed.

import { connect, type ClientHttp2Session } from "node:http2";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { loadSync } from "protobufjs";
import { root } from "../../scripts/root.ts";
import { prefixed } from "../../scripts/bench/h2-frames.ts";
import { betrayed } from "./answer.ts";
import { hugeNumbers, mutated, type Dice } from "./dice.ts";
import { filterText } from "./filter.ts";
import { jsonText } from "./json.ts";
import { idOf, typeOf } from "./requests.ts";
import {
  after,
  case_ms_max,
  linger_ms,
  type Goal,
  type Said,
  type Target,
  type Tried,
} from "./target.ts";

const contract = loadSync(join(root, "proto/dbx.proto"));
const service = contract.lookupService("dbx.api.EventService");
const methods = service.methodsArray.map(({ name, requestType, responseStream }) => ({
  path: `/dbx.api.EventService/${name}`,
  request: contract.lookupType(`dbx.api.${requestType}`),
  // Whatever streams may go on for ever.
  endless: responseStream === true,
}));
const methodPaths = new Set(methods.map(({ path }) => path));
const foreign = [
  { path: "/grpc.health.v1.Health/Check", endless: false },
  { path: "/grpc.health.v1.Health/Watch", endless: true },
  { path: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", endless: true },
  { path: "/dbx.api.EventService/Nope", endless: false },
  { path: "/", endless: false },
];

/** Fields that every call takes, as far as it has them. */
function rightFields(dice: Dice): Record<string, unknown> {
  const event = () => ({
    aggregateType: typeOf(dice),
    aggregateId: idOf(dice),
    eventType: "noted",
    payloadJson: '{"status":"open"}',
  });
  return { ...event(), events: [event(), event()], after: dice.below(9_000), take: dice.below(9) };
}

function fieldsOf(dice: Dice): Record<string, unknown> {
  const event = () => ({
    aggregateType: dice.pick(["order", "person", ""]),
    aggregateId: `p-${dice.below(200)}`,
    eventType: "noted",
    payloadJson: jsonText(dice),
    ...(dice.chance(0.2) ? { note: dice.text(8).toWellFormed() } : {}),
    ...(dice.chance(0.2) ? { expectedVersion: dice.below(4) } : {}),
  });
  return {
    ...event(),
    ...(dice.chance(0.5) ? { events: Array.from({ length: dice.below(4) }, event) } : {}),
    ...(dice.chance(0.3) ? { after: dice.below(20) } : {}),
    ...(dice.chance(0.3) ? { take: dice.below(20) } : {}),
    ...(dice.chance(0.3) ? { filter: filterText(dice) } : {}),
    ...(dice.chance(0.2) ? { at: dice.pick(["2026-01-01T00:00:00Z", "x"]) } : {}),
  };
}

/** A message behind its flag and its length; both may lie. */
function framed(dice: Dice, message: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = dice.chance(0.9) ? 0 : dice.pick([1, 2, 255]);
  const lies = [0, message.length + 1, message.length - 1, 2 ** 31, 2 ** 32 - 1, 16_777_217];
  const length = dice.chance(0.9) ? message.length : dice.pick(lies);
  prefix.writeUInt32BE(Math.max(0, length), 1);
  return Buffer.concat([prefix, message]);
}

interface Call {
  readonly path: string;
  readonly endless: boolean;
  readonly body: Buffer;
  readonly headers: Record<string, string>;
}

function callOf(dice: Dice, { token }: Goal): Call {
  const method = dice.pick(methods);
  const encoded = (fields: Record<string, unknown>): Buffer =>
    Buffer.from(method.request.encode(fields).finish());
  if (dice.chance(0.4)) {
    const { path, endless } = method;
    const message = encoded(rightFields(dice));
    const authorization = `Bearer ${token}`;
    if (dice.chance(0.8))
      return { path, endless, body: prefixed(message), headers: { authorization } };
    const body = prefixed(gzipSync(message));
    body[0] = 1;
    return { path, endless, body, headers: { authorization, "grpc-encoding": "gzip" } };
  }
  const { path, endless } = dice.chance(0.9) ? method : dice.pick(foreign);
  const right = encoded(fieldsOf(dice));
  const message = (): Buffer => (dice.chance(0.15) ? dice.bytes(60) : mutated(dice, right));
  const frames = Array.from({ length: dice.pick([1, 1, 1, 1, 0, 2]) }, () =>
    framed(dice, message()),
  );
  const encodings = ["identity", "gzip", "deflate", "br", ""];
  const timeouts = ["1n", "5S", "0m", "x", "99999999H"];
  return {
    path,
    endless,
    body: dice.chance(0.95) ? Buffer.concat(frames) : mutated(dice, Buffer.concat(frames)),
    headers: {
      authorization: dice.chance(0.95) ? `Bearer ${token}` : "Bearer x",
      ...(dice.chance(0.1) ? { "grpc-encoding": dice.pick(encodings) } : {}),
      ...(dice.chance(0.1) ? { "grpc-timeout": dice.pick(timeouts) } : {}),
      ...(dice.chance(0.05) ? { "x-request-id": dice.pick(hugeNumbers) } : {}),
    },
  };
}

/** UNKNOWN and INTERNAL: neither is what a client can be told of its own fault. */
const failed = new Map([
  [2, "UNKNOWN"],
  [13, "INTERNAL"],
]);
/** What grpc-js says before dbx is asked, of bytes that are no call; INTERNAL, as gRPC has it. */
const ofTransport = /^Invalid grpc-timeout value|^Failed to decompress message$/;

/** What became of a call, and what of it must not have been said. */
function callTo(session: ClientHttp2Session, goal: Goal, call: Call): Promise<Tried> {
  const { promise, resolve } = Promise.withResolvers<Tried>();
  const end = (said: Said, faults: readonly string[] = []): void =>
    resolve({ said: [said], faults: [...faults, ...betrayed(goal, received)] });
  const stream = session.request({
    ":method": "POST",
    ":path": call.path,
    "content-type": "application/grpc",
    te: "trailers",
    ...call.headers,
  });
  let received = "";
  let named = false;
  const take = (fields: Readonly<Record<string, unknown>>): void => {
    named ||= typeof fields["x-request-id"] === "string";
    received += JSON.stringify(fields);
    const status = fields["grpc-status"];
    if (status === undefined) return;
    const code = Number(status);
    const name = failed.get(code);
    const words = decodeURIComponent(String(fields["grpc-message"]));
    received += words;
    const said = { word: `code ${code}`, kind: code === 0 ? "answered" : "refused" } as const;
    const faults = name === undefined || ofTransport.test(words) ? [] : [`${name}: ${words}`];
    const nameless = code === 0 && !named && methodPaths.has(call.path) ? ["no request id"] : [];
    end(said, [...faults, ...nameless]);
  };
  const reset = (): void => end({ word: "reset", kind: "neither" });
  stream.on("response", take);
  stream.on("trailers", take);
  stream.on("data", (chunk: Buffer) => {
    received += chunk.toString("latin1");
  });
  // A reset, or the end of the connection, is an answer too: bytes that are no gRPC get no other.
  stream.on("error", reset);
  stream.on("close", reset);
  stream.end(call.body);
  const late = (): void => {
    if (call.endless) end({ word: "streams", kind: received === "" ? "neither" : "answered" });
    else end({ word: "hangs", kind: "neither" }, ["hangs"]);
  };
  const deadline = setTimeout(late, call.endless ? linger_ms : case_ms_max);
  return promise.finally(() => {
    clearTimeout(deadline);
    stream.close();
  });
}

export const grpc: Target = {
  name: "grpc",
  place: "shared",
  async attempt(goal, dice) {
    const session = connect(`http://127.0.0.1:${goal.port}`);
    // Said by the streams already, which end with it.
    session.on("error", () => session.destroy());
    // Several on one connection: what one of them does must not reach the others.
    const calls = Array.from({ length: 1 + dice.below(4) }, () => callOf(dice, goal));
    const tried = await Promise.all(
      calls.map(async (call) => {
        const { path, headers, body } = call;
        const sent = `${path} ${JSON.stringify(headers)} ${body.toString("hex")}`;
        return after(await callTo(session, goal, call), sent);
      }),
    );
    session.destroy();
    return {
      said: tried.flatMap(({ said }) => said),
      faults: tried.flatMap(({ faults }) => faults),
    };
  },
};
