// A process to be killed while it settles: steps through a log that is only numbers, of ten
// aggregates, and says after each step how far it is. One line of JSON per step.
//
//   bun fault-deliveries.ts DIRECTORY

import { openSqliteDeliveries } from "../../src/storage/sqlite/deliveries.ts";
import { failureOf, pluginOf, settlementOf } from "../conformance/deliveries.ts";

const [directory = ""] = process.argv.slice(2);
const deliveries = await openSqliteDeliveries({ directory, access: "write", vault: null });
if ((await deliveries.readPlugins()).length === 0) await deliveries.putPlugin(pluginOf("p"), 0);

for (;;) {
  const [entry] = await deliveries.readPlugins();
  if (entry === undefined) throw new Error("the plugin is gone");
  const begin = entry.checkpoint;
  const end = begin + 20;
  // Every third fails, and what failed in the step before is delivered.
  const positions = Array.from({ length: 20 }, (_, index) => begin + 1 + index);
  const failed = positions
    .filter((position) => position % 3 === 0)
    .map((position) => failureOf(`a${position % 10}`, position, { last_error: "x".repeat(300) }));
  const page = { after: null, limit: 20 };
  const delivered = (await deliveries.readOutbox({}, page)).map(({ position }) => position);
  const count = positions.length - failed.length + delivered.length;
  await deliveries.settle("p", settlementOf({ checkpoint: end, failed, delivered, count }));
  process.stdout.write(`${JSON.stringify({ position: end })}\n`);
}
