// What somebody sees of events and aggregates: all that schemas do not hide, or everything where he
// asks for it and may. The one place where what is hidden is taken out of an event.

import type { Actor } from "../model/actor.ts";
import { permissionDenied } from "../model/error.ts";
import { toRecord, type CommittedEvent, type EventRecord } from "../model/event.ts";
import { everything, visiblePayload, type Visibility } from "../model/visibility.ts";
import type { Sight } from "./list.ts";
import type { Schemas } from "./schemas.ts";

/** What the actor sees of each type now. Throws `permission_denied` where he asks for too much. */
export const createSight =
  (schemas: Pick<Schemas, "view">) =>
  (actor: Actor, include_hidden: boolean | undefined): Sight => {
    if (include_hidden !== true) return schemas.view().visibilityOf;
    if (actor.grants.includes("admin")) return seeAll;
    throw permissionDenied("showing what schemas hide needs the grant admin", { grant: "admin" });
  };

const seeAll: Sight = () => everything;

export function recordOf(event: CommittedEvent, visibility: Visibility): EventRecord {
  const payload = visiblePayload(event.payload, visibility);
  return toRecord(payload === event.payload ? event : { ...event, payload });
}
