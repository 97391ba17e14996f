// The master key, which opens every path below /admin/ as a token of the grant admin does. Checking
// it is slow on purpose (Argon2id), so that there is a bound on how many keys are tried; the right
// one, once found, is known again by its HMAC and waits for nobody.

import { createHmac, timingSafeEqual } from "node:crypto";
import type { Log } from "../log.ts";
import { masterKeyActor, type Actor } from "../model/actor.ts";
import { overloaded, unauthenticated } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { System } from "../system.ts";
import { holderOf, masterKeyOf } from "./credentials.ts";

export interface AdminKey {
  /**
   * Whoever has the key. Throws `unauthenticated`, whether it is wrong or there is none, and
   * `overloaded` instead of trying it when too many were tried.
   */
  readonly actorOf: (key: string) => Actor | Promise<Actor>;
  readonly figures: () => Record<string, number>;
}

/** Where an answer must not tell that there is no key: takes as long, and fits nothing. */
const nobodysHash =
  "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIG9uZQ" +
  "$KzGLgxFwLzX/hEn+0z6YL0nA8lM1gPilDfu9Z8aNUKY";

export function createAdminKey(options: {
  /** `admin.master_key_hash` as it is now; undefined where none is configured. */
  readonly hash: () => string | undefined;
  /** Argon2id, of `Bun.password`. */
  readonly verify: (key: string, hash: string) => Promise<boolean>;
  readonly random: System["random"];
  /** Milliseconds, never going back. */
  readonly now: () => number;
  readonly log: Pick<Log, "warn" | "error">;
}): AdminKey {
  const { hash, verify, log } = options;
  const secret = options.random(32);
  const tries = createTries(options.now);
  /** The key that was right for a hash. */
  let known: { readonly hash: string; readonly mac: Buffer } | null = null;
  /** Keys that are being checked or wait for it, by their HMAC: the same one is checked once. */
  const checks = new Map<string, Promise<boolean>>();
  let turn = Promise.resolve();
  const counts = { checks: 0, accepted: 0, refused: 0, throttled: 0 };

  function isKnown(mac: Buffer): boolean {
    if (known !== null && known.hash !== hash()) known = null;
    return known !== null && timingSafeEqual(known.mac, mac);
  }

  function refuseTooMany(): void {
    const busy = checks.size >= limits.admin_key_checks_max;
    const wait_ms = busy ? 0 : tries.take();
    if (!busy && wait_ms === 0) return;
    counts.throttled++;
    throw busy
      ? overloaded("too many master keys are being checked; try again")
      : overloaded("too many wrong master keys; try again later", { retry_after_ms: wait_ms });
  }

  /** Never rejects, so that whoever is next has his turn. */
  async function check(key: string, mac: Buffer): Promise<boolean> {
    const wanted = hash();
    counts.checks++;
    const fits = await verify(key, wanted ?? nobodysHash).catch((error: unknown) => {
      // It looked right when the configuration was read, and is none that can be computed.
      log.error("hash of the master key is unusable", { reason: String(error) });
      return false;
    });
    // A key that was replaced meanwhile opens nothing any more.
    if (fits && wanted !== undefined && wanted === hash()) {
      known = { hash: wanted, mac };
      tries.giveBack();
      return true;
    }
    const { checks: tried, throttled } = counts;
    // As rare as checks are.
    log.warn("master key refused", { configured: wanted !== undefined, tried, throttled });
    return false;
  }

  function beginCheck(key: string, mac: Buffer): Promise<boolean> {
    refuseTooMany();
    const name = mac.toString("base64");
    const checking = turn.then(() => check(key, mac));
    checks.set(name, checking);
    turn = checking.then(() => void checks.delete(name));
    return checking;
  }

  async function decide(key: string, mac: Buffer): Promise<Actor> {
    if (await (checks.get(mac.toString("base64")) ?? beginCheck(key, mac))) {
      counts.accepted++;
      return masterKeyActor;
    }
    counts.refused++;
    // The same where there is none: whoever guesses learns nothing by it.
    throw unauthenticated(undefined, { hint: "this master key is not right" });
  }

  return {
    actorOf(key) {
      const mac = createHmac("sha256", secret).update(key).digest();
      if (!isKnown(mac)) return decide(key, mac);
      counts.accepted++;
      return masterKeyActor;
    },
    figures: () => ({
      admin_key_checks: counts.checks,
      admin_key_accepted: counts.accepted,
      admin_key_refused: counts.refused,
      admin_key_throttled: counts.throttled,
    }),
  };
}

/** A bucket of tries that fills up slowly; whoever was right has his back. */
function createTries(now: () => number) {
  const { admin_key_tries_max, admin_key_try_ms } = limits;
  let left: number = admin_key_tries_max;
  let at = now();
  return {
    /** Out: 0, or how many milliseconds to wait. */
    take(): number {
      const time = now();
      left = Math.min(admin_key_tries_max, left + (time - at) / admin_key_try_ms);
      at = time;
      // Fractions are sums, and may be a hair below what they should be.
      if (left < 1 - 1e-9) return Math.max(1, Math.ceil((1 - left) * admin_key_try_ms - 1e-6));
      left -= 1;
      return 0;
    },
    giveBack() {
      left = Math.min(admin_key_tries_max, left + 1);
    },
  };
}

/** Who asks: by token, or by master key where the path is one of the administration. */
export type Asker = (headers: Headers, path: string) => Actor | Promise<Actor>;

/** `adminKey` is null where it opens nothing. */
export const createAsker =
  (options: {
    readonly authenticate: (token: string) => Actor;
    readonly adminKey: AdminKey | null;
  }): Asker =>
  (headers, path) => {
    const { authenticate, adminKey } = options;
    if (adminKey !== null && path.startsWith("/admin/")) {
      const key = masterKeyOf(headers);
      if (key !== null) return adminKey.actorOf(key);
    }
    return holderOf(headers, authenticate);
  };
