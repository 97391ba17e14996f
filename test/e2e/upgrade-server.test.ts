// An upgrade beside a running server: it goes on with the former version until somebody wants it
// restarted, and then runs the new one on the same data.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readlinkSync } from "node:fs";
import { version } from "../../src/version.ts";
import { endDaemon, readPid } from "../support/cli.ts";
import { startReleases, type Releases } from "../support/releases.ts";
import {
  compiledProgram,
  installed,
  releaseOf,
  scriptSaying,
  type Installation,
} from "../support/upgrades.ts";

const next = "9.9.9";
/** A release that nobody starts as a server: two lines that say this. */
const script = "9.9.8";
/** One that answers, and starts no server. */
const lame = "9.9.7";
const lameProgram = `#!/bin/sh
[ "$1" = --version ] && echo "dbx ${lame}" && exit
echo "error: the port is taken" >&2
exit 7
`;
let server: Releases;
let env: Record<string, string>;
beforeAll(async () => {
  const release = releaseOf({ version: next, program: await compiledProgram(next) });
  const small = releaseOf({ version: script, program: scriptSaying(script) });
  server = await startReleases({
    releases: {
      ...{ [`v${next}`]: release, [`v${script}`]: small },
      [`v${lame}`]: releaseOf({ version: lame, program: lameProgram }),
    },
  });
  env = { DBX_RELEASES_URL: server.url, EVENTDBX_PORT: "0", EVENTDBX_BIND_ADDR: "127.0.0.1" };
});
afterAll(() => server[Symbol.asyncDispose]());

const appending = ["aggregate", "apply", "person", "p-1", "born", "--field", "at=home"];

/** An installation whose server runs in the background and holds an event. */
async function serving(): Promise<Installation> {
  const dbx = await installed();
  expect(await dbx.run(["start"], { env })).toMatchObject({ code: 0 });
  expect(await dbx.run(appending, { env })).toMatchObject({ code: 0 });
  const dispose = dbx[Symbol.dispose];
  return {
    ...dbx,
    [Symbol.dispose]: () => {
      endDaemon(dbx.home);
      dispose();
    },
  };
}

async function statusOf(dbx: Installation): Promise<{ version: string; position: number }> {
  return JSON.parse((await dbx.run(["status", "--json"], { env })).stdout);
}

describe("a server in the background", () => {
  test("is restarted with --restart, and runs the new version on the same data", async () => {
    using dbx = await serving();
    const { pid } = readPid(dbx.home);
    expect(await statusOf(dbx)).toMatchObject({ version, position: 1 });
    const ran = await dbx.run(["upgrade", "--restart"], { env });
    expect(ran.stderr).toContain(`dbx stopped (pid ${pid})`);
    expect([ran.code, ran.stdout]).toEqual([
      0,
      `dbx ${version} is now dbx ${next} at ${dbx.path}\n`,
    ]);
    const fresh = readPid(dbx.home);
    expect(fresh.pid).not.toBe(pid);
    expect(await statusOf(dbx)).toMatchObject({ version: next, position: 1 });
    if (process.platform === "linux") {
      expect(readlinkSync(`/proc/${fresh.pid}/exe`)).toBe(dbx.path);
    }
  });

  test("goes on where nobody can be asked, and the command is told", async () => {
    using dbx = await serving();
    const { pid } = readPid(dbx.home);
    const before = await statusOf(dbx);
    const ran = await dbx.run(["upgrade", script, "--json"], { env });
    expect(ran.stderr).toBe(
      `the running server (pid ${pid}) goes on with the former version until: ${dbx.path} restart\n`,
    );
    const told = { upgraded: true, to: script, pid, restarted: false };
    expect(JSON.parse(ran.stdout)).toMatchObject(told);
    expect(before).toMatchObject({ version, position: 1 });
    expect(readPid(dbx.home).pid).toBe(pid);
    expect((await dbx.run(["--version"])).stdout).toBe(`dbx ${script}\n`);
  });

  test.each([
    ["y", next, true],
    ["", script, false],
  ])("is asked about on a terminal; %p decides", async (reply, wanted, restarts) => {
    using dbx = await serving();
    const { pid } = readPid(dbx.home);
    let screen = "";
    let asked = false;
    const child = Bun.spawn([dbx.path, "upgrade", wanted], {
      env: { PATH: process.env["PATH"] ?? "", ...env, HOME: dbx.home, TERM: "xterm" },
      cwd: dbx.home,
      terminal: {
        cols: 200,
        data(terminal, bytes) {
          screen += new TextDecoder().decode(bytes);
          if (asked || !screen.includes("with it now? [y/N] ")) return;
          asked = true;
          terminal.write(`${reply}\n`);
        },
      },
    });
    expect(await child.exited).toBe(0);
    child.terminal?.close();
    expect(asked).toBe(true);
    expect(readPid(dbx.home).pid !== pid).toBe(restarts);
    if (restarts) expect(await statusOf(dbx)).toMatchObject({ version: next, position: 1 });
    if (restarts) expect(screen).toMatch(/\d of [\d,]+ KiB/);
  });
});

test("a restart that fails is told with its reason, and what is installed stays", async () => {
  using dbx = await serving();
  const { pid } = readPid(dbx.home);
  const ran = await dbx.run(["upgrade", lame, "--yes"], { env });
  expect(ran.stderr).toContain(`dbx ${lame} is installed, but the server was not restarted`);
  expect(ran.stderr).toContain("error: the port is taken");
  expect(ran.code).toBe(7);
  expect((await dbx.run(["--version"])).stdout).toBe(`dbx ${lame}\n`);
  expect(readPid(dbx.home).pid).toBe(pid);
});

test("a server in the foreground is left to whoever started it, even with --restart", async () => {
  using dbx = await installed();
  const child = dbx.spawn(["start", "--foreground"], { env });
  try {
    for await (const piece of child.stderr) {
      if (new TextDecoder().decode(piece).includes(" info ready ")) break;
    }
    const ran = await dbx.run(["upgrade", script, "--restart"], { env });
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain("whoever started it in the foreground must start it again");
    expect(readPid(dbx.home).pid).toBe(child.pid);
    expect(child.exitCode).toBeNull();
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
});
