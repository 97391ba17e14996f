// Numbers and names of proto/replication.proto are EventDBX's and ours for ever: here once more, by
// hand. The golden bytes were put together without any library.

import protobuf from "protobufjs";
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { loadSync } from "@grpc/proto-loader";
import { canonicalize } from "../../src/model/canonical.ts";
import type { EventRecord } from "../../src/model/event.ts";
import { loadReplicationContract } from "../../src/wire/contract.ts";
import { replicatedMessage } from "../../src/wire/replication.ts";
import { protoPath, type Loose } from "../support/grpc.ts";

const promised: Record<string, Record<string, string>> = {
  EventRecord: {
    ...{
      aggregate_type: "1 string",
      aggregate_id: "2 string",
      event_type: "3 string",
      version: "4 uint64",
      merkle_root: "5 string",
    },
    ...{ payload: "6 bytes", metadata: "7 bytes", hash: "8 string" },
    // Ours.
    ...{ salt: "9 bytes", content_digest: "10 bytes" },
  },
  EventBatch: { events: "1 repeated EventRecord", sequence: "2 uint64" },
  ReplicationAck: { applied_sequence: "1 uint64" },
};

test("every message has the fields that were promised, and no others", () => {
  const text = readFileSync(protoPath("replication"), "utf8");
  const space = protobuf.parse(text, { keepCase: true }).root.lookup("eventdbx.replication");
  if (!(space instanceof protobuf.Namespace)) throw new Error("no package");
  const types = space.nestedArray.filter((member) => member instanceof protobuf.Type);
  const found = types.map((type) => [
    type.name,
    Object.fromEntries(
      type.fieldsArray.map(({ name, id, repeated, type: kind }) => [
        name,
        `${id} ${repeated ? "repeated " : ""}${kind}`,
      ]),
    ),
  ]);
  expect(Object.fromEntries(found)).toEqual(promised);
});

test("every call has its name, and streams where it says so", () => {
  const { service, methods } = loadReplicationContract();
  expect(service).toBe("eventdbx.replication.Replication");
  const calls = methods.map(
    ({ name, requestStream, responseStream }) =>
      `${name}${requestStream ? " <" : ""}${responseStream ? " >" : ""}`,
  );
  expect(calls).toEqual(["ApplyEvents <"]);
});

const record: EventRecord = {
  aggregate_type: "person",
  aggregate_id: "p1",
  event_type: "person-added",
  payload: canonicalize('{"a":9007199254740993}'),
  metadata: {
    event_id: "45c3013e-9b95-4ed0-9af9-1a465f81d3cf",
    created_at: "2024-12-01T17:22:43.512345Z",
    issued_by: { user: "jane", group: "admin" },
    note: "é",
  },
  version: 300,
  hash: "cd".repeat(32),
  merkle_root: "ab".repeat(32),
  position: 12,
};
const proof = {
  salt: Uint8Array.from({ length: 16 }, (_, index) => index),
  content_digest: new Uint8Array(32).fill(255),
};
const metadata =
  '{"event_id":"45c3013e-9b95-4ed0-9af9-1a465f81d3cf","created_at":"2024-12-01T17:22:43.512345Z"' +
  ',"issued_by":{"group":"admin","user":"jane"},"note":"é"}';

const apply = loadReplicationContract().methods.find(({ name }) => name === "ApplyEvents");
const encode = (batch: object): Buffer => apply?.request.encode(batch) ?? Buffer.of();

test("a batch is these bytes", () => {
  const hex = (text: string) => Buffer.from(text).toString("hex");
  const event = [
    ...[`0a06${hex("person")}`, `1202${hex("p1")}`, `1a0c${hex("person-added")}`, "20ac02"],
    ...[`2a40${hex("ab".repeat(32))}`, `3216${hex('{"a":9007199254740993}')}`],
    ...[`3a9601${hex(metadata)}`, `4240${hex("cd".repeat(32))}`],
    ...["4a10000102030405060708090a0b0c0d0e0f", `5220${"ff".repeat(32)}`],
  ].join("");
  const batch = encode({ events: [replicatedMessage(record, proof)], sequence: 7 });
  expect(batch.toString("hex")).toBe(`0a8603${event}1007`);
});

const loaded: Loose = loadSync(protoPath("replication"), { keepCase: true, longs: String });
const read = (bytes: Buffer): Loose =>
  loaded["eventdbx.replication.Replication"].ApplyEvents.requestDeserialize(bytes);

test("an erased event has neither payload nor proof, and says so", () => {
  const erased: EventRecord = {
    ...record,
    payload: canonicalize("null"),
    metadata: { event_id: record.metadata.event_id, created_at: "", issued_by: null, erased: true },
  };
  const { events } = read(encode({ events: [replicatedMessage(erased, null)], sequence: 8 }));
  expect(events[0].payload.toString()).toBe("null");
  expect(JSON.parse(events[0].metadata.toString())).toMatchObject({ erased: true });
  expect([events[0].salt, events[0].content_digest]).toEqual([undefined, undefined]);
});

test("batches one behind the other are one batch, so that events are encoded once", () => {
  const one = encode({ events: [replicatedMessage(record, proof)] });
  const { events, sequence } = read(Buffer.concat([one, one, encode({ sequence: 9 })]));
  expect([events.length, sequence]).toEqual([2, "9"]);
  expect(events[1]).toEqual(events[0]);
});
