// The engine: Dbx in process, one short function per operation.

import type { Dbx } from "../api/dbx.ts";
import type { Output } from "../api/operations.ts";
import type { Actor } from "../model/actor.ts";
import { toAggregate, type StreamHead } from "../model/aggregate.ts";
import {
  aggregateNotFound,
  alreadyExists,
  DbxError,
  invalidArgument,
  tooLarge,
} from "../model/error.ts";
import { toRecord, type CommittedEvent, type Event, type EventRecord } from "../model/event.ts";
import { takeOf } from "../model/page.ts";
import { newHead, type PlannedEvent } from "../model/plan.ts";
import { showKey, type StreamKey } from "../model/stream.ts";
import type { Storage } from "../storage/storage.ts";
import type { System } from "../system.ts";
import type { Committer } from "./committer.ts";
import { readCursor, writeCursor } from "./cursor.ts";
import { readPage } from "./reader.ts";
import type { LiveSettings } from "./settings.ts";
import type { Tokens } from "./tokens.ts";
import { faultsError, verifyStore, verifyStream } from "./verify.ts";

export interface EngineDeps {
  readonly storage: Storage;
  readonly committer: Committer;
  readonly tokens: Tokens;
  readonly system: System;
  readonly settings: LiveSettings;
  readonly status: () => Promise<
    Pick<Output<"serverStatus">, "version" | "restrict" | "durability" | "encrypted" | "figures">
  >;
}

export function createEngine(deps: EngineDeps): Dbx {
  const { storage, tokens, settings } = deps;
  const eventsOn = (take: number | undefined): number => {
    const { page_limit } = settings.current();
    return takeOf(take, { usual: page_limit, cap: page_limit });
  };
  return {
    health: async () => ({ status: "ok" }),
    appendEvent: async (actor, event) => {
      const [record] = await append(deps, actor, [event]);
      if (record === undefined) throw new Error("an append of one event answers one record");
      return record;
    },
    appendEvents: (actor, { events }) => append(deps, actor, events),
    createAggregate: async (_actor, key) => {
      if (await storage.createStream(key)) return toAggregate(newHead(key));
      throw alreadyExists(`aggregate ${showKey(key)} already exists`, { ...key });
    },
    listAggregates: (_actor, input) => listAggregates(deps, input),
    getAggregate: async (_actor, key) => toAggregate(await headOf(storage, key)),
    listEvents: async (_actor, { skip, take, ...key }) => {
      await headOf(storage, key);
      // Versions are gapless from 1, so passing over `skip` events is starting after that version.
      const start = skip ?? 0;
      const events = await readPage<CommittedEvent>({
        limit: eventsOn(take),
        read: (last, rows) =>
          storage.readStream(key, { after: last?.version ?? start, limit: rows }),
        bytes: payloadBytes,
      });
      return events.map(toRecord);
    },
    readLog: async (_actor, { after, take }) => {
      const start = after ?? 0;
      const events = await readPage<CommittedEvent>({
        limit: eventsOn(take),
        read: (last, rows) => storage.readLog({ after: last?.position ?? start, limit: rows }),
        bytes: payloadBytes,
      });
      return events.map(toRecord);
    },
    verifyAggregate: async (_actor, key) => {
      const head = await headOf(storage, key);
      const faults = await verifyStream(storage, head);
      if (faults.length > 0) throw faultsError(faults);
      return { ...key, version: head.version, merkle_root: head.root.toHex() };
    },
    verifyLog: async () => {
      const { faults, ...report } = await verifyStore(storage);
      if (faults.length > 0) throw faultsError(faults);
      return report;
    },
    issueToken: (_actor, input) => tokens.issue(input),
    listTokens: () => tokens.list(),
    revokeToken: async (_actor, input) => {
      await tokens.revoke(input);
      return null;
    },
    refreshToken: (_actor, input) => tokens.refresh(input),
    serverStatus: async () => {
      const log = await storage.readLogHead();
      return { ...(await deps.status()), position: log.frontier.size, aggregates: log.streams };
    },
    reloadConfig: () => settings.reload(),
  };
}

const payloadBytes = (event: CommittedEvent): number => event.payload.length;

async function headOf(storage: Storage, key: StreamKey): Promise<StreamHead> {
  const head = await storage.readHead(key);
  if (head === undefined)
    throw aggregateNotFound({ aggregate_type: key.aggregate_type, aggregate_id: key.aggregate_id });
  return head;
}

/** Refuses what needs no lock, then queues the events as one transaction. */
async function append(
  deps: EngineDeps,
  actor: Actor,
  events: readonly Event[],
): Promise<EventRecord[]> {
  const ids = new Set<string>();
  const planned = events.map((event, index): PlannedEvent => {
    try {
      return prepare(deps, event, ids);
    } catch (error) {
      if (error instanceof DbxError && events.length > 1) {
        throw new DbxError(error.code, error.message, { index, ...error.details });
      }
      throw error;
    }
  });
  const issued_by = { group: actor.group, user: actor.user };
  const committed = await deps.committer.submit({
    events: planned,
    issued_by,
    token_id: actor.token_id,
  });
  return committed.map(toRecord);
}

function prepare(deps: EngineDeps, event: Event, ids: Set<string>): PlannedEvent {
  if (event.event_type.startsWith("$")) {
    throw invalidArgument("event types that begin with `$` belong to dbx", {
      event_type: event.event_type,
    });
  }
  const { payload_limit } = deps.settings.current();
  // UTF-8 never takes more than three bytes for a UTF-16 unit, so most payloads need no counting.
  const size = event.payload.length * 3 > payload_limit ? Buffer.byteLength(event.payload) : 0;
  if (size > payload_limit) {
    throw tooLarge(`the payload has ${size} bytes, the limit is ${payload_limit}`, {
      bytes: size,
      limit: payload_limit,
    });
  }
  const client_id = event.event_id !== undefined;
  const event_id = event.event_id?.toLowerCase() ?? deps.system.uuid();
  if (client_id && ids.has(event_id)) {
    throw invalidArgument(`event id ${event_id} appears twice in the batch`, { event_id });
  }
  ids.add(event_id);
  return {
    aggregate_type: event.aggregate_type,
    aggregate_id: event.aggregate_id,
    event_type: event.event_type,
    payload: event.payload,
    note: event.note ?? null,
    event_id,
    client_id,
    expected_version: event.expected_version ?? "any",
    salt: deps.system.random(16),
  };
}

async function listAggregates(
  { storage, settings }: EngineDeps,
  input: { skip?: number; take?: number; cursor?: string },
): Promise<Output<"listAggregates">> {
  const { list_page_size, page_limit } = settings.current();
  const limit = takeOf(input.take, { usual: list_page_size, cap: page_limit });
  const after = input.cursor === undefined ? null : readCursor(input.cursor);
  if (limit === 0) return { aggregates: [], next_cursor: null };
  const heads = await readPage<StreamHead>({
    limit,
    read: (last, rows) =>
      last === undefined
        ? storage.readHeads({ after, skip: input.skip ?? 0, limit: rows })
        : storage.readHeads({ after: last, skip: 0, limit: rows }),
    bytes: (head) => head.state.length,
  });
  const last = heads.length === limit ? heads.at(-1) : undefined;
  // Only a row behind the page makes a next page.
  const behind = last && (await storage.readHeads({ after: last, skip: 0, limit: 1 }));
  return {
    aggregates: heads.map(toAggregate),
    next_cursor: last === undefined || behind?.length !== 1 ? null : writeCursor(last),
  };
}
