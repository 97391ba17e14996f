// Which plugins are handed what came from another node: those that say so, and no others.

import { expect, test } from "bun:test";
import { call } from "../../src/api/call.ts";
import type { Ask } from "../../src/api/dbx.ts";
import { bring, openNode } from "../support/nodes.ts";
import { startReceiver } from "../support/receiver.ts";
import { startTestServer } from "../support/server.ts";
import { root } from "../support/store.ts";

test("events of another node reach the plugins that take replicated ones", async () => {
  await using there = await openNode();
  await using server = await startTestServer();
  await using own = startReceiver();
  await using every = startReceiver();
  const here: Ask = (operation, input) => call(server.store.dbx, { operation, input, actor: root });
  await here("putPlugin", { name: "own", config: own.config });
  await here("putPlugin", { name: "every", config: { ...every.config, replicated: true } });

  await server.append("ward", "mine-1");
  for (const n of [1, 2, 3]) await there.append("ward", "theirs", n);
  await bring(there, { ask: here });
  await server.append("ward", "mine-2");
  await server.append("ward", "theirs");

  await Promise.all([own.until(3), every.until(6)]);
  const told = ({ arrived }: typeof own) =>
    arrived.map(({ aggregate_id, version }) => `${aggregate_id}@${version}`).sort();
  expect(told(own)).toEqual(["mine-1@1", "mine-2@1", "theirs@4"]);
  expect(told(every)).toEqual([
    ...["mine-1@1", "mine-2@1", "theirs@1", "theirs@2", "theirs@3", "theirs@4"],
  ]);
});
