// What another dbx says of a refusal besides its status: whether it is about an event at all, and
// why, in words of this side alone.

import { afterEach, expect, test } from "bun:test";
import { Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";
import { hasty, emissions, never, payloadMark } from "../support/emissions.ts";
import { createGrpcEmitter } from "../../src/plugins/emitters/grpc.ts";
import type { Loose } from "../support/grpc.ts";

const open: { close: () => unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

interface Told {
  readonly code: number;
  readonly error: object | string;
}

/** Refuses every call. */
async function refuse({ code, error }: Told) {
  const server = new Server();
  const same = (bytes: Buffer) => bytes;
  let calls = 0;
  const apply = (call: Loose, done: Loose): void => {
    calls++;
    const metadata = new Metadata();
    metadata.set("dbx-error", typeof error === "string" ? error : JSON.stringify(error));
    call.on("end", () => done({ code, details: payloadMark, metadata })).resume();
  };
  const path = "/eventdbx.replication.Replication/ApplyEvents";
  server.register(path, apply, same, same, "clientStream");
  open.push({ close: () => server.forceShutdown() });
  const credentials = ServerCredentials.createInsecure();
  return new Promise<{ address: string; calls: () => number }>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", credentials, (problem, port) =>
      problem === null
        ? resolve({ address: `127.0.0.1:${port}`, calls: () => calls })
        : reject(problem),
    ),
  );
}

const precondition = (details: object): Told => ({
  code: status.FAILED_PRECONDITION,
  error: { code: "failed_precondition", message: payloadMark, details },
});

const cases: [string, Told, { words: string; reached: boolean }][] = [
  [
    "takes no more for now is nobody's fault",
    {
      code: status.RESOURCE_EXHAUSTED,
      error: { code: "overloaded", message: payloadMark, details: { retry_after_ms: 9 } },
    },
    { words: "RESOURCE_EXHAUSTED, it takes no more for now", reached: false },
  ],
  [
    "finds it too large",
    {
      code: status.RESOURCE_EXHAUSTED,
      error: { code: "too_large", message: payloadMark, details: {} },
    },
    { words: "RESOURCE_EXHAUSTED", reached: true },
  ],
  [
    "misses events before it",
    precondition({ reason: "gap" }),
    { words: "FAILED_PRECONDITION, events before it are missing there", reached: true },
  ],
  [
    "has another history",
    precondition({ reason: "fork" }),
    { words: "FAILED_PRECONDITION, the history there is another one", reached: true },
  ],
  [
    "cannot erase",
    precondition({ encrypted: "none" }),
    { words: "FAILED_PRECONDITION, it cannot erase without a key of its own", reached: true },
  ],
  [
    "has a reason that nobody knows",
    precondition({ reason: payloadMark }),
    { words: "FAILED_PRECONDITION", reached: true },
  ],
  [
    "says what is no JSON",
    { code: status.RESOURCE_EXHAUSTED, error: "{" },
    { words: "RESOURCE_EXHAUSTED", reached: true },
  ],
];

test.each(cases)("a node that %s", async (_, told, { words, reached }) => {
  const { address, calls } = await refuse(told);
  const emitter = createGrpcEmitter({ type: "grpc", endpoint: address }, hasty);
  open.push(emitter);
  expect(await emitter.deliver(emissions(4), never)).toEqual({
    delivered: 0,
    fault: { message: `grpc request failed (${words}) at ${address}`, reached },
  });
  // A refusal of one event is pursued to it.
  expect(calls()).toBe(reached ? 3 : 1);
});
