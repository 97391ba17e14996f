// A process to be killed: stages, commits and discards until it is. One line of JSON for every
// step, printed after it was acknowledged and never before; a discard is announced, too.
//
//   bun fault-staging.ts DIRECTORY

import { noted } from "./staged.ts";
import { openStore, root } from "./store.ts";

const [directory = ""] = process.argv.slice(2);
const say = (line: object) => void process.stdout.write(`${JSON.stringify(line)}\n`);

const { dbx } = await openStore(directory, { config: { storage: { durability: "full" } } });
for (let count = 0; ; count++) {
  const { event_id } = await dbx.stageEvent(root, noted(`p-${count % 5}`));
  say({ staged: event_id });
  if (count % 7 === 3) {
    say({ discarding: event_id });
    await dbx.discardStaged(root, { event_id });
    say({ discarded: event_id });
  }
  if (count % 3 === 0) {
    for (const { metadata } of await dbx.commitStaged(root, {})) {
      say({ committed: metadata.event_id });
    }
  }
}
