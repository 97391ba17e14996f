// A process to be killed: archives and restores one stream for ever while others are written. One
// line of JSON per acknowledged event, printed after the acknowledgement and never before.
//
//   bun fault-mover.ts DIRECTORY inline|copier|both

import { append, change, event, openWriting, threadsOf, transaction } from "./storage.ts";

const [directory = "", mode = "inline"] = process.argv.slice(2);
const key = { aggregate_type: "fault", aggregate_id: "moved" };

const storage = await openWriting(directory, { threads: threadsOf(mode), lock_wait_ms: 2_000 });

async function write(writer: number): Promise<never> {
  for (let count = 0; ; count++) {
    const other = { aggregate_type: "fault", aggregate_id: `s${writer}` };
    const { outcomes } = await append(storage, [transaction([event(other)])]);
    for (const outcome of outcomes) {
      if (outcome.kind !== "appended") throw new Error(`not appended: ${JSON.stringify(outcome)}`);
      for (const { position, version, aggregate_id, event_id } of outcome.events) {
        process.stdout.write(`${JSON.stringify({ position, version, aggregate_id, event_id })}\n`);
      }
    }
    // In place, a commit would otherwise leave the moves no turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function move(): Promise<never> {
  for (;;) {
    await storage.archiveStream(key, change);
    await storage.restoreStream(key, change);
  }
}

await Promise.all([move(), write(0), write(1)]);
