// A port for tests that must name one: a server that comes back where it was, or nobody there yet.
// Never one that the system gave out: as soon as it is free the system may give it to a connection
// or a listener of another test.

/** Below what Linux, macOS and Windows give out by themselves. */
const [first, last] = [20_000, 32_000];

/** A port of loopback that nobody has, and that nobody gets without asking for it. */
export function freePort(): number {
  for (let tries = 0; tries < 100; tries++) {
    const port = first + Math.floor(Math.random() * (last - first));
    try {
      Bun.listen({ hostname: "0.0.0.0", port, socket: { data: () => {} } }).stop(true);
      return port;
    } catch {
      // Somebody has it.
    }
  }
  throw new Error(`no free port between ${first} and ${last}`);
}
