// A process to be killed while it appends and delivers: one line of JSON for each acknowledged
// event. Its plugin is there already.
//
//   bun fault-plugins.ts DIRECTORY

import { canonicalOf } from "../../src/model/canonical.ts";
import { openStore, root } from "./store.ts";

const store = await openStore(process.argv[2] ?? "", { plugins: true });

async function write(writer: number): Promise<never> {
  for (let count = 0; ; count++) {
    const aggregate_id = `s${(writer + count) % 7}`;
    const record = await store.dbx.appendEvent(root, {
      ...{ aggregate_type: "fault", aggregate_id, event_type: "noted" },
      payload: canonicalOf({ writer, count }),
    });
    const { position, version, metadata } = record;
    const line = { position, version, aggregate_id, event_id: metadata.event_id };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}

await Promise.all(Array.from({ length: 4 }, (_, writer) => write(writer)));
