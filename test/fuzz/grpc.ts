// Protobuf messages and their five bytes over real HTTP/2: encoded requests with changes, noise,
// lengths that are not true, the flag for compression. Each call is owed a status, and none of
// those that mean that dbx has failed.

import { connect, type ClientHttp2Session } from "node:http2";
import { join } from "node:path";
import { loadSync } from "protobufjs";
import { root } from "../../scripts/root.ts";
import { hugeNumbers, mutated, type Dice } from "./dice.ts";
import { filterText } from "./filter.ts";
import { jsonText } from "./json.ts";
import { case_ms_max, linger_ms, type Goal, type Target } from "./target.ts";

const contract = loadSync(join(root, "proto/dbx.proto"));
const service = contract.lookupService("dbx.api.EventService");
const methods = service.methodsArray.map(({ name, requestType, responseStream }) => ({
  path: `/dbx.api.EventService/${name}`,
  request: contract.lookupType(`dbx.api.${requestType}`),
  // Whatever streams may go on for ever.
  endless: responseStream === true,
}));
const foreign = [
  { path: "/grpc.health.v1.Health/Check", endless: false },
  { path: "/grpc.health.v1.Health/Watch", endless: true },
  { path: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", endless: true },
  { path: "/dbx.api.EventService/Nope", endless: false },
  { path: "/", endless: false },
];

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
  const { path, endless } = dice.chance(0.9) ? method : dice.pick(foreign);
  const right = Buffer.from(method.request.encode(fieldsOf(dice)).finish());
  const message = (): Buffer => (dice.chance(0.15) ? dice.bytes(60) : mutated(dice, right));
  const frames = Array.from({ length: dice.pick([1, 1, 1, 1, 0, 2]) }, () =>
    framed(dice, message()),
  );
  const encodings = ["identity", "gzip", "deflate", "br", ""];
  return {
    path,
    endless,
    body: dice.chance(0.95) ? Buffer.concat(frames) : mutated(dice, Buffer.concat(frames)),
    headers: {
      authorization: dice.chance(0.95) ? `Bearer ${token}` : "Bearer x",
      ...(dice.chance(0.1) ? { "grpc-encoding": dice.pick(encodings) } : {}),
      ...(dice.chance(0.1)
        ? { "grpc-timeout": dice.pick(["1n", "5S", "0m", "x", "99999999H"]) }
        : {}),
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

/** What is wrong with the answer to a call; null where nothing is, or it is still running. */
function faultOf(session: ClientHttp2Session, call: Call): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const stream = session.request({
    ":method": "POST",
    ":path": call.path,
    "content-type": "application/grpc",
    te: "trailers",
    ...call.headers,
  });
  const take = (fields: Readonly<Record<string, unknown>>): void => {
    const status = fields["grpc-status"];
    if (status === undefined) return;
    const name = failed.get(Number(status));
    const said = decodeURIComponent(String(fields["grpc-message"]));
    resolve(name === undefined || ofTransport.test(said) ? null : `${name}: ${said}`);
  };
  stream.on("response", take);
  stream.on("trailers", take);
  // A reset, or the end of the connection, is an answer too: bytes that are no gRPC get no other.
  stream.on("error", () => resolve(null));
  stream.on("close", () => resolve(null));
  stream.resume();
  stream.end(call.body);
  const late = () => resolve(call.endless ? null : "hangs");
  const deadline = setTimeout(late, call.endless ? linger_ms : case_ms_max);
  return promise.finally(() => {
    clearTimeout(deadline);
    stream.close();
  });
}

export const grpc: Target = {
  name: "grpc",
  async attempt(goal, dice) {
    const session = connect(`http://127.0.0.1:${goal.port}`);
    // Said by the streams already, which end with it.
    session.on("error", () => session.destroy());
    // Several on one connection: what one of them does must not reach the others.
    const calls = Array.from({ length: 1 + dice.below(4) }, () => callOf(dice, goal));
    const found = await Promise.all(calls.map((call) => faultOf(session, call)));
    session.destroy();
    return calls.flatMap(({ path, headers, body }, index) => {
      const fault = found[index] ?? null;
      const after = `${path} ${JSON.stringify(headers)} ${body.toString("hex")}`;
      return fault === null ? [] : [`${fault}\n  after ${after}`];
    });
  },
};
