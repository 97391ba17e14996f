// However many connections a client opens, the server keeps the descriptors that it needs itself.

import { describe, expect, test } from "bun:test";
import { limits } from "../../src/model/limits.ts";
import { connectionsWithin } from "../../src/server/descriptors.ts";
import { dbx, http, startForeground } from "../support/cli.ts";
import { connectRaw, requestText, type RawConnection } from "../support/server-raw.ts";
import { tempDir } from "../support/temp.ts";

describe("the bound on connections", () => {
  const limitsText = (soft: string) =>
    "Limit                     Soft Limit           Hard Limit           Units     \n" +
    "Max cpu time              unlimited            unlimited            seconds   \n" +
    `Max open files            ${soft.padEnd(20)} 524288               files     \n`;
  test.each([
    ["four", "4", 1],
    ["a small limit, of which half is kept", "256", 42],
    ["the usual soft limit", "1024", 256],
    ["exactly enough", "24832", 8_192],
    ["one too few", "24831", 8_191],
    ["more than enough", "1048576", 8_192],
    ["no limit", "unlimited", 8_192],
  ])("with %s", (_, soft, wanted) => {
    expect(connectionsWithin(limitsText(soft))).toBe(wanted);
  });

  test("is the configured one where nobody tells the limit", () => {
    expect(connectionsWithin("")).toBe(limits.connections_max);
  });
});

// /proc is Linux's; elsewhere the bound is the fixed one, which the tests of the port hold.
test.skipIf(process.platform !== "linux")(
  "three hundred silent connections take no descriptor the server needs [needs Linux]",
  async () => {
    using home = tempDir();
    const options = { home: home.path };
    await using server = await startForeground({ ...options, descriptorsMax: 256 });
    const { port } = server;
    await server.until("connections_max=42");
    const issue = ["token", "generate", "--group", "admin", "--user", "jane", "--json"];
    const { token } = JSON.parse((await dbx(issue, options)).stdout);
    using early = await connectRaw(port);
    const ask = async (path: string) => {
      early.write(requestText("GET", path, { token }));
      return early.read();
    };
    expect((await ask("/health")).status).toBe(200);

    // 31 beside the early one: an address has three quarters of the 42. The others are turned
    // away, some before they know they are there.
    const silent: RawConnection[] = [];
    const turnedAway = Promise.withResolvers<void>();
    let away = 0;
    const leave = () => void (++away === 269 && turnedAway.resolve());
    const enter = async () => {
      const connection = await connectRaw(port);
      silent.push(connection);
      await connection.closed;
    };
    for (let count = 0; count < 300; count++) void enter().then(leave, leave);
    await turnedAway.promise;
    expect((await ask("/admin/verify")).status).toBe(200);
    const { figures } = JSON.parse((await ask("/admin/status")).body);
    expect(figures).toMatchObject({ connections: 32, connections_refused: 269 });

    for (const connection of silent) connection[Symbol.dispose]();
    while (JSON.parse((await ask("/admin/status")).body).figures.connections > 1);
    expect((await http(port, "/health")).status).toBe(200);
    const body = '{"aggregate_type":"a","aggregate_id":"1","event_type":"x","payload":{}}';
    expect((await http(port, "/v1/events", { token, body })).status).toBe(200);
  },
  30_000,
);
