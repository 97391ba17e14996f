// Receivers over TCP that behave as they like, connection after connection: whatever they do, an
// event that was reported as delivered had arrived, and in order.

import { createServer, type AddressInfo, type Socket } from "node:net";
import fc from "fast-check";
import { expect, test } from "bun:test";
import { createTcpEmitter } from "../../src/plugins/emitters/tcp.ts";
import { emissions, firstSeen, hasty, never } from "../support/emissions.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const numRuns = Number(process.env["RUNS"] ?? 8);

/** What a connection does after so many events: close, reset, or go on. */
const behaviour = fc.record({
  after: fc.nat({ max: 4 }),
  does: fc.constantFrom("close", "reset", "go on", "half-close"),
});
type Behaviour = typeof behaviour extends fc.Arbitrary<infer Value> ? Value : never;

async function receive(behaviours: readonly Behaviour[]) {
  const seen: number[] = [];
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const { after, does } = behaviours[sockets.push(socket) - 1] ?? { after: 0, does: "go on" };
    let taken = 0;
    let rest = "";
    const act = (): boolean => {
      if (taken !== after || does === "go on") return true;
      if (does === "half-close") return (socket.end(), true);
      if (does === "close") socket.destroySoon();
      else socket.resetAndDestroy();
      return false;
    };
    socket.on("error", () => {});
    socket.on("end", () => socket.end());
    if (!act()) return;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (taken > after && does === "close") return;
        seen.push(JSON.parse(line).version);
        taken++;
        if (!act()) return;
      }
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  const close = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { port, seen, close };
}

test(`what was reported as delivered had arrived, in order (seed ${seed})`, async () => {
  const property = fc.asyncProperty(
    fc.array(behaviour, { maxLength: 8 }),
    fc.integer({ min: 1, max: 12 }),
    async (behaviours, count) => {
      const { port, seen, close } = await receive(behaviours);
      const emitter = createTcpEmitter({ type: "tcp", host: "127.0.0.1", port }, hasty);
      const all = emissions(count);
      for (let start = 0, calls = 0; start < count; calls++) {
        const { delivered } = await emitter.deliver(all.slice(start), never);
        start += delivered;
        expect(new Set(seen)).toEqual(
          new Set([...seen, ...all.slice(0, start).map(({ sequence }) => sequence)]),
        );
        expect(calls).toBeLessThan(behaviours.length + count + 2);
      }
      expect(firstSeen(seen)).toEqual(all.map(({ sequence }) => sequence));
      await emitter.close();
      close();
    },
  );
  await fc.assert(property, { seed, numRuns });
}, 120_000);
