// A process to be killed or starved: appends with 32 writers at once until its input ends or a
// write fails. One line of JSON per acknowledged event, printed after the acknowledgement and never
// before.
//
//   bun fault-writer.ts DIRECTORY inline|copier|both [sealed]

import { canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { dek } from "./sealing.ts";
import { append, event, openWriting, threadsOf, transaction } from "./storage.ts";

const writers = 32;
const [directory = "", mode = "inline", sealed = ""] = process.argv.slice(2);

const storage = await openWriting(directory, {
  ...{ threads: threadsOf(mode), lock_wait_ms: 2_000 },
  dek: sealed === "sealed" ? dek : null,
});

async function write(writer: number): Promise<never> {
  for (let count = 0; ; count++) {
    // Some streams are shared by the writers, some transactions span two.
    const events = [0, ...(count % 5 === 0 ? [1] : [])].map((other) =>
      event(
        { aggregate_type: "fault", aggregate_id: `s${(writer + other * 7 + count) % 40}` },
        { payload: canonicalOf({ writer, count, filler: "x".repeat(count % 700) }) },
      ),
    );
    const { outcomes } = await append(storage, [transaction(events)]);
    for (const outcome of outcomes) {
      if (outcome.kind !== "appended") throw new Error(`not appended: ${JSON.stringify(outcome)}`);
      for (const { position, version, aggregate_id, event_id } of outcome.events) {
        process.stdout.write(`${JSON.stringify({ position, version, aggregate_id, event_id })}\n`);
      }
    }
  }
}

try {
  await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
} catch (error) {
  const code = error instanceof DbxError ? error.code : String(error);
  const failure = await storage.failure;
  const again = await append(storage, [
    transaction([event({ aggregate_type: "fault", aggregate_id: "after" })]),
  ]).then(
    () => "accepted",
    (refusal: unknown) => (refusal instanceof DbxError ? refusal.code : String(refusal)),
  );
  process.stdout.write(`${JSON.stringify({ failed: code, failure: failure.code, again })}\n`);
  process.exit(3);
}
