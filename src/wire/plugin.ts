// What a process plugin reads: who it is, then events, one message each, in one segment.

import { Message, ObjectSize, utils } from "capnp-es";
import { fromJson } from "../api/json.ts";
import type { State } from "../model/aggregate.ts";
import { splitMembers } from "../model/canonical.ts";
import type { EventRecord } from "../model/event.ts";
import { PluginEnvelope, PluginInit } from "./generated/plugin.ts";
import { metadataText } from "./replication.ts";

export interface PluginIdentity {
  readonly name: string;
  readonly version: string;
  readonly target: string;
}

export interface PluginDelivery {
  readonly record: EventRecord;
  readonly sequence: number;
  /** At the version of the event. */
  readonly state: State;
  readonly archived: boolean;
  /** JSON; null without one. */
  readonly schema: string | null;
}

export function encodePluginInit({ name, version, target }: PluginIdentity): Uint8Array {
  const message = newMessage();
  const envelope = message.initRoot(PluginEnvelope)._initMessage();
  // Three pointers, as readers have always had it: what was appended later is never set.
  utils.setUint16(0, 0, envelope);
  const init = utils.getPointerAs(0, PluginInit, envelope);
  utils.initStruct(new ObjectSize(0, 3), init);
  init.pluginName = name;
  init.version = version;
  init.target = target;
  return bytesOf(message);
}

export function encodePluginEvent(delivery: PluginDelivery): Uint8Array {
  const { record, sequence, state, archived, schema } = delivery;
  const members = textsOf(state);
  const message = newMessage();
  const envelope = message.initRoot(PluginEnvelope);
  message.allocateSegment(roomFor(delivery, members));
  const event = envelope._initMessage()._initEvent();
  event.sequence = BigInt(sequence);
  event.aggregateType = record.aggregate_type;
  event.aggregateId = record.aggregate_id;
  event.eventType = record.event_type;
  event.eventVersion = BigInt(record.version);
  event.eventId = record.metadata.event_id;
  event.createdAtEpochMicros = microsOf(record.metadata.created_at);
  event.payloadJson = record.payload;
  event.metadataJson = metadataText(record);
  event.hash = record.hash;
  event.merkleRoot = record.merkle_root;
  event.stateVersion = BigInt(record.version);
  event.stateArchived = archived;
  event.stateMerkleRoot = record.merkle_root;
  const entries = event._initStateEntries(members.length);
  members.forEach(({ key, value }, index) => {
    const entry = entries.get(index);
    entry.key = key;
    entry.value = value;
  });
  event.schemaJson = schema ?? "";
  return bytesOf(message);
}

/** In one segment: every reader takes that, and none has to follow far pointers. */
const newMessage = (): Message => new Message(undefined, false, true);

/**
 * At least what an event takes. Otherwise capnp-es grows its only segment by 4 KiB at a time, and
 * copies all of it each time.
 */
const roomFor = (
  { record, schema }: PluginDelivery,
  members: readonly { readonly key: string; readonly value: string }[],
): number =>
  // Each text ends with a zero byte and fills its last word; an entry has two pointers besides.
  members.reduce(
    (sum, { key, value }) => sum + Buffer.byteLength(key) + Buffer.byteLength(value) + 32,
    Buffer.byteLength(record.payload) + Buffer.byteLength(schema ?? "") + 8_192,
  );

const bytesOf = (message: Message): Uint8Array => new Uint8Array(message.toArrayBuffer());

/** In: a time as dbx writes it, with six digits. Out: microseconds since 1970. */
const microsOf = (time: string): bigint =>
  BigInt(Date.parse(`${time.slice(0, 19)}Z`)) * 1_000n + BigInt(time.slice(20, 26));

/** Strings as they are, the rest as its canonical text; by key. */
function textsOf(state: State): { readonly key: string; readonly value: string }[] {
  const members = splitMembers(state).map(([key, inner]) => {
    const value = inner.startsWith('"') ? fromJson(undefined, inner) : inner;
    return { key, value: String(value) };
  });
  // Canonical order is that of UTF-16; UTF-8 differs where a character takes two units there.
  if (!members.some(({ key }) => /[\ud800-\udfff]/.test(key))) return members;
  return members.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
}
