// ApplyEvents on a live server, by a client that reads the contract from its file: what another
// node has committed comes over as it is, once, and nothing else does.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ServiceError } from "@grpc/grpc-js";
import { canonicalize } from "../../src/model/canonical.ts";
import { toRecord } from "../../src/model/event.ts";
import { limits } from "../../src/model/limits.ts";
import { createMemoryStorage } from "../../src/storage/memory.ts";
import { replicatedMessage } from "../../src/wire/replication.ts";
import {
  bearer,
  connect,
  startTestGrpc,
  toldError,
  type Loose,
  type TestGrpc,
} from "../support/grpc.ts";
import { append, event, transaction } from "../support/storage.ts";
import { root } from "../support/store.ts";

let node: TestGrpc;
let client: ReturnType<typeof connect>;
beforeAll(async () => {
  node = await startTestGrpc();
  client = connect(node.address, {
    ...{ proto: "replication", service: "eventdbx.replication.Replication" },
  });
});
afterAll(async () => {
  client.close();
  await node[Symbol.asyncDispose]();
});

let made = 0;
/** Events of a new aggregate elsewhere, as messages. */
async function abroad(count: number): Promise<{ id: string; messages: Loose[] }> {
  const id = `a-${++made}`;
  const origin = createMemoryStorage({ sealing: "none" });
  for (let index = 0; index < count; index++) {
    const payload = canonicalize(`{"n":1844674407370955161${index % 10},"s":"é\\u0000"}`);
    const planned = event({ aggregate_type: "abroad", aggregate_id: id }, { payload, note: "ü" });
    await append(origin, [transaction([planned], { issued_by: { group: "g", user: "é" } })]);
  }
  const events = await origin.readLog({ after: 0, limit: count });
  return { id, messages: events.map((one) => replicatedMessage(toRecord(one), one)) };
}

function apply(
  batches: readonly { events: readonly Loose[]; sequence: number }[],
  token: string | null = node.token,
): Promise<Loose> {
  return new Promise((resolve, reject) => {
    const call = client["ApplyEvents"](bearer(token), (error: ServiceError | null, ack: Loose) =>
      error === null ? resolve(ack) : reject(error),
    );
    for (const batch of batches) call.write(batch);
    call.end();
  });
}

async function refusal(work: Promise<unknown>): Promise<ServiceError> {
  return work.then(
    (answer) => Promise.reject(new Error(`answered ${JSON.stringify(answer)}`)),
    (error: ServiceError) => error,
  );
}

const recordsOf = (aggregate_id: string) =>
  node.store.dbx.listEvents(root, { aggregate_type: "abroad", aggregate_id });

describe("batches of events", () => {
  test("are taken over in order and exactly; the last one is acknowledged", async () => {
    const { id, messages } = await abroad(5);
    const ack = await apply([
      { events: messages.slice(0, 2), sequence: 7 },
      { events: messages.slice(2), sequence: 12 },
    ]);
    expect(ack).toEqual({ applied_sequence: "12" });
    const records = await recordsOf(id);
    expect(
      records.map(({ version, hash, merkle_root }) => ({ version, hash, merkle_root })),
    ).toEqual(messages.map(({ version, hash, merkle_root }) => ({ version, hash, merkle_root })));
    expect(String(records[4]?.payload)).toBe('{"n":18446744073709551614,"s":"é\\u0000"}');
    expect(records[0]?.metadata).toMatchObject({ issued_by: { group: "g", user: "é" }, note: "ü" });
  });

  test("come again without harm, also overlapping, and may be none at all", async () => {
    const { id, messages } = await abroad(3);
    await apply([{ events: messages.slice(0, 2), sequence: 1 }]);
    await apply([{ events: messages, sequence: 2 }]);
    expect(await recordsOf(id)).toHaveLength(3);
    expect(await apply([])).toEqual({ applied_sequence: "0" });
    expect(await apply([{ events: [], sequence: 9 }])).toEqual({ applied_sequence: "9" });
  });

  test("may have as many events as a transaction, and no more", async () => {
    const most = limits.import_events_max;
    const { id, messages } = await abroad(most + 1);
    const many = await refusal(apply([{ events: messages, sequence: 1 }]));
    expect(toldError(many)).toMatchObject({ code: "too_large" });
    await apply([
      { events: messages.slice(0, most), sequence: 1 },
      { events: messages.slice(most), sequence: 2 },
    ]);
    const key = { aggregate_type: "abroad", aggregate_id: id };
    expect(await node.store.dbx.getAggregate(root, key)).toMatchObject({ version: most + 1 });
  });
});

describe("refused is", () => {
  test("an event without salt or digest, as EventDBX sends it", async () => {
    const { id, messages } = await abroad(1);
    for (const missing of ["salt", "content_digest"]) {
      const [{ [missing]: _, ...bare } = {} as Loose] = messages;
      const error = await refusal(apply([{ events: [bare], sequence: 1 }]));
      expect(toldError(error)).toMatchObject({ code: "invalid_argument" });
      expect(error.details).toContain(missing);
    }
    expect(await recordsOf(id).catch(() => "none")).toBe("none");
  });

  test("what was changed on the way, from that batch on", async () => {
    const { id, messages } = await abroad(4);
    const forged = { ...messages[2], payload: Buffer.from('{"n":1}') };
    const error = await refusal(
      apply([
        { events: messages.slice(0, 2), sequence: 1 },
        { events: [forged, messages[3]], sequence: 2 },
      ]),
    );
    expect(toldError(error)).toMatchObject({
      ...{ code: "failed_precondition" },
      details: { reason: "unproven", version: 3, index: 0 },
    });
    expect(await recordsOf(id)).toHaveLength(2);
  });

  test("what is no JSON, and says where", async () => {
    const { messages } = await abroad(2);
    const broken = { ...messages[1], metadata: Buffer.from("{") };
    const error = await refusal(apply([{ events: [messages[0], broken], sequence: 1 }]));
    expect(toldError(error)).toMatchObject({
      ...{ code: "invalid_argument", details: { index: 1, path: "/events/1/metadata" } },
    });
  });

  test("whoever has no token, or one that may not append, or not there", async () => {
    const { messages } = await abroad(1);
    const batches = [{ events: messages, sequence: 1 }];
    const { dbx } = node.store;
    const reader = await dbx.issueToken(root, { group: "app", user: "r", grants: ["read"] });
    const aggregates = [{ aggregate_type: "ward" }];
    const scoped = await dbx.issueToken(root, { group: "app", user: "s", aggregates });
    const codes = [null, `EVT-${"0".repeat(64)}`, reader.token, scoped.token].map(
      async (token) => toldError(await refusal(apply(batches, token))).code,
    );
    expect(await Promise.all(codes)).toEqual([
      ...["unauthenticated", "unauthenticated", "permission_denied", "permission_denied"],
    ]);
  });
});

test("a sender that only waits is told when the server stops", async () => {
  await using other = await startTestGrpc();
  const peer = connect(other.address, {
    ...{ proto: "replication", service: "eventdbx.replication.Replication" },
  });
  const { messages } = await abroad(1);
  const refused = new Promise<ServiceError>((resolve) => {
    const call = peer["ApplyEvents"](bearer(other.token), (error: ServiceError) => resolve(error));
    call.write({ events: messages, sequence: 1 });
  });
  const key = { aggregate_type: "abroad", aggregate_id: messages[0].aggregate_id };
  const until = new AbortController();
  const following = other.store.live.followLog(() => root, { after: 0 }, until.signal);
  for await (const { records } of following) if (records.length > 0) until.abort();
  other.drain();
  expect((await refused).code).toBe(14);
  expect(await other.store.dbx.getAggregate(root, key)).toMatchObject({ version: 1 });
  peer.close();
});

test("afterwards the whole log verifies and no message is held", async () => {
  await node.store.dbx.verifyLog(root, {});
  const figures = node.figures.read();
  expect(figures).toMatchObject({ grpc_message_bytes: 0 });
});
