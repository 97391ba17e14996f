// Seeded runs of a plugin's loop in virtual time: appends, refusals, hangs, partial calls, crashes
// and erasures at random, then fair weather. Afterwards every event has arrived at least once, in
// order within its aggregate, or is dead and listed. SEED repeats a run, RUNS makes more of them.

import { expect, test } from "bun:test";
import { keyText, type StreamKey } from "../../src/model/stream.ts";
import { limits } from "../../src/model/limits.ts";
import { createWorld, fair, type Weather, type World } from "../support/plugin-simulation.ts";

const first = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const runs = Number(process.env["RUNS"] ?? 400);

const keyOf = (id: number): StreamKey => ({ aggregate_type: "a", aggregate_id: `i${id}` });

const weathers: readonly Weather[] = [
  fair,
  { ...fair, refused: 0.3 },
  { ...fair, refused: 0.95 },
  { ...fair, away: 1 },
  { ...fair, away: 0.3, slow: 0.2 },
  { ...fair, hangs: 0.3, slow: 0.3 },
  { refused: 0.2, away: 0.2, hangs: 0.1, slow: 0.2 },
];

async function act(world: World, dice: () => number): Promise<void> {
  const draw = dice();
  const pick = (count: number): number => Math.floor(dice() * count);
  if (draw < 0.45) {
    const count = dice() < 0.1 ? 40 : 1 + pick(6);
    for (let index = 0; index < count; index++) world.log.append(keyOf(pick(6)));
  } else if (draw < 0.6) world.weather = weathers[pick(weathers.length)] ?? fair;
  else if (draw < 0.66) await world.crash();
  else if (draw < 0.7) await world.restart();
  else if (draw < 0.73) world.log.erase(keyOf(pick(6)));
  else await world.time.runUntil(world.time.now_ms() + pick(dice() < 0.1 ? 400_000 : 5_000));
}

/** Fair weather until nothing is pending; an hour is far more than any delay. */
async function calm(world: World): Promise<void> {
  world.weather = fair;
  const end_ms = world.time.now_ms() + 3_600_000;
  while (world.time.now_ms() < end_ms) {
    await world.time.runUntil(world.time.now_ms() + 64_000);
    const [entry] = await world.kept.readPlugins();
    if (entry?.pending === 0 && entry.checkpoint === world.log.events.length) return;
  }
  throw new Error(`not calm: ${JSON.stringify(await world.kept.readPlugins())}`);
}

async function faultsOf(world: World, { lanes }: { lanes: number }): Promise<string[]> {
  const faults = [...world.faults];
  const arrived = new Set(world.arrived.map(({ position }) => position));
  const rows = await world.kept.readOutbox({}, { after: null, limit: 10_000 });
  const dead = new Set(rows.map(({ position }) => position));
  for (const { position, erased } of world.log.events) {
    if (erased === true || arrived.has(position) || dead.has(position)) continue;
    faults.push(`${position} neither arrived nor is it dead`);
  }
  faults.push(...(await world.kept.check({ limit: 10 })));
  if (world.calls.running_max > lanes) faults.push(`${world.calls.running_max} calls at a time`);
  const numbers = world.arrived.map(({ sequence }) => sequence);
  const counted = world.crashes > 0 || lanes > 1 || numbers.every((each, at) => each === at + 1);
  if (!counted) faults.push(`numbers are ${numbers.join()}`);
  return faults;
}

test(`${runs} runs lose nothing and keep the order (seeds from ${first})`, async () => {
  let arrived = 0;
  let crashes = 0;
  let dead = 0;
  for (let run = 0; run < runs; run++) {
    const seed = (first + run) >>> 0;
    const shape = [
      { lanes: 1, events_max: 256 },
      { lanes: 1, events_max: 1 },
      { lanes: 4, events_max: 1 },
      { lanes: 3, events_max: 7 },
    ][seed % 4] ?? { lanes: 1, events_max: 1 };
    const world = await createWorld({ seed, ...shape, attempts_max: 1 + (seed % 5) });
    const steps = 20 + Math.floor(world.dice() * 60);
    for (let step = 0; step < steps; step++) await act(world, world.dice);
    await calm(world);
    const faults = await faultsOf(world, shape);
    const rows = await world.kept.readOutbox({ dead: true }, { after: null, limit: 10_000 });
    await world.close();
    if (faults.length > 0) throw new Error(`seed ${seed}: ${faults.slice(0, 5).join("; ")}`);
    expect(world.time.timers()).toBe(0);
    arrived += world.arrived.length;
    crashes += world.crashes;
    dead += rows.length;
  }
  console.log(`${arrived} deliveries, ${crashes} crashes, ${dead} dead`);
  expect(arrived).toBeGreaterThan(runs);
  expect(crashes).toBeGreaterThan(0);
}, 300_000);

test("one aggregate that is always refused holds up nothing else", async () => {
  const world = await createWorld({ seed: 1, lanes: 2, events_max: 16, attempts_max: 10 });
  world.poison.add(keyText(keyOf(0)));
  for (let index = 0; index < 2_000; index++) world.log.append(keyOf(index % 10));

  await world.time.runUntil(900);

  const [entry] = await world.kept.readPlugins();
  expect(world.arrived.length).toBe(1_800);
  expect(entry).toMatchObject({ checkpoint: 2_000, pending: 200, dead: 0 });
  expect(world.calls.events_max).toBeLessThanOrEqual(16);
  expect(world.faults).toEqual([]);
  await world.close();
}, 60_000);

test("a receiver that is away for an hour costs a few attempts, not the log", async () => {
  const world = await createWorld({ seed: 2, lanes: 4, events_max: 1, attempts_max: 10 });
  for (let index = 0; index < 300; index++) world.log.append(keyOf(index % 50));
  await world.time.runUntil(1_000);
  expect(world.arrived.length).toBe(300);
  world.weather = { ...fair, away: 1 };
  for (let index = 0; index < 2_000; index++) world.log.append(keyOf(index % 50));

  await world.time.runUntil(3_601_000);

  const [away] = await world.kept.readPlugins();
  expect(world.arrived.length).toBe(300);
  expect((away?.pending ?? 0) + (away?.dead ?? 0)).toBeLessThanOrEqual(limits.plugin_page_events);
  expect(away?.dead).toBeLessThanOrEqual(10);

  await calm(world);

  const [back] = await world.kept.readPlugins();
  expect(back).toMatchObject({ checkpoint: 2_300, pending: 0, dead: away?.dead });
  expect(world.arrived.length).toBe(2_300 - (away?.dead ?? 0));
  expect(world.faults).toEqual([]);
  await world.close();
}, 60_000);
