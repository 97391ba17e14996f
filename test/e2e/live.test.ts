// Following the log of a real server, through kills of the follower and of the server.

import { expect, test } from "bun:test";
import { dbx, http, startForeground } from "../support/cli.ts";
import { killAndResume } from "../support/live.ts";
import { upTo } from "../support/live-log.ts";
import { followBySse, openStream } from "../support/sse.ts";
import { tempDir } from "../support/temp.ts";

const issue = async (home: string): Promise<string> => {
  const args = ["token", "generate", "--group", "app", "--user", "u", "--json"];
  return JSON.parse((await dbx(args, { home })).stdout).token;
};

test("50 kills of a follower and two of the server, under load: each position once, in order", async () => {
  using dir = tempDir();
  const home = dir.path;
  let server = await startForeground({ home });
  const token = await issue(home);
  try {
    const { seen, appended } = await killAndResume({
      open: followBySse(() => ({ port: server.port, token })),
      append: async (event_id) => {
        const event = { aggregate_type: "load", aggregate_id: "l", event_type: "x", payload: 1 };
        const body = JSON.stringify({ ...event, event_id });
        const { status, text } = await http(server.port, "/v1/events", { token, body });
        if (status !== 200) throw new Error(text);
        return JSON.parse(text).position;
      },
      between: async (kill) => {
        if (kill !== 15 && kill !== 35) return;
        await server[Symbol.asyncDispose]();
        server = await startForeground({ home });
      },
    });
    expect(seen).toEqual(upTo(seen.length));
    expect(appended).toEqual(seen);
    expect(seen.length).toBeGreaterThan(500);
  } finally {
    await server[Symbol.asyncDispose]();
  }
  expect((await dbx(["aggregate", "verify", "--all"], { home })).code).toBe(0);
}, 120_000);

test("a server that is asked to stop does not wait for its followers, and tells them", async () => {
  using dir = tempDir();
  const home = dir.path;
  await using server = await startForeground({ home });
  const stream = await openStream({ port: server.port, token: await issue(home) });
  expect((await stream.messages.next()).value).toMatchObject({ id: "0", comment: true });
  const started = performance.now();
  server.kill("SIGTERM");
  const { value: last } = await stream.messages.next();
  expect(last).toMatchObject({ type: "error", data: expect.stringContaining("dbx is stopping") });
  expect((await stream.messages.next()).done).toBe(true);
  expect(await server.exited).toBe(0);
  expect(performance.now() - started).toBeLessThan(5_000);
});
