// Events over gRPC, against servers of grpc-js that read the contract by themselves, and against
// receivers that are none: what is reported as delivered was received, and what was not comes
// again.

import { afterEach, describe, expect, test } from "bun:test";
import {
  Server,
  ServerCredentials,
  status,
  type Metadata,
  type ServerReadableStream,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { Socket } from "bun";
import { canonicalize } from "../../src/model/canonical.ts";
import type { GrpcConfig } from "../../src/model/plugin.ts";
import type { Emission } from "../../src/plugins/emitter.ts";
import { createGrpcEmitter } from "../../src/plugins/emitters/grpc.ts";
import { protoPath, type Loose } from "../support/grpc.ts";
import {
  deliverAll,
  emission,
  emissions,
  hasty,
  never,
  payloadMark,
} from "../support/emissions.ts";

const open: { close: () => unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

const loaded: Loose = loadSync(protoPath("replication"), { keepCase: true, longs: Number });
const service: Loose = loaded["eventdbx.replication.Replication"];

interface Batch {
  readonly versions: number[];
  readonly sequence: number;
  readonly events: Loose[];
}

interface Receiver {
  readonly address: string;
  readonly batches: Batch[];
  readonly metadata: Metadata[];
}

/** `judge` gives the status of a call; OK without one. A call that it keeps waits for ever. */
async function receive(
  judge: (batch: Batch, count: number) => number | "keep" = () => status.OK,
  { port = 0 } = {},
): Promise<Receiver> {
  const batches: Batch[] = [];
  const metadata: Metadata[] = [];
  const apply = (call: ServerReadableStream<Loose, Loose>, answer: Loose): void => {
    metadata.push(call.metadata);
    const verdicts: (number | "keep")[] = [];
    call.on("data", ({ events, sequence }: Loose) => {
      const versions = events.map(({ version }: Loose) => version);
      const batch = { versions, sequence, events };
      verdicts.push(judge(batch, batches.push(batch)));
    });
    call.on("end", () => {
      const [code = status.OK] = verdicts;
      if (code === "keep") return;
      const details = `no: ${payloadMark}`;
      if (code === status.OK) answer(null, { applied_sequence: batches.at(-1)?.sequence });
      else answer({ code, details });
    });
  };
  const server = new Server({ "grpc.max_receive_message_length": 4_194_304 });
  server.addService(service, { ApplyEvents: apply });
  const address = await new Promise<string>((done, fail) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? done(`127.0.0.1:${bound}`) : fail(error),
    );
  });
  open.push({ close: () => server.forceShutdown() });
  return { address, batches, metadata };
}

function receiveBytes(answer: (socket: Socket<undefined>) => void) {
  const server = Bun.listen<undefined>({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: answer, error: () => {} },
  });
  open.push({ close: () => server.stop(true) });
  return `127.0.0.1:${server.port}`;
}

function emit(endpoint: string, over: Partial<GrpcConfig> = {}, bounds = hasty) {
  const emitter = createGrpcEmitter({ type: "grpc", endpoint, ...over }, bounds);
  open.push(emitter);
  return emitter;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

test("events are one batch, with everything that proves them", async () => {
  const { address, batches } = await receive();
  const all = emissions(256);
  expect(await emit(address).deliver(all, never)).toEqual({ delivered: 256, fault: null });
  expect(batches.map(({ versions, sequence }) => ({ versions, sequence }))).toEqual([
    { versions: upTo(256), sequence: 256 },
  ]);
  const { record, body } = emission(1);
  const [event] = batches[0]?.events ?? [];
  expect(event).toEqual({
    ...{ aggregate_type: "patient", aggregate_id: "p-001", event_type: "patient-updated" },
    ...{ version: 1, merkle_root: record.merkle_root, hash: record.hash },
    payload: Buffer.from(record.payload),
    metadata: Buffer.from(JSON.stringify(record.metadata)),
    salt: body?.salt,
    content_digest: body?.content_digest,
  });
});

test("a token is a bearer, and without one there is none", async () => {
  const { address, metadata } = await receive();
  await emit(address, { token: "EVT-secret-token" }).deliver(emissions(1), never);
  await emit(address).deliver(emissions(1), never);
  expect(metadata.map((one) => one.get("authorization"))).toEqual([
    ["Bearer EVT-secret-token"],
    [],
  ]);
});

describe("endpoints", () => {
  for (const scheme of ["", "grpc://", "http://", "GRPC://"]) {
    test(`${scheme}host:port`, async () => {
      const { address } = await receive();
      expect(await emit(` ${scheme}${address} `).deliver(emissions(1), never)).toMatchObject({
        delivered: 1,
      });
    });
  }
  for (const endpoint of [
    "tcp://a:1",
    "grpc://a:1/path",
    "a:1?b",
    "a b:1",
    "grpc://u@a:1",
    "a:99999",
  ]) {
    test(`${endpoint} is none`, () => {
      expect(() => emit(endpoint)).toThrow(/endpoint/);
    });
  }
});

test("batches stay below what receivers take, and a larger event goes alone", async () => {
  const { address, batches } = await receive();
  const large = (version: number, length: number) =>
    emission(version, {
      payload: canonicalize(JSON.stringify({ mark: "x".repeat(length) })),
    });
  const all = [
    large(1, 1_400_000),
    large(2, 1_400_000),
    large(3, 1_400_000),
    large(4, 3_500_000),
    large(5, 9),
  ];
  expect(await emit(address).deliver(all, never)).toEqual({ delivered: 5, fault: null });
  expect(batches.map(({ versions }) => versions)).toEqual([[1, 2], [3], [4], [5]]);
});

test("an erasure comes in one message with what it covers, as large as a transaction", async () => {
  const { address, batches } = await receive();
  const covered = emissions(998).map(({ record, body }) => ({ record, body }));
  const all = emissions(4, { first: 999 }).map((each, index) =>
    index === 2 ? { ...each, before: async () => covered } : each,
  );
  expect(await emit(address).deliver(all, never)).toEqual({ delivered: 4, fault: null });
  const upToLast = [...upTo(998), 1001, 1002];
  expect(batches.map(({ versions }) => versions)).toEqual([[999, 1000], upToLast]);
  expect(batches.map(({ sequence }) => sequence)).toEqual([1000, 1002]);
});

test("what an erasure covers and cannot be read is nobody's fault but the storage's", async () => {
  const { address } = await receive();
  const [first, second] = emissions(2);
  const broken = { ...second, before: () => Promise.reject(new Error("a path")) } as Emission;
  expect(await emit(address).deliver([first as Emission, broken], never)).toEqual({
    delivered: 0,
    fault: {
      message: `grpc ${address}: what was erased could not be read (Error)`,
      reached: false,
    },
  });
});

test("the batches before one that is refused are delivered", async () => {
  const { address } = await receive(({ versions }) =>
    versions.includes(3) ? status.UNAVAILABLE : status.OK,
  );
  const bounds = { ...hasty, plugin_grpc_message_bytes_max: 1_000 };
  const result = await emit(address, {}, bounds).deliver(emissions(6), never);
  expect(result.delivered).toBe(2);
  expect(result.fault?.message).toBe(`grpc request failed (UNAVAILABLE) at ${address}`);
});

test("a refusal of one event is pursued to it: those before it are delivered", async () => {
  const { address, batches } = await receive(({ versions }) =>
    versions.includes(100) ? status.FAILED_PRECONDITION : status.OK,
  );
  const emitter = emit(address);
  expect(await emitter.deliver(emissions(256), never)).toEqual({
    delivered: 99,
    fault: { message: `grpc request failed (FAILED_PRECONDITION) at ${address}`, reached: true },
  });
  expect(batches.length).toBeLessThanOrEqual(17);
  const rest = emissions(156, { first: 101 });
  expect(await emitter.deliver(rest, never)).toEqual({ delivered: 156, fault: null });
});

describe("what a status means", () => {
  const cases: [number, boolean][] = [
    ...[status.UNAUTHENTICATED, status.PERMISSION_DENIED, status.UNIMPLEMENTED].map(none),
    ...[status.UNAVAILABLE, status.CANCELLED, status.DEADLINE_EXCEEDED].map(none),
    ...[status.INTERNAL, status.INVALID_ARGUMENT, status.ABORTED, status.UNKNOWN].map(one),
  ];
  for (const [code, reached] of cases) {
    test(`${status[code]}`, async () => {
      const { address, batches } = await receive(() => code);
      const { delivered, fault } = await emit(address).deliver(emissions(4), never);
      expect({ delivered, fault }).toEqual({
        delivered: 0,
        fault: { message: `grpc request failed (${status[code]}) at ${address}`, reached },
      });
      expect(batches).toHaveLength(reached ? 3 : 1);
    });
  }
});
function none(code: number): [number, boolean] {
  return [code, false];
}
function one(code: number): [number, boolean] {
  return [code, true];
}

test("a receiver that refuses and recovers gets everything in order", async () => {
  const { address, batches } = await receive((_, count) =>
    count <= 2 ? status.UNAVAILABLE : status.OK,
  );
  const faults = await deliverAll(emit(address), emissions(600), { attempts: 2 });
  expect(faults).toHaveLength(2);
  expect(batches.slice(2).flatMap(({ versions }) => versions)).toEqual(upTo(600));
});

test("nobody there is told, and the events arrive once somebody is", async () => {
  const first = await receive();
  await open.pop()?.close();
  const emitter = emit(first.address);
  expect(await emitter.deliver(emissions(2), never)).toEqual({
    delivered: 0,
    fault: {
      message: `grpc request failed (UNAVAILABLE, ECONNREFUSED) at ${first.address}`,
      reached: false,
    },
  });
  const { batches } = await receive(() => status.OK, { port: Number(first.address.split(":")[1]) });
  expect(await emitter.deliver(emissions(2), never)).toEqual({ delivered: 2, fault: null });
  expect(batches[0]?.versions).toEqual([1, 2]);
});

test("a receiver that dies and comes back gets what it may not have", async () => {
  const first = await receive(() => {
    setImmediate(() => void open[0]?.close());
    return "keep";
  });
  const emitter = emit(first.address);
  const { delivered, fault } = await emitter.deliver(emissions(3), never);
  expect({ delivered, reached: fault?.reached }).toEqual({ delivered: 0, reached: false });
  const { batches } = await receive(() => status.OK, { port: Number(first.address.split(":")[1]) });
  expect(await emitter.deliver(emissions(3), never)).toEqual({ delivered: 3, fault: null });
  expect(batches[0]?.versions).toEqual([1, 2, 3]);
});

describe("a receiver that never answers", () => {
  const late = (address: string) => `grpc ${address} did not answer in time`;

  test("to the call", async () => {
    const { address } = await receive(() => "keep");
    expect(await emit(address).deliver(emissions(1), never)).toEqual({
      delivered: 0,
      fault: { message: late(address), reached: false },
    });
  });
  test("at all", async () => {
    const address = receiveBytes(() => {});
    const { delivered, fault } = await emit(address).deliver(emissions(1), never);
    expect({ delivered, fault }).toEqual({
      delivered: 0,
      fault: { message: late(address), reached: false },
    });
    await expect(emit(address).check(never)).rejects.toMatchObject({ code: "unavailable" });
  });
});

for (const [name, answer] of [
  ["is no HTTP/2", (socket) => void socket.write(`${payloadMark}\r\n`.repeat(2_000))],
  ["is HTTP/1", (socket) => void socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
  ["is an end", (socket) => void socket.end()],
  ["is a reset", (socket) => socket.terminate()],
] satisfies [string, (socket: Socket<undefined>) => void][]) {
  test(`an answer that ${name} delivers nothing`, async () => {
    const address = receiveBytes(answer);
    const { delivered, fault } = await emit(address).deliver(emissions(3), never);
    expect(delivered).toBe(0);
    expect(fault?.message).toContain(address);
    expect(fault?.message).not.toContain(payloadMark);
  });
}

test("an answer that is too large delivers nothing", async () => {
  const server = new Server();
  const path = "/eventdbx.replication.Replication/ApplyEvents";
  const same = (bytes: Buffer) => bytes;
  server.register(
    path,
    (call: Loose, answer: Loose) =>
      call.on("end", () => answer(null, Buffer.alloc(1_000_000))).resume(),
    ...([same, same, "clientStream"] as const),
  );
  const port = await new Promise<number>((done) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (_, bound) => done(bound)),
  );
  open.push({ close: () => server.forceShutdown() });
  const { delivered, fault } = await emit(`127.0.0.1:${port}`).deliver(emissions(1), never);
  expect({ delivered, reached: fault?.reached }).toEqual({ delivered: 0, reached: true });
});

describe("waiting ends at once", () => {
  const patient = { ...hasty, plugin_grpc_ms: 600_000 };
  test("by the signal", async () => {
    const stop = new AbortController();
    const { address } = await receive(() => {
      setImmediate(() => stop.abort());
      return "keep";
    });
    expect(await emit(address, {}, patient).deliver(emissions(1), stop.signal)).toEqual({
      delivered: 0,
      fault: { message: `grpc ${address} was stopped`, reached: false },
    });
  });
  test("by closing", async () => {
    const { address } = await receive(() => {
      setImmediate(() => void emitter.close());
      return "keep";
    });
    const emitter = emit(address, {}, patient);
    expect(await emitter.deliver(emissions(1), never)).toMatchObject({ delivered: 0 });
  });
});

test("a check connects, and says so when it cannot", async () => {
  const { address } = await receive();
  await emit(address).check(never);
  await open[0]?.close();
  await expect(emit(address).check(never)).rejects.toMatchObject({
    code: "unavailable",
    message: `grpc ${address} cannot be connected to`,
  });
  await expect(emit(address).check(AbortSignal.abort())).rejects.toMatchObject({
    code: "unavailable",
  });
});
