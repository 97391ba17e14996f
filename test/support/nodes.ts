// Nodes in process: stores of their own, asked as replication asks them, through the gate.

import { call } from "../../src/api/call.ts";
import type { Ask } from "../../src/api/dbx.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { sync, type SyncOptions, type SyncReport } from "../../src/replication/sync.ts";
import { openStore, root, type TestStore } from "./store.ts";
import { tempDir } from "./temp.ts";

export interface Node extends AsyncDisposable {
  readonly store: TestStore;
  readonly ask: Ask;
  readonly append: (type: string, id: string, payload: unknown) => Promise<void>;
  /** Everything that is the same on every node, for comparing. */
  readonly contents: () => Promise<unknown[]>;
}

/** Each encrypts with a key of its own, because erasing needs one. */
export async function openNode(): Promise<Node> {
  const directory = tempDir();
  const data_encryption_key = Buffer.from(crypto.getRandomValues(new Uint8Array(32)));
  const store = await openStore(directory.path, {
    config: { data_encryption_key: data_encryption_key.toString("base64") },
  });
  const { dbx } = store;
  const ask: Ask = (operation, input) => call(dbx, { operation, input, actor: root });
  return {
    ...{ store, ask },
    append: async (aggregate_type, aggregate_id, payload) => {
      const event = { aggregate_type, aggregate_id, event_type: "noted" };
      await dbx.appendEvent(root, { ...event, payload: canonicalOf(payload) });
    },
    contents: async () => {
      const positions = await ask("listPositions", { take: 1_000 });
      return Promise.all(
        positions.map(async (position) => ({
          ...position,
          events: await ask("readForeign", {
            aggregate_type: position.aggregate_type,
            aggregate_id: position.aggregate_id,
            ...{ after: 0, take: 1_000 },
          }),
          state: String(
            (
              await ask("getAggregate", {
                aggregate_type: position.aggregate_type,
                aggregate_id: position.aggregate_id,
              })
            ).state,
          ),
        })),
      );
    },
    async [Symbol.asyncDispose]() {
      await store.close();
      directory[Symbol.dispose]();
    },
  };
}

/** As push from one node to another does it; pull is the same. */
export const bring = (
  from: Pick<Node, "ask">,
  to: Pick<Node, "ask">,
  over: Partial<SyncOptions> = {},
): Promise<SyncReport> =>
  sync({
    nodes: { source: from.ask, target: to.ask },
    ...{ selection: [], dry_run: false, batch_events: 500, allow_future: false },
    progress: () => {},
    signal: new AbortController().signal,
    ...over,
  });
