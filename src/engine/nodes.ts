// What other nodes ask: positions, roots of the past, events with their proofs.

import type { Dbx } from "../api/dbx.ts";
import type { StreamHead } from "../model/aggregate.ts";
import { invalidArgument } from "../model/error.ts";
import { foreignEventOf } from "../model/imported.ts";
import { emptyRoot } from "../model/merkle.ts";
import { limits } from "../model/limits.ts";
import { compareKeys, type StreamKey } from "../model/stream.ts";
import type { Storage } from "../storage/storage.ts";
import { nextTurn } from "./turns.ts";

export function createNodes(
  storage: Storage,
): Pick<Dbx, "listPositions" | "rootsAt" | "readForeign"> {
  return {
    listPositions: async (_actor, { after, type, aggregate_id: id, take }) => {
      const heads = await headsOf(storage, { after: after ?? null, type, id, take });
      return heads.map(({ aggregate_type, aggregate_id, version, root, archived, erased }) => ({
        ...{ aggregate_type, aggregate_id, version, archived, erased },
        merkle_root: root.toHex(),
      }));
    },
    rootsAt: async (_actor, { of }) => {
      const roots: (string | null)[] = [];
      for (const [index, { version, ...key }] of of.entries()) {
        roots.push(await rootAt(storage, key, version));
        if (index % looks_max === 0) await nextTurn();
      }
      return roots;
    },
    readForeign: async (_actor, { aggregate_type, aggregate_id, after, take }) => {
      const key = { aggregate_type, aggregate_id };
      const events = await storage.readStream(key, { after, limit: take });
      let chars = 0;
      const fits = events.findIndex(
        ({ payload }, index) =>
          (chars += payload.length) > limits.foreign_page_chars_max && index > 0,
      );
      return (fits === -1 ? events : events.slice(0, fits)).map(foreignEventOf);
    },
  };
}

async function headsOf(
  storage: Storage,
  asked: {
    after: StreamKey | null;
    type: string | undefined;
    id: string | undefined;
    take: number;
  },
): Promise<StreamHead[]> {
  const { after, type, id, take } = asked;
  if (id === undefined) {
    return storage.readHeads({ aggregate_type: type ?? null, after, skip: 0, limit: take });
  }
  if (type === undefined) {
    throw invalidArgument("aggregate_id names an aggregate only together with type");
  }
  const key = { aggregate_type: type, aggregate_id: id };
  const head =
    after !== null && compareKeys(key, after) <= 0 ? undefined : await storage.readHead(key);
  return head === undefined ? [] : [head];
}

/** How many events are looked up before others have their turn. */
const looks_max = 64;

/** Null where the aggregate has not come so far. */
async function rootAt(storage: Storage, key: StreamKey, version: number): Promise<string | null> {
  if (version === 0) return emptyRoot.toHex();
  const [event] = await storage.readStream(key, { after: version - 1, limit: 1 });
  return event?.merkle_root.toHex() ?? null;
}
