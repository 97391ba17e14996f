// How often one token, and one address, may ask: a bucket for each that fills by the limit every
// second, and holds a second's worth. The limits are looked at anew each time, so that a running
// server follows its configuration.

import type { Actor } from "../model/actor.ts";
import type { Config } from "../model/config.ts";
import { overloaded } from "../model/error.ts";
import { limits } from "../model/limits.ts";

export interface Rates {
  /**
   * Counts a request, or the events of one message of a stream. Throws `overloaded` with
   * `retry_after_ms`.
   */
  readonly token: (actor: Actor, count?: number) => void;
  /** The same for an address. */
  readonly address: (address: string) => void;
  /** The same for whoever is behind a port that was noted; others are not known, nor counted. */
  readonly peer: (port: number | undefined) => void;
  /** Says that a connection of the front, from this port of loopback, is one of that address. */
  readonly note: (port: number, address: string) => void;
  readonly forget: (port: number) => void;
  /**
   * Whether one more connection may come from the address. Connections have a wider bucket of their
   * own, so that whoever makes one for each request is told the limit by an answer.
   */
  readonly connection: (address: string) => boolean;
}

/** For those who are not counted: this machine's own command line. */
export const unlimited: Rates = {
  token: () => {},
  address: () => {},
  peer: () => {},
  note: () => {},
  forget: () => {},
  connection: () => true,
};

export function createRates(options: {
  readonly limits: () => Config["rate_limit"];
  /** Milliseconds, never going back. */
  readonly now: () => number;
  readonly keys_max?: number;
}): Rates {
  const { now, keys_max = limits.rate_keys_max } = options;
  const tokens = createBuckets({ now, keys_max });
  const addresses = createBuckets({ now, keys_max });
  const callers = createBuckets({ now, keys_max });
  const peers = new Map<number, string>();
  const countAddress = (address: string): void => {
    const { per_address } = options.limits();
    if (per_address === undefined) return;
    const wait_ms = addresses.take(address, { rate: per_address, count: 1 });
    if (wait_ms > 0) throw tooOften("address", { limit: per_address, wait_ms });
  };
  return {
    token({ token_id }, count = 1) {
      const { per_token } = options.limits();
      if (per_token === undefined || token_id === null) return;
      const wait_ms = tokens.take(token_id, { rate: per_token, count });
      if (wait_ms > 0) throw tooOften("token", { limit: per_token, wait_ms });
    },
    address: countAddress,
    peer(port) {
      const address = port === undefined ? undefined : peers.get(port);
      if (address !== undefined) countAddress(address);
    },
    note: (port, address) => void peers.set(port, address),
    forget: (port) => void peers.delete(port),
    connection(address) {
      const { per_address } = options.limits();
      if (per_address === undefined) return true;
      const rate = per_address * limits.rate_connections_factor;
      return callers.take(address, { rate, count: 1 }) === 0;
    },
  };
}

interface Bucket {
  readonly level: number;
  readonly at: number;
}

/** The key that asked longest ago goes when there are too many: most likely its bucket is full. */
function createBuckets({ now, keys_max }: { now: () => number; keys_max: number }) {
  const buckets = new Map<string, Bucket>();
  return {
    /**
     * Out: 0, or how many milliseconds to wait. More may be taken than there is, as long as there
     * is something: a message of many events is paid for afterwards.
     */
    take(key: string, { rate, count }: { rate: number; count: number }): number {
      const at = now();
      const before = buckets.get(key) ?? { level: rate, at };
      const level = Math.min(rate, before.level + ((at - before.at) * rate) / 1_000);
      const isEnough = level >= 1;
      buckets.delete(key);
      buckets.set(key, { level: isEnough ? level - count : level, at });
      for (const oldest of buckets.keys()) {
        if (buckets.size <= keys_max) break;
        buckets.delete(oldest);
      }
      // Fractions are sums: what is a hair above a whole millisecond is one.
      return isEnough ? 0 : Math.max(1, Math.ceil(((1 - level) * 1_000) / rate - 1e-6));
    },
  };
}

const tooOften = (
  per: "token" | "address",
  { limit, wait_ms }: { limit: number; wait_ms: number },
) =>
  overloaded(`more than ${limit} requests a second of one ${per}; try again later`, {
    per,
    limit,
    retry_after_ms: wait_ms,
  });
