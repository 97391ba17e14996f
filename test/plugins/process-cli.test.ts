// The owner's way with a process plugin, by the command line alone: install, config, start, see,
// test, replay, disable, remove.

import { expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setInterval } from "node:timers/promises";
import { dbx, startForeground } from "../support/cli.ts";
import { tempDir } from "../support/temp.ts";
import { zipOf } from "./archives.ts";
import { target } from "./installing.ts";
import { python, type Line } from "./processes.ts";

const lives = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** A home with a bundle in it, and what its plugin has seen. */
function homeIn(home: string) {
  const seen = join(home, "seen.jsonl");
  const source = readFileSync(join(import.meta.dir, "appender.py"), "utf8");
  writeFileSync(
    join(home, "bundle.zip"),
    zipOf([
      { name: "dbx_search", content: source.replace(/^#!.*/, `#!${python}`), mode: 0o755 },
      { name: "README.md", content: "" },
    ]),
  );
  const lines = (): Line[] =>
    existsSync(seen)
      ? readFileSync(seen, "utf8")
          .split("\n")
          .slice(0, -1)
          .map((line): Line => JSON.parse(line))
      : [];
  return {
    lines,
    run: async (...args: string[]) => {
      const { code, stdout, stderr } = await dbx(args, { home });
      return { code, text: (stdout + stderr).trim() };
    },
    events: () => lines().flatMap(({ event }) => (event === undefined ? [] : [event])),
    until: async (condition: () => boolean) => {
      // Files tell nobody when they grow.
      for await (const _ of setInterval(10)) if (condition()) return;
    },
    install: ["plugin", "install", "dbx_search", "1.0.0", "--source", "bundle.zip"],
    config: [
      ...["plugin", "config", "process", "--name", "search", "--plugin", "dbx_search"],
      ...["--version", "1.0.0", "--arg", seen, "--arg", "plain"],
      ...["--env", "SEARCH_CLUSTER=https://example.com"],
    ],
  };
}

test.skipIf(python === null)(
  "a process plugin from its bundle to its removal [needs python3]",
  async () => {
    using dir = tempDir();
    const home = dir.path;
    const { lines, events, run, until, install, config } = homeIn(home);
    const apply = (id: string) =>
      run("aggregate", "apply", "patient", id, "seen", "--field", "a=1");

    await using server = await startForeground({ home, env: { SECRET_OF_DBX: "hidden" } });
    expect(await run(...config)).toMatchObject({
      code: 4,
      text: expect.stringContaining(
        `plugin 'dbx_search' version 1.0.0 is not installed for target ${target}`,
      ),
    });
    expect((await run(...install)).text).toStartWith("installed plugin 'dbx_search' v1.0.0 for");
    expect(await run(...config)).toEqual({ code: 0, text: "Process plugin 'search' configured" });

    // It runs before there is any event, with its own environment.
    await until(() => lines().length >= 2);
    const [started, greeted] = lines();
    expect(greeted?.init?.["target"]).toBe(target);
    expect(started?.env?.["SEARCH_CLUSTER"]).toBe("https://example.com");
    expect(JSON.stringify(started?.env)).not.toContain("hidden");

    await apply("p-1");
    await apply("p-1");
    await until(() => events().length === 2);
    expect(
      events().map(({ aggregateId, eventVersion, stateVersion }) => [
        aggregateId,
        eventVersion,
        stateVersion,
      ]),
    ).toEqual([
      ["p-1", 1, 1],
      ["p-1", 2, 2],
    ]);
    expect(await run("plugin", "test")).toMatchObject({
      ...{ code: 0, text: expect.stringContaining("process (search) - ok") },
    });
    await until(() => events().length === 3);
    expect(await run("plugin", "replay", "search", "patient", "p-1")).toMatchObject({ code: 0 });
    await until(() => events().length === 5);
    expect(
      events()
        .slice(3)
        .map(({ eventVersion }) => eventVersion),
    ).toEqual([1, 2]);

    const pid = started?.started ?? 0;
    expect(lives(pid)).toBe(true);
    expect((await run("plugin", "disable", "search")).text).toBe("Plugin 'search' disabled");
    expect(lives(pid)).toBe(false);
    expect(lines().at(-1)).toEqual({ ended: true });

    await apply("p-2");
    rmSync(join(home, ".eventdbx/plugins/dbx_search"), { recursive: true });
    const refused = await run("plugin", "enable", "search");
    expect(refused.text).toContain("failed to establish connection for 'search'");
    await run(...install, "--force");
    expect((await run("plugin", "enable", "search")).text).toBe("Plugin 'search' enabled");
    // What came meanwhile is delivered now.
    await until(() => events().at(-1)?.["aggregateId"] === "p-2");
    expect((await run("plugin", "disable", "search")).code).toBe(0);
    expect((await run("plugin", "remove", "search")).text).toBe("Plugin 'search' removed");
    server.kill("SIGTERM");
    expect(await server.exited).toBe(0);
    const pids = lines().flatMap(({ started: one }) => (one === undefined ? [] : [one]));
    expect(pids.some(lives)).toBe(false);
  },
  60_000,
);
