// kill -9 of the server while it delivers, and a receiver that goes away and comes back: every
// acknowledged event arrives, in order within its aggregate.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { untilKilled, type Acknowledged } from "../support/fault-lines.ts";
import { startReceiver } from "../support/receiver.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const script = join(import.meta.dir, "../support/fault-plugins.ts");

test("four kills of the server and two of the receiver lose no delivery", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  const making = await openStore(dir.path);
  await making.dbx.putPlugin(root, { name: "web", config: receiver.config });
  await making.close();
  const acknowledged: Acknowledged[] = [];
  for (let round = 0; round < 4; round++) {
    if (round % 2 === 1) await receiver.leave();
    const least = 100 + Math.floor(Math.random() * 300);
    acknowledged.push(...(await untilKilled([script, dir.path], least)));
    if (round % 2 === 1) receiver.back();
  }

  await using store = await openStore(dir.path, { plugins: true });
  const statusOf = async () => (await store.dbx.listPlugins(root, {}))[0];
  for (let left = await statusOf(); left && left.lag + left.pending > 0; left = await statusOf())
    await new Promise<void>((resolve) => setImmediate(resolve));

  expect(await statusOf()).toMatchObject({ dead: 0, dropped: 0 });
  const arrived = new Set(receiver.arrived.map(({ event_id }) => event_id));
  expect(acknowledged.filter(({ event_id }) => !arrived.has(event_id))).toEqual([]);
  const lanes = Map.groupBy(receiver.arrived, ({ aggregate_id }) => aggregate_id);
  for (const lane of lanes.values()) {
    const firsts = [...new Set(lane.map(({ version }) => version))];
    expect(firsts).toEqual(firsts.map((_, index) => index + 1));
  }
  const again = receiver.arrived.length - arrived.size;
  console.log(`${arrived.size} events arrived, ${again} more than once`);
}, 60_000);
