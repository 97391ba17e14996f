// Process plugins that misbehave, as real processes: whatever they do, every event is seen by one
// that lives, in order, and nothing of them is left behind.

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { limits } from "../../src/model/limits.ts";
import { tempDir } from "../support/temp.ts";
import {
  deliverAll,
  emissionOf,
  emissionsOf,
  never,
  python,
  startHarness,
  type Harness,
} from "./processes.ts";

const withoutPython = python === null;

const lives = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const pids = (run: Harness): number[] =>
  run.lines().flatMap(({ started }) => (started === undefined ? [] : [started]));

/** Each number at its first appearance: what at least once leaves of a sequence. */
const firsts = (sequences: readonly number[]): number[] => [...new Set(sequences)];

const count = (length: number) => Array.from({ length }, (_, index) => index);

describe.skipIf(withoutPython)("a process [needs python3]", () => {
  test("that dies at its start is started again, later each time, and gets nothing", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["die-at-start", "3"], {
      bounds: {
        ...{ plugin_process_start_ms: 20_000, plugin_process_wait_ms: 100 },
        ...{ plugin_process_restart_ms: 10, plugin_process_restart_ms_max: 100 },
      },
    });
    const { delivered, fault } = await run.emitter.deliver(emissionsOf(0, 5), never);
    expect({ delivered, reached: fault?.reached }).toEqual({ delivered: 0, reached: false });
    await run.until(() => run.starts() >= 6);
    const ended = [
      ...run.log().matchAll(/ended plugin=finder .*ending="exit code 3".*next_ms=(\d+)/g),
    ];
    expect(ended.map(([, ms]) => Number(ms)).slice(0, 5)).toEqual([10, 20, 40, 80, 100]);
    expect(limits.plugin_process_restart_ms).toBe(1_000);
    expect(limits.plugin_process_restart_ms_max).toBe(64_000);
  });

  test("that lived long enough is started again as if it were the first time", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["plain"], {
      bounds: { plugin_process_life_ms: 0, plugin_process_restart_ms: 10 },
    });
    run.emitter.start?.();
    for (const round of [1, 2, 3]) {
      await run.until(() => run.starts() === round);
      process.kill(pids(run).at(-1) ?? 0, "SIGKILL");
    }
    await run.until(() => run.starts() === 4);
    const waits = [...run.log().matchAll(/next_ms=(\d+)/g)].map(([, ms]) => Number(ms));
    expect(waits).toEqual([10, 10, 10]);
  });

  test("that dies in the middle of an event is replaced, and the event comes again", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["die-mid-event", "40"]);
    const faults = await deliverAll(run.emitter, emissionsOf(0, 60));
    await run.until(() => firsts(run.sequences()).length === 60);
    // Each process takes forty before it dies, so it takes more than one.
    expect(run.starts()).toBeGreaterThan(1);
    expect(firsts(run.sequences())).toEqual(count(60));
    expect(faults.every((message) => message.includes("SIGKILL"))).toBe(true);
  });

  test("that dies of one event is told apart from one that is not there", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["poison"], {
      bounds: { plugin_process_stand_ms: 400 },
    });
    const poison = emissionOf(2, { payload: { text: "poison" } });
    const several = await run.emitter.deliver([emissionOf(1), poison], never);
    expect(several).toMatchObject({ delivered: 0, fault: { reached: false } });
    const healthy = await run.emitter.deliver([emissionOf(1)], never);
    expect(healthy).toEqual({ delivered: 1, fault: null });
    const alone = await run.emitter.deliver([poison], never);
    expect(alone).toMatchObject({ delivered: 0, fault: { reached: true } });
    expect(alone.fault?.message).toBe(
      "plugin finder: its process ended (exit code 66) when it was handed events",
    );
    expect(await run.emitter.deliver([emissionOf(3)], never)).toEqual({
      delivered: 1,
      fault: null,
    });
    await run.until(() => run.sequences().includes(3));
  });

  test("that dies later leaves what it may not have read to the next one", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["late-death", "4"], {
      bounds: { plugin_process_start_ms: 250 },
    });
    expect(await deliverAll(run.emitter, emissionsOf(0, 10))).toEqual([]);
    // Nothing new comes: the next processes get them all the same, and nobody sees gaps.
    await run.until(() => firsts(run.sequences()).length === 10);
    expect(firsts(run.sequences())).toEqual(count(10));
    expect(run.starts()).toBeGreaterThan(2);
    expect(run.log()).not.toContain("given up");
    expect(await run.emitter.deliver([emissionOf(10)], never)).toMatchObject({ fault: null });
  });

  test("that dies of what was delivered gives that up in the end, and nothing else", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["poison", "200"], {
      // It counts as delivered before anybody has died of it.
      bounds: { plugin_process_start_ms: 500, plugin_process_resends_max: 2 },
    });
    const poison = emissionOf(1, { payload: { text: "poison" } });
    const delivered = await run.emitter.deliver([emissionOf(0), poison, emissionOf(2)], never);
    expect(delivered).toEqual({ delivered: 3, fault: null });
    await run.until(() => run.sequences().includes(2));
    expect(firsts(run.sequences())).toEqual([0, 2]);
    expect(run.log()).toContain("error plugin event given up plugin=finder sequence=1");
    const lost = run.emitter.given_up?.all() ?? [];
    expect(lost.map(({ record, message }) => [record.position, message])).toEqual([
      [2, "plugin finder: 2 of its processes ended soon after they got it"],
    ]);
    run.emitter.given_up?.forget(lost);
    expect(run.emitter.given_up?.all()).toEqual([]);
  });

  test("that takes long to start and then fails has read nothing, however often it starts", async () => {
    using dir = tempDir();
    const control = join(dir.path, "control");
    await Bun.write(control, "linger");
    // It is handed events long before it has read its first one.
    await using run = await startHarness(dir.path, ["told", control], {
      bounds: { plugin_process_start_ms: 50 },
    });
    expect(await run.emitter.deliver(emissionsOf(0, 5), never)).toMatchObject({ delivered: 5 });
    await run.until(() => run.starts() === 5);
    await Bun.write(control, "");
    await run.until(() => firsts(run.sequences()).includes(4));
    expect(firsts(run.sequences())).toEqual(count(5));
    expect(run.emitter.given_up?.all()).toEqual([]);
  });

  test("that never reads is replaced, and what it took does not count as read", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["never-read"]);
    const big = { payload: { text: "x".repeat(100_000) } };
    const { delivered, fault } = await run.emitter.deliver(emissionsOf(0, 20, big), never);
    expect({ delivered, reached: fault?.reached }).toEqual({ delivered: 0, reached: false });
    expect(fault?.message).toBe(
      "plugin finder: its process took nothing for 500 ms and is replaced",
    );
    const [first = 0] = pids(run);
    await run.until(() => !lives(first));
    await run.until(() => run.starts() === 2);
  });

  test("that closes its input is of no use, and replaced", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["close-input"], {
      bounds: { plugin_process_restart_ms: 5_000, plugin_process_restart_ms_max: 5_000 },
    });
    // As long as its input is open, it takes what it will never read.
    let fault = null;
    while (fault === null) ({ fault } = await run.emitter.deliver([emissionOf(1)], never));
    expect(fault.message).toMatch(/its process ended \(it closed its input\)/);
    expect(fault.reached).toBe(true);
    expect(pids(run).slice(0, 1).some(lives)).toBe(false);
  });

  test("that reads slowly gets everything once", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["slow", "20"]);
    const big = { payload: { text: "x".repeat(60_000) } };
    expect(await deliverAll(run.emitter, emissionsOf(0, 40, big))).toEqual([]);
    await run.until(() => run.sequences().length >= 40);
    expect(run.sequences()).toEqual(count(40));
    expect(run.starts()).toBe(1);
  });

  test("that ends after each event sees each of them, one process after the other", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["exit-after-each"], {
      bounds: { plugin_process_stand_ms: 1_000, plugin_process_restart_ms_max: 20 },
    });
    for (const sequence of count(4)) {
      // The dispatcher decides how often; here it is once.
      const { delivered, fault } = await run.emitter.deliver([emissionOf(sequence)], never);
      expect({ delivered, reached: fault?.reached }).toEqual({ delivered: 0, reached: true });
    }
    expect(run.sequences()).toEqual(count(4));
    expect(run.starts()).toBeGreaterThanOrEqual(4);
  });

  test("that prints megabytes does not wait for anybody, and the log stays small", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["noise", "50000"]);
    expect(await deliverAll(run.emitter, [emissionOf(1)])).toEqual([]);
    await run.until(() => run.sequences().length === 1);
    await run.emitter.close();
    const log = run.log();
    expect(log.length).toBeLessThan(400_000);
    const printed = [...log.matchAll(/stream=stdout text=(.*)/g)].map(([, text]) => text);
    expect(printed).toEqual([
      '"one line"',
      '"two \\\\u202e words\\\\u001b[31m"',
      '"bytes \ufffd\ufffd"',
      '"half a line"',
      `${"x".repeat(limits.plugin_output_bytes_max)}…`,
      '"no end"',
    ]);
    expect(log).toContain(`plugin output plugin=finder stream=stderr text=${"e".repeat(99)}`);
    const left = [...log.matchAll(/left out plugin=finder stream=stderr lines=(\d+)/g)];
    const shown = [...log.matchAll(/stream=stderr text=/g)].length;
    expect(left.reduce((sum, [, lines]) => sum + Number(lines), shown)).toBe(50_000);
  });

  test("that ignores its end and SIGTERM is killed within the time", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["ignore-sigterm"]);
    await deliverAll(run.emitter, [emissionOf(1)]);
    await run.until(() => run.sequences().length === 1);
    await run.emitter.close();
    expect(run.lines().at(-1)).toEqual({ input: "ended" } as object);
    expect(pids(run).some(lives)).toBe(false);
    expect(run.log()).toContain("ending=SIGKILL");
  });

  test("that leaves a grandchild with its streams takes it along", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["grandchild"]);
    await deliverAll(run.emitter, [emissionOf(1)]);
    await run.until(() => run.sequences().length === 1);
    const grandchild = run.lines().find((line) => line.grandchild !== undefined)?.grandchild ?? 0;
    expect(lives(grandchild)).toBe(true);
    await run.emitter.close();
    await run.until(() => !lives(grandchild));
    expect(pids(run).some(lives)).toBe(false);
    expect(run.lines().at(-1)).toEqual({ ended: true });
  });

  test("that is killed from outside is noticed without any event", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["plain"]);
    run.emitter.start?.();
    await run.until(() => run.starts() === 1);
    for (const round of [1, 2, 3]) {
      process.kill(pids(run).at(-1) ?? 0, "SIGKILL");
      await run.until(() => run.starts() === round + 1);
    }
    expect(await run.emitter.deliver([emissionOf(1)], never)).toEqual({
      delivered: 1,
      fault: null,
    });
    expect(pids(run).filter(lives)).toHaveLength(1);
  });

  test("is not waited for once the caller is told to stop", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["never-read"], {
      bounds: { plugin_process_stall_ms: 60_000 },
    });
    const stop = new AbortController();
    const big = { payload: { text: "x".repeat(200_000) } };
    const delivering = run.emitter.deliver(emissionsOf(0, 10, big), stop.signal);
    await run.until(() => run.starts() === 1);
    stop.abort();
    expect(await delivering).toMatchObject({ delivered: 0, fault: { reached: false } });
    await run.emitter.close();
    expect(pids(run).some(lives)).toBe(false);
  });
});

test("a program that is none is a fault in words, not a crash", async () => {
  using dir = tempDir();
  await using run = await startHarness(dir.path, [], {
    program: "\u0001 no program",
    bounds: { plugin_process_wait_ms: 100 },
  });
  const { fault } = await run.emitter.deliver([emissionOf(1)], never);
  expect(fault?.reached).toBe(false);
  expect(fault?.message).toMatch(/failed to launch plugin finder: \w+|its process ended/);
});

test.skipIf(withoutPython)(
  "a server that is killed leaves no process behind, and its events come again [needs python3]",
  async () => {
    using dir = tempDir();
    // Only to install the appender.
    await using run = await startHarness(dir.path, ["plain"]);
    await run.emitter.close();
    const seen = join(dir.path, "seen.jsonl");
    const command = [process.execPath, "--no-env-file", join(import.meta.dir, "process-server.ts")];
    const serve = (from: number) =>
      Bun.spawn([...command, run.data_dir, seen, String(from)], {
        stdout: "pipe",
        stderr: "inherit",
      });
    const server = serve(0);
    await run.until(() => existsSync(seen) && run.sequences().length > 100);
    server.kill("SIGKILL");
    await server.exited;
    await run.until(() => !pids(run).some(lives));
    // What was in the pipe has still been read: the last thing is a whole event, or the end.
    const before = run.sequences();
    expect(before).toEqual(count(before.length));
    // The checkpoint of a dispatcher: what it had settled.
    const settled = Number((await server.stdout.text()).trim().split("\n").at(-1));
    expect(settled).toBeLessThanOrEqual(before.length);

    const next = serve(settled);
    await run.until(() => run.sequences().length > before.length + 100);
    next.kill("SIGTERM");
    await next.exited;
    await run.until(() => !pids(run).some(lives));
    const all = firsts(run.sequences());
    expect(all).toEqual(count(all.length));
  },
);
