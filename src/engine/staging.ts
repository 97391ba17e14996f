// The queue of staged events: put in after a trial, listed, appended by one commit or taken out
// again. What is in the file may have been committed before a crash; every step begins by leaving
// such events out, so that nothing is ever appended twice.

import type { Dbx } from "../api/dbx.ts";
import type { Input } from "../api/operations.ts";
import type { Log } from "../log.ts";
import { covers, requireGrant, type Actor } from "../model/actor.ts";
import {
  alreadyExists,
  assert,
  DbxError,
  failedPrecondition,
  invalidArgument,
  notFound,
  tooLarge,
} from "../model/error.ts";
import { toRecord, type CommittedEvent, type EventRecord } from "../model/event.ts";
import { limits } from "../model/limits.ts";
import {
  planAppends,
  type Outcome,
  type PlanContext,
  type PlannedEvent,
  type Transaction,
} from "../model/plan.ts";
import { isSameEvent } from "../model/repetition.ts";
import type { StagedEvent } from "../model/staged.ts";
import { keyText, type StreamKey } from "../model/stream.ts";
import type { Storage } from "../storage/storage.ts";
import type { System } from "../system.ts";
import { askOf, type Committer } from "./committer.ts";
import type { NoteOf } from "./noting.ts";
import { prepareEvent, prepareEvents } from "./prepare.ts";
import type { Schemas } from "./schemas.ts";
import type { LiveSettings } from "./settings.ts";
import { openStaged, type StagedFile } from "./staged-file.ts";
import { sightOf, tellRecords, tellRefusal, tellStaged, type Sight } from "./staged-sight.ts";
import { createSteps } from "./steps.ts";

export interface Staging {
  readonly operations: Pick<Dbx, "stageEvent" | "listStaged" | "commitStaged" | "discardStaged">;
  /** How many events are staged for an aggregate. */
  readonly countOf: (key: StreamKey) => Promise<number>;
  /** Takes what is staged for an aggregate out of the queue, because it is erased. */
  readonly forget: (key: StreamKey) => Promise<void>;
  /** Waits for the step that is under way; those that wait for their turn are refused. */
  readonly close: () => Promise<void>;
}

interface StagingOptions {
  /** `staged_events.json`. */
  readonly path: string;
  readonly storage: Storage;
  readonly committer: Committer;
  readonly schemas: Schemas;
  readonly settings: LiveSettings;
  readonly system: System;
  readonly log: Log;
  readonly noteOf: NoteOf;
  /** As for commits: time, allowances, schemas, thresholds. */
  readonly context: () => PlanContext;
  /** Where nothing can be written, events are listed and nothing else. */
  readonly writable: boolean;
}

interface StagingDeps extends StagingOptions {
  readonly file: StagedFile;
}

/**
 * Each step waits for the one before: `overloaded` where too many do, `unavailable` where closing
 * begins first, `unauthenticated` where the caller's token ends meanwhile. All reject with
 * `data_corrupted` for a damaged file, which stays as it is. What schemas hide from whoever asks is
 * left out of the list, and only counted in the answers of commit and discard.
 */
export function createStaging(options: StagingOptions): Staging {
  const deps = { ...options, file: openStaged(options.path, options.storage.vault) };
  const steps = createSteps({
    what: "steps of staging",
    steps_max: limits.staging_steps_max,
    bytes_max: limits.staging_steps_bytes_max,
  });

  const inTurn = <Result>(actor: Actor, step: () => Promise<Result>, bytes = 0): Promise<Result> =>
    steps.inTurn({
      bytes,
      run: () => {
        requireToken(deps, actor);
        return step();
      },
    });
  const sight = (actor: Actor): Sight => sightOf(actor, deps.schemas.view());

  return {
    operations: {
      stageEvent: async (actor, input) => {
        const event = prepareEvent(deps, input);
        return inTurn(actor, () => stage(deps, actor, event), Buffer.byteLength(event.payload));
      },
      listStaged: (actor) =>
        inTurn(actor, async () => {
          const { events } = await look(deps);
          const see = sight(actor);
          const shown = events.filter(
            (event) => covers(actor, event) && !see(event.aggregate_type).hidden,
          );
          return tellStaged(see, shown);
        }),
      // These two show what others have staged.
      commitStaged: (actor) =>
        inTurn(actor, async () => {
          requireGrant(actor, "read");
          const records = await commit(deps, actor, await takeUp(deps));
          return tellRecords(sight(actor), records);
        }),
      discardStaged: (actor, input) =>
        inTurn(actor, async () => {
          requireGrant(actor, "read");
          return tellStaged(sight(actor), await discard(deps, actor, input));
        }),
    },
    countOf: (key) =>
      steps.inTurn({
        bytes: 0,
        run: async () => {
          const { events } = await look(deps);
          return events.filter((event) => keyText(event) === keyText(key)).length;
        },
      }),
    forget: (key) =>
      steps.inTurn({
        bytes: 0,
        run: async () => {
          const queue = await takeUp(deps);
          const rest = queue.filter((event) => keyText(event) !== keyText(key));
          if (rest.length < queue.length) await deps.file.write(rest);
        },
      }),
    close: steps.close,
  };
}

/** The token may have ended while the step waited. */
function requireToken({ context }: StagingDeps, { token_id }: Actor): void {
  if (token_id === null) return;
  const allowance = context().allowanceOf(token_id);
  if (!allowance.ok) throw allowance.error;
}

/**
 * Puts the event at the end of the queue. It is refused where it would be refused after those that
 * are queued for its aggregate; one of those that no longer fits counts for nothing there, but will
 * be named by the commit.
 */
async function stage(deps: StagingDeps, actor: Actor, event: PlannedEvent): Promise<StagedEvent> {
  const queue = await takeUp(deps);
  const { event_id } = event;
  const issued_by = { group: actor.group, user: actor.user };
  const first = queue.find((other) => other.event_id === event_id);
  if (first !== undefined) {
    const again = { ...event, issued_by };
    if (isSameEvent({ first, again }, deps.context().hidesSomething)) return first;
    throw alreadyExists(`event id ${event_id} is already used by another staged event`, {
      event_id,
    });
  }
  requireRoom(queue, event);
  const { aggregate_type, aggregate_id, event_type, payload, note, expected_version } = event;
  const staged: StagedEvent = {
    ...{ aggregate_type, aggregate_id, event_type, payload, note, event_id, expected_version },
    issued_by,
    staged_at: deps.system.now(),
  };
  const key = keyText(event);
  const before = queue.filter((other) => keyText(other) === key);
  const outcome = await tryLast(deps, [...before, staged]);
  if (outcome.kind === "refused") throw outcome.error;
  if (outcome.kind === "repeated") {
    // Answering the staged event would promise a commit that never comes.
    const position = outcome.events[0]?.position;
    throw alreadyExists(
      `event ${event_id} is committed already, at position ${position}; nothing is staged`,
      { event_id, position },
    );
  }
  await deps.file.write([...queue, staged]);
  return staged;
}

function requireRoom(queue: readonly StagedEvent[], event: Pick<StagedEvent, "payload">): void {
  const { staged_events_max, staged_bytes_max } = limits;
  if (queue.length >= staged_events_max) {
    throw failedPrecondition(
      `${queue.length} events are staged, the most dbx keeps; commit or discard them first`,
      { staged: queue.length, limit: staged_events_max },
    );
  }
  const bytes = [...queue, event].reduce((sum, { payload }) => sum + Buffer.byteLength(payload), 0);
  if (bytes > staged_bytes_max) {
    throw tooLarge(
      `the staged payloads would have ${bytes} bytes, the limit is ${staged_bytes_max}; ` +
        "commit or discard them first",
      { bytes, limit: staged_bytes_max },
    );
  }
}

/** What would become of the last of these if they were appended one by one. Nothing is kept. */
async function tryLast(deps: StagingDeps, events: readonly StagedEvent[]): Promise<Outcome> {
  const salt = new Uint8Array(16);
  const transactions = events.map((event): Transaction => ({
    events: [{ ...event, client_id: true, salt }],
    batch: false,
    issued_by: event.issued_by,
    token_id: null,
  }));
  let last: Outcome | undefined;
  await deps.storage.commit(askOf(transactions), (known) => {
    last = planAppends(known, transactions, deps.context()).outcomes.at(-1);
    return { outcomes: [], heads: [], snapshots: [], token_uses: [], log: known.log };
  });
  assert(last !== undefined, "every transaction has an outcome");
  return last;
}

/**
 * Appends in one transaction what the actor's scope covers of the queue, and leaves the rest in the
 * file.
 */
async function commit(
  deps: StagingDeps,
  actor: Actor,
  staged: readonly StagedEvent[],
): Promise<EventRecord[]> {
  const queue = staged.filter((event) => covers(actor, event));
  if (queue.length === 0) return [];
  let committed: readonly CommittedEvent[];
  try {
    const events = prepareEvents(deps, queue).map((event, index) => ({
      ...event,
      issued_by: queue[index]?.issued_by ?? null,
    }));
    const issued_by = { group: actor.group, user: actor.user };
    committed = await deps.committer.submit({
      ...{ events, batch: true, issued_by, token_id: actor.token_id },
    });
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    if (error.code === "already_exists") {
      // Somebody may have appended one of them himself meanwhile. The rest is fewer each time.
      const rest = await takeUp(deps);
      if (rest.length < staged.length) return commit(deps, actor, rest);
    }
    throw tellRefusal(error, { queue, sight: sightOf(actor, deps.schemas.view()) });
  }
  try {
    await deps.file.write(staged.filter((event) => !covers(actor, event)));
  } catch (error) {
    // They are committed, and will be left out of the queue whenever it is looked at.
    deps.log.warn("staged events not cleared", { reason: String(error) });
  }
  return committed.map(toRecord);
}

/** Takes one event, or all, out of the queue, and answers with what was taken out. */
async function discard(
  deps: StagingDeps,
  actor: Actor,
  { event_id, all }: Input<"discardStaged">,
): Promise<readonly StagedEvent[]> {
  if ((event_id === undefined) === (all === undefined)) {
    throw invalidArgument("either event_id or all must be given, and not both");
  }
  const queue = await takeUp(deps);
  const id = event_id?.toLowerCase();
  const isMeant = (event: StagedEvent): boolean =>
    covers(actor, event) && (id === undefined || event.event_id === id);
  const discarded = queue.filter(isMeant);
  if (id !== undefined && discarded.length === 0) {
    throw notFound(`there is no staged event ${id}`, { event_id: id });
  }
  if (discarded.length > 0) {
    const event_ids = discarded.slice(0, limits.audit_ids_max).map((event) => event.event_id);
    await deps.noteOf(actor)("staged.discard", null, { events: discarded.length, event_ids });
    await deps.file.write(queue.filter((event) => !isMeant(event)));
  }
  return discarded;
}

/** The queue for a step that changes it: the file is made to say the same first. */
async function takeUp(deps: StagingDeps): Promise<readonly StagedEvent[]> {
  if (!deps.writable) throw failedPrecondition("the database is open for reading only");
  const { events, isAsWritten } = await look(deps);
  if (!isAsWritten) await deps.file.write(events);
  return events;
}

interface Queue {
  readonly events: readonly StagedEvent[];
  /** Whether the file holds these events, and with these ids. */
  readonly isAsWritten: boolean;
}

/**
 * The queue without what is committed. The file is read before the log, so that a commit between
 * the two is seen.
 */
async function look({ file, storage, system, context }: StagingDeps): Promise<Queue> {
  const { events, derived } = await file.read();
  if (events.length === 0) return { events, isAsWritten: true };
  const found = await storage.readEvents([...new Set(events.map(({ event_id }) => event_id))]);
  const committed = new Map(found.map((event) => [event.event_id, event]));
  const { hidesSomething } = context();
  const left = events.flatMap((event) => {
    const first = committed.get(event.event_id);
    // An id is written down before its event is committed, so whoever has this one is another.
    if (derived.has(event.event_id)) return first === undefined ? event : renamed(event, system);
    if (first === undefined) return event;
    // Its body cannot be compared any more; that it has this id and aggregate is all there is.
    if (first.erased === true && keyText(first) === keyText(event)) return [];
    return isSameEvent({ first, again: event }, hidesSomething) ? [] : event;
  });
  return { events: left, isAsWritten: left.length === events.length && derived.size === 0 };
}

const renamed = (event: StagedEvent, system: System): StagedEvent => ({
  ...event,
  event_id: system.uuid(),
});
