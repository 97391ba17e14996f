// Two ends of a channel between nodes, in memory: whole messages, in order.

import type { Channel } from "../../src/replication/peer.ts";

function createQueue() {
  const messages: (Uint8Array | null)[] = [];
  const waiting: ((message: Uint8Array | null) => void)[] = [];
  return {
    push: (message: Uint8Array | null): void => {
      const next = waiting.shift();
      if (next === undefined) messages.push(message);
      else next(message);
    },
    take: (): Promise<Uint8Array | null> =>
      new Promise((resolve) => {
        const message = messages.shift();
        if (message === undefined) waiting.push(resolve);
        else resolve(message);
      }),
  };
}

export function channelPair(): readonly [Channel, Channel] {
  const [left, right] = [createQueue(), createQueue()];
  const end = (inbox: typeof left, outbox: typeof right): Channel => ({
    send: async (message) => outbox.push(message.slice()),
    receive: inbox.take,
    close: async () => {
      outbox.push(null);
      inbox.push(null);
    },
  });
  return [end(left, right), end(right, left)];
}
