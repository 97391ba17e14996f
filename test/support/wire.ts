// A cable between a sender and a receiver that a test can damage: it is cut, holds everything,
// loses everything, talks nonsense, or leads nowhere.

import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * `cut`: each connection ends with a reset after so many bytes, of either direction. `reset`: at
 * once. `mute`: what is sent is read and lost. `held`: what is sent stays where it is until the
 * wire is whole again. `dead`: connections that stand now are `mute` for ever, new ones are whole.
 * `nonsense`: any bytes are answered with others. `thin`: a few bytes at a time.
 */
export type Damage =
  | { readonly kind: "none" | "down" | "reset" | "mute" | "held" | "dead" | "nonsense" | "thin" }
  | { readonly kind: "cut"; readonly bytes: () => number; readonly from: "sender" | "both" };

export interface Wire extends AsyncDisposable {
  readonly port: number;
  /** Where it leads. */
  lead: (port: number) => void;
  readonly damage: (damage: Damage) => Promise<void>;
  /** How often the damage that there is now did harm. */
  readonly harm: () => number;
}

interface Link {
  readonly near: Socket;
  readonly far: Socket;
  /** Of this connection, when it is not that of the wire. */
  kind: Damage["kind"] | null;
  left: number;
}

export async function startWire(
  target: number,
  { random }: { random: () => number },
): Promise<Wire> {
  let lead = target;
  let damage: Damage = { kind: "none" };
  let harm = 0;
  const links = new Set<Link>();

  const end = (link: Link): void => {
    links.delete(link);
    link.near.resetAndDestroy();
    link.far.resetAndDestroy();
  };

  function accept(near: Socket): void {
    if (damage.kind === "reset") {
      harm++;
      near.on("error", () => {});
      near.resetAndDestroy();
      return;
    }
    const far = connect({ port: lead, host: "127.0.0.1", noDelay: true });
    near.setNoDelay(true);
    const left = damage.kind === "cut" ? damage.bytes() : Infinity;
    const link: Link = { near, far, kind: null, left };
    links.add(link);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("data", (bytes: Buffer) => carry(link, { from, to, bytes }));
      from.on("end", () => to.end());
      from.on("error", () => end(link));
      from.on("close", () => {
        if (links.delete(link)) to.destroySoon();
      });
      if (damage.kind === "held") from.pause();
    }
  }

  function carry(link: Link, { from, to, bytes }: { from: Socket; to: Socket; bytes: Buffer }) {
    const kind = link.kind ?? damage.kind;
    const isSent = from === link.near;
    switch (kind) {
      case "mute":
        if (isSent) harm++;
        return;
      case "nonsense": {
        if (!isSent) return;
        harm++;
        link.near.write(Uint8Array.from({ length: 64 }, () => random() * 256));
        return;
      }
      case "thin": {
        harm++;
        const most = 256 + Math.floor(random() * 4_096);
        to.write(bytes.subarray(0, most));
        if (bytes.length <= most) return;
        from.pause();
        from.unshift(bytes.subarray(most));
        setTimeout(() => from.resume(), 2);
        return;
      }
      case "cut": {
        const counts = damage.kind === "cut" && (isSent || damage.from === "both");
        if (!counts || bytes.length < link.left) {
          if (counts) link.left -= bytes.length;
          to.write(bytes);
          return;
        }
        harm++;
        to.write(bytes.subarray(0, link.left));
        return end(link);
      }
      default:
        to.write(bytes);
    }
  }

  const listen = (port: number): Promise<Server> =>
    new Promise((done, fail) => {
      const made = createServer({ allowHalfOpen: true, pauseOnConnect: false }, accept);
      made.once("error", fail);
      made.listen(port, "127.0.0.1", () => done(made));
    });
  let server: Server | null = await listen(0);
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;

  const hangUp = async (): Promise<void> => {
    const closing = server;
    server = null;
    const closed = new Promise<void>((done) =>
      closing === null ? done() : closing.close(() => done()),
    );
    for (const link of [...links]) end(link);
    await closed;
  };

  return {
    port,
    lead: (next) => void (lead = next),
    harm: () => harm,
    damage: async (next) => {
      const before = damage;
      damage = next;
      harm = 0;
      if (next.kind === "down") return hangUp();
      if (server === null) server = await listen(port);
      for (const link of links) {
        if (next.kind === "cut") link.left = next.bytes();
        if (next.kind === "dead") link.kind = "mute";
        if (next.kind === "held") for (const side of [link.near, link.far]) side.pause();
        if (before.kind === "held") for (const side of [link.near, link.far]) side.resume();
        if (next.kind === "reset") end(link);
      }
    },
    [Symbol.asyncDispose]: hangUp,
  };
}
