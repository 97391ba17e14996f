// A way between two nodes on which something happens at a byte that a test has chosen: bytes pass
// both ways, in small pieces and late if that is wished, until so many have passed.

import type { Socket } from "bun";

export interface Trouble {
  /** Bytes of both directions that pass before. */
  readonly after: number;
  /** Pieces of this many bytes, each in a turn of its own. */
  readonly piece: number;
  /** What happens then; the connection goes with it. */
  readonly happen: () => void;
}

export interface Way extends Disposable {
  readonly port: number;
  /** For the next connection; null for none. Out: tells whether it has happened. */
  readonly plan: (trouble: Trouble | null) => () => boolean;
}

interface End {
  other: Socket<End> | null;
  /** What came before the other end was there, or waits for it. */
  waiting: Buffer[];
  ended: boolean;
  passing: boolean;
}

export function openWay(target: () => number): Way {
  let planned: (Trouble & { happened: boolean }) | null = null;
  let passed = 0;

  /** Passes on what waits of one end, piece by piece. */
  async function pass(from: Socket<End>): Promise<void> {
    const end = from.data;
    if (end.passing) return;
    end.passing = true;
    while (end.other !== null) {
      const [first] = end.waiting;
      if (first === undefined) break;
      const trouble = planned?.happened === false ? planned : null;
      const room = trouble === null ? Infinity : Math.min(trouble.piece, trouble.after - passed);
      const piece = first.subarray(0, room);
      const sent = Math.max(0, end.other.write(piece));
      passed += sent;
      if (sent === first.length) end.waiting.shift();
      else end.waiting[0] = first.subarray(sent);
      if (trouble !== null && passed >= trouble.after) {
        trouble.happened = true;
        trouble.happen();
        end.other.terminate();
        from.terminate();
        return;
      }
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    end.passing = false;
    if (end.ended && end.waiting.length === 0) end.other?.end();
  }

  const handler = {
    data(socket: Socket<End>, bytes: Buffer) {
      socket.data.waiting.push(Buffer.from(bytes));
      void pass(socket);
    },
    end(socket: Socket<End>) {
      socket.data.ended = true;
      void pass(socket);
    },
    close(socket: Socket<End>) {
      socket.data.ended = true;
      void pass(socket);
    },
    error: () => {},
    drain(socket: Socket<End>) {
      if (socket.data.other !== null) void pass(socket.data.other);
    },
  };
  const fresh = (): End => ({ other: null, waiting: [], ended: false, passing: false });

  const listener = Bun.listen<End>({
    ...{ hostname: "127.0.0.1", port: 0, allowHalfOpen: true },
    socket: {
      ...handler,
      open(caller) {
        caller.data = fresh();
        passed = 0;
        void Bun.connect<End>({
          ...{ hostname: "127.0.0.1", port: target(), allowHalfOpen: true, data: fresh() },
          socket: {
            ...handler,
            open(called) {
              called.data.other = caller;
              caller.data.other = called;
              void pass(caller);
            },
            connectError: () => void caller.terminate(),
          },
        }).catch(() => caller.terminate());
      },
    },
  });
  return {
    port: listener.port,
    plan(trouble) {
      const made = trouble === null ? null : { ...trouble, happened: false };
      planned = made;
      return () => made?.happened === true;
    },
    [Symbol.dispose]: () => listener.stop(true),
  };
}
