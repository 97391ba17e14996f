// How a change that is no event comes into the audit trail: before it is made, once nothing stands
// against it, so that a crash may leave an entry without its change, but never the reverse.

import type { Actor } from "../model/actor.ts";
import type { Note } from "../model/audit.ts";
import type { Storage } from "../storage/storage.ts";

/** Null: nobody knows who did it. */
export type NoteOf = (actor: Pick<Actor, "group" | "user"> | null) => Note;

/** As done by the actor, now. */
export const createNoting =
  ({ storage, now }: { storage: Pick<Storage, "record">; now: () => string }): NoteOf =>
  (actor) =>
  (action, subject, details) =>
    storage.record({
      ...{ at: now(), comment: null, aggregate: null },
      issued_by: actor === null ? null : { group: actor.group, user: actor.user },
      ...{ action, subject, details },
    });
