// Reading aggregates and events, now and as they were, without what schemas hide. Whoever may not
// see something learns nothing of it: not that it is there, nor by a filter what is in it.

import type { Dbx } from "../api/dbx.ts";
import { covers } from "../model/actor.ts";
import type { StreamHead } from "../model/aggregate.ts";
import { aggregateNotFound } from "../model/error.ts";
import type { CommittedEvent, EventRecord } from "../model/event.ts";
import { takeOf } from "../model/page.ts";
import type { StreamKey } from "../model/stream.ts";
import { visibleState, type Visibility } from "../model/visibility.ts";
import type { Storage } from "../storage/storage.ts";
import { narrowed } from "./covered.ts";
import { listAggregates, selectionOf, type Sight } from "./list.ts";
import { createLogReader, logSelectionOf, selects } from "./log-reader.ts";
import { aggregateOf, momentOf } from "./past.ts";
import { readPage } from "./reader.ts";
import type { Schemas } from "./schemas.ts";
import type { LiveSettings } from "./settings.ts";
import { createSight, recordOf } from "./sight.ts";
import { verifyStream } from "./verify-stream.ts";
import { faultsError } from "./verify.ts";

export type Reads = Pick<
  Dbx,
  | "listAggregates"
  | "getAggregate"
  | "exportAggregates"
  | "listEvents"
  | "readLog"
  | "verifyAggregate"
>;

interface ReadsDeps {
  readonly storage: Storage;
  readonly settings: LiveSettings;
  readonly schemas: Schemas;
}

export function createReads(deps: ReadsDeps): Reads {
  const { storage, settings, schemas } = deps;
  const pageOf = (take: number | undefined, usual: "list_page_size" | "page_limit"): number => {
    const current = settings.current();
    return takeOf(take, { usual: current[usual], cap: current.page_limit });
  };
  const sightOf = createSight(schemas);
  return {
    listAggregates: async (actor, { include_hidden, take, ...asked }) => {
      const selection = selectionOf(asked);
      const sight = sightOf(actor, include_hidden);
      const limit = pageOf(take, "list_page_size");
      return listAggregates(storage, { selection, sight, actor, limit, skip: asked.skip ?? 0 });
    },
    exportAggregates: async (actor, { take, ...asked }) => {
      const selection = selectionOf(asked);
      const sight = sightOf(actor, actor.grants.includes("admin"));
      const limit = pageOf(take, "page_limit");
      return listAggregates(storage, { selection, sight, actor, limit, skip: 0 });
    },
    getAggregate: async (actor, { include_hidden, ...asked }) => {
      const moment = momentOf(asked);
      const { head, visibility } = await look(storage, asked, sightOf(actor, include_hidden));
      const aggregate = await aggregateOf(storage, head, moment);
      return { ...aggregate, state: visibleState(aggregate.state, visibility) };
    },
    listEvents: async (actor, { skip, take, include_hidden, ...key }) => {
      const { visibility } = await look(storage, key, sightOf(actor, include_hidden));
      const { shown } = await readPage<CommittedEvent, EventRecord>({
        limit: pageOf(take, "page_limit"),
        // Versions are gapless from 1, so passing over some events is starting behind that version.
        skip: 0,
        peek: false,
        read: (last, rows) =>
          storage.readStream(key, { after: last?.version ?? skip ?? 0, limit: rows }),
        show: (event) => recordOf(event, visibility),
        bytes: (record) => record.payload.length,
      });
      return shown;
    },
    readLog: async (actor, { after, take, include_hidden, ...asked }) => {
      const selection = logSelectionOf(asked);
      const sight = sightOf(actor, include_hidden);
      const read = createLogReader(storage, narrowed(selection, actor.scope));
      const { shown } = await readPage<CommittedEvent, EventRecord>({
        limit: pageOf(take, "page_limit"),
        skip: 0,
        peek: false,
        read: (last, limit) => read({ after: last?.position ?? after ?? 0, limit }),
        show: (event) => {
          if (!selects(selection, event) || !covers(actor, event)) return undefined;
          const visibility = sight(event.aggregate_type);
          return visibility.hidden ? undefined : recordOf(event, visibility);
        },
        bytes: (record) => record.payload.length,
      });
      return shown;
    },
    verifyAggregate: async (actor, { include_hidden, ...key }) => {
      const { head } = await look(storage, key, sightOf(actor, include_hidden));
      const faults = await verifyStream(storage, head);
      if (faults.length > 0) throw faultsError(faults);
      return { ...key, version: head.version, merkle_root: head.root.toHex(), erased: head.erased };
    },
  };
}

/** The head of an aggregate, and what is seen of it. A hidden one is not there. */
async function look(
  storage: Storage,
  { aggregate_type, aggregate_id }: StreamKey,
  sight: Sight,
): Promise<{ head: StreamHead; visibility: Visibility }> {
  const key = { aggregate_type, aggregate_id };
  const visibility = sight(aggregate_type);
  const head = visibility.hidden ? undefined : await storage.readHead(key);
  if (head === undefined) throw aggregateNotFound(key);
  return { head, visibility };
}
