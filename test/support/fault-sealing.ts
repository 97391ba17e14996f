// A process to be killed, or to meet a disk that fails: seals what is older than the key, exchanges
// the key, or erases one stream after the other. Tells each step in a line of JSON, after it was
// durable and never before, and in the end how it came out. Others are written meanwhile, unless it
// is asked to be alone.
//
//   bun fault-sealing.ts DIRECTORY inline|copier|both seal|rotate|erase [alone]

import { existsSync } from "node:fs";
import { join } from "node:path";
import { DbxError } from "../../src/model/error.ts";
import { dek, erasing, other, sealedStream, sealedStreams, secretEvent } from "./sealing.ts";
import { append, openWriting, threadsOf, transaction } from "./storage.ts";

const [directory = "", mode = "inline", work = "", alone = ""] = process.argv.slice(2);
const say = (line: object) => void process.stdout.write(`${JSON.stringify(line)}\n`);
const codeOf = (error: unknown) => (error instanceof DbxError ? error.code : String(error));

const storage = await openWriting(directory, {
  threads: threadsOf(mode),
  dek,
  lock_wait_ms: 5_000,
});

async function erase(): Promise<void> {
  for (let index = 0; index < sealedStreams; index++) {
    const key = sealedStream(index);
    await append(storage, [transaction([erasing(key)])]);
    say({ erased: index });
    await storage.forgetErased(key);
    say({ forgotten: index });
  }
}

const works: Record<string, () => Promise<unknown>> = {
  seal: () => storage.sealOlder((position) => say({ position })),
  rotate: () => storage.rotateKey(other, async () => say({ begun: true })),
  erase,
};

let ended = false;
async function write(writer: number): Promise<void> {
  for (let count = 0; !ended; count++) {
    const key = { aggregate_type: "other", aggregate_id: `w${writer}` };
    const { outcomes } = await append(storage, [transaction([secretEvent(key, count)])]);
    for (const outcome of outcomes) {
      if (outcome.kind !== "appended") throw new Error(`not appended: ${JSON.stringify(outcome)}`);
      for (const { position, event_id } of outcome.events) say({ event_id, position });
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

// A system call like the others, so that a trace shows where the work begins and ends.
existsSync(join(directory, "begin"));
const writing = alone === "alone" ? [] : [write(0), write(1)];
const outcome = await works[work]?.().then(() => "done", codeOf);
existsSync(join(directory, "answer"));
ended = true;
await Promise.all(writing);
const last = transaction([secretEvent({ aggregate_type: "other", aggregate_id: "last" }, 0)]);
const after = await append(storage, [last]).then(({ outcomes }) => outcomes[0]?.kind, codeOf);
say({ outcome, after });
process.exit(0);
