// A process that delivers one event to the plugin of its argument, and prints what came of it: for
// what an environment decides when a process begins.

import { silentLog } from "../../src/log.ts";
import { emitterFor } from "../../src/plugins/emitters/emitters.ts";
import { realSystem } from "../../src/system.ts";
import { emission, never } from "./emissions.ts";

const emitter = emitterFor(JSON.parse(process.argv[2] ?? ""), {
  log: silentLog,
  system: realSystem,
  process: () => {
    throw new Error("no processes here");
  },
});
const check = await emitter.check(never).then(
  () => "ready",
  (error: Error) => error.message,
);
const result = await emitter.deliver([emission(1)], never);
await emitter.close();
process.stdout.write(JSON.stringify({ check, ...result }));
