// Buckets of tokens and addresses: how much passes in a time, how long to wait, and how many are
// remembered.

import fc from "fast-check";
import { describe, expect, test } from "bun:test";
import type { Actor } from "../../src/model/actor.ts";
import { DbxError } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { createRates, unlimited } from "../../src/server/rate.ts";

const holder = (token_id: string | null): Actor => ({
  ...{ group: "app", user: "jane", grants: ["append"], scope: null },
  token_id,
});

function clocked(rate_limit: { per_token?: number; per_address?: number }, keys_max?: number) {
  let ms = 0;
  let current = rate_limit;
  const rates = createRates({
    limits: () => current,
    now: () => ms,
    ...(keys_max === undefined ? {} : { keys_max }),
  });
  return {
    rates,
    pass: (more: number) => void (ms += more),
    change: (next: typeof rate_limit) => void (current = next),
    /** How long to wait; 0 for whoever may. */
    ask: (token_id: string | null, count = 1): number => {
      try {
        rates.token(holder(token_id), count);
        return 0;
      } catch (error) {
        if (!(error instanceof DbxError) || error.code !== "overloaded") throw error;
        return Number(error.details["retry_after_ms"]);
      }
    },
  };
}

describe("a token", () => {
  test("may ask as often as the limit says at once, then as its bucket fills", () => {
    const { ask, pass } = clocked({ per_token: 10 });
    for (let count = 0; count < 10; count++) expect(ask("a")).toBe(0);
    expect(ask("a")).toBe(100);
    expect(ask("b")).toBe(0);
    pass(99);
    expect(ask("a")).toBe(1);
    pass(1);
    expect(ask("a")).toBe(0);
    expect(ask("a")).toBe(100);
  });

  test("pays afterwards for a message of more events than there is room for", () => {
    const { ask, pass } = clocked({ per_token: 10 });
    expect(ask("a", 25)).toBe(0);
    expect(ask("a")).toBe(1_600);
    pass(1_600);
    expect(ask("a")).toBe(0);
  });

  test("is not counted without a limit, nor is who has none", () => {
    const { ask, change } = clocked({});
    for (let count = 0; count < 100; count++) expect(ask("a")).toBe(0);
    change({ per_token: 1 });
    expect([ask("a"), ask("a")]).toEqual([0, 1_000]);
    expect([ask(null), ask(null)]).toEqual([0, 0]);
    for (let count = 0; count < 100; count++) unlimited.token(holder("a"));
  });

  test("never gets more than the limit in any second, beyond one bucket", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 200 }),
        (per_token, waits) => {
          const { ask, pass } = clocked({ per_token });
          let passed = 0;
          let elapsed = 0;
          for (const wait of waits) {
            pass(wait);
            elapsed += wait;
            if (ask("a") === 0) passed++;
            expect(passed).toBeLessThanOrEqual(per_token + (elapsed * per_token) / 1_000 + 1e-6);
          }
        },
      ),
    );
  });
});

describe("an address", () => {
  test("is found by the port of its connection, and unknown ones are not counted", () => {
    const { rates } = clocked({ per_address: 1 });
    rates.note(4_000, "192.0.2.1");
    rates.note(4_001, "192.0.2.1");
    rates.peer(4_000);
    expect(() => rates.peer(4_001)).toThrow("more than 1 requests a second of one address");
    rates.forget(4_001);
    rates.peer(4_001);
    rates.peer(undefined);
  });

  test("may open more connections than it may ask, and pays for none of them by a request", () => {
    const { rates, pass } = clocked({ per_address: 2 });
    const asked = Array.from({ length: 9 }, () => rates.connection("192.0.2.1"));
    expect(asked).toEqual([...Array<boolean>(8).fill(true), false]);
    rates.address("192.0.2.1");
    rates.address("192.0.2.1");
    expect(() => rates.address("192.0.2.1")).toThrow("more than 2 requests a second");
    pass(125);
    expect(rates.connection("192.0.2.1")).toBe(true);
  });
});

test("no more keys are remembered than there may be; the oldest is forgotten", () => {
  const { ask } = clocked({ per_token: 1 }, 3);
  for (const id of ["a", "b", "c"]) expect(ask(id)).toBe(0);
  expect(ask("a")).toBe(1_000);
  expect(ask("d")).toBe(0);
  // b asked longest ago.
  expect([ask("a"), ask("c"), ask("d")]).toEqual([1_000, 1_000, 1_000]);
  expect(ask("b")).toBe(0);
  expect(limits.rate_keys_max).toBe(65_536);
});
