// Tokens: issued, shown, refreshed, revoked, checked. Definitions live in `tokens.json`, only as
// hashes; how far a token was used lives with the log, because only the append's own transaction
// can count exactly.

import { timingSafeEqual } from "node:crypto";
import type { Input } from "../api/operations.ts";
import type { IssuedToken, Token } from "../api/operations/tokens.ts";
import type { Log } from "../log.ts";
import {
  cliActor,
  cliGroup,
  grantsOf,
  masterKeyGroup,
  peerGroup,
  narrowedGrants,
  type Actor,
  type TokenId,
} from "../model/actor.ts";
import {
  type DbxError,
  failedPrecondition,
  invalidArgument,
  notFound,
  overloaded,
  unauthenticated,
} from "../model/error.ts";
import type { Note } from "../model/audit.ts";
import { limits } from "../model/limits.ts";
import { sha256 } from "../model/merkle.ts";
import type { Allowance } from "../model/plan.ts";
import { sealedDocument } from "../storage/documents.ts";
import type { Storage } from "../storage/storage.ts";
import type { System } from "../system.ts";
import { readDefinitions, toToken, type Definition } from "./token-file.ts";

export interface Tokens {
  /** These three say what they are about to do, once nothing stands against it. */
  readonly issue: (input: Input<"issueToken">, note: Note) => Promise<IssuedToken>;
  readonly list: () => Promise<Token[]>;
  readonly revoke: (input: Input<"revokeToken">, note: Note) => Promise<void>;
  readonly refresh: (input: Input<"refreshToken">, note: Note) => Promise<Token>;
  /** The actor behind a value. Throws `unauthenticated`. A keep-alive token lives on by it. */
  readonly authenticate: (value: string) => Actor;
  /** A token in memory only, for this machine's command line. */
  readonly openSession: (user: string) => { readonly token: string; readonly expires_at: string };
  /** For the planner: what the token may do at a time. */
  readonly allowanceOf: (id: TokenId, now: string) => Allowance;
  /** Writes down what keep-alive moved. */
  readonly close: () => Promise<void>;
}

const unknownToken = () => unauthenticated("token not found or inactive");
const expiredToken = () => unauthenticated("token has expired");

/**
 * `path` is `tokens.json`; a missing file means no tokens, an unreadable one is an error, never
 * "none".
 */
export async function openTokens(options: {
  path: string;
  storage: Storage;
  system: System;
  log: Log;
  /** Where nothing can be written, keep-alive moves expiries in memory alone. */
  writable: boolean;
}): Promise<Tokens> {
  const { storage, system } = options;
  const file = sealedDocument(options.path, storage.vault);
  const definitions = new Map<TokenId, Definition>();
  for (const definition of await readDefinitions(file)) definitions.set(definition.id, definition);
  // It may be older than the encryption.
  if (options.writable) await file.sealPlain();
  /** Where keep-alive has moved the end of a token's life, and which part of that is on disk. */
  const alive = new Map<TokenId, { expires_at: string; saved: string }>();
  const sessions = new Map<TokenId, { hash: Uint8Array; actor: Actor; expires_at: string }>();
  let changing: Promise<unknown> = Promise.resolve();
  let saving: Promise<void> = Promise.resolve();

  const kept = [...definitions.values()].filter(({ keep_alive }) => keep_alive).map(({ id }) => id);
  for (const use of await storage.readTokenUses(kept)) {
    const definition = definitions.get(use.token_id);
    if (use.expires_at === null || definition?.term !== use.term) continue;
    alive.set(use.token_id, { expires_at: use.expires_at, saved: use.expires_at });
  }

  const expiryOf = (definition: Definition): string | null =>
    alive.get(definition.id)?.expires_at ?? definition.expires_at;

  function faultOf(definition: Definition | undefined, now: string): DbxError | null {
    if (definition === undefined || definition.status === "revoked") return unknownToken();
    const expires_at = expiryOf(definition);
    return expires_at !== null && expires_at <= now ? expiredToken() : null;
  }

  function authenticate(value: string): Actor {
    const hash = sha256(value);
    const id = idOf(hash);
    const now = system.now();
    const session = sessions.get(id);
    if (session !== undefined && timingSafeEqual(session.hash, hash)) {
      if (session.expires_at <= now) throw expiredToken();
      // A long replay is many requests of one command.
      session.expires_at = addSeconds(now, limits.session_token_ms / 1000);
      return session.actor;
    }
    const definition = definitions.get(id);
    if (definition === undefined || !timingSafeEqual(Buffer.from(definition.hash, "hex"), hash)) {
      throw unknownToken();
    }
    const fault = faultOf(definition, now);
    if (fault !== null) throw fault;
    if (definition.keep_alive && definition.span_secs !== null)
      prolong(definition, definition.span_secs, now);
    return {
      group: definition.group,
      user: definition.user,
      grants: definition.grants ?? grantsOf(definition.group),
      scope: definition.aggregates ?? null,
      token_id: id,
    };
  }

  /**
   * Moves the expiry in memory at once; on disk when a tenth of the span has passed, so reads stay
   * cheap.
   */
  function prolong({ id, expires_at: first }: Definition, span_secs: number, now: string): void {
    const expires_at = addSeconds(now, span_secs);
    const saved = alive.get(id)?.saved ?? first ?? expires_at;
    alive.set(id, { expires_at, saved });
    if (!options.writable) return;
    if (Date.parse(expires_at) - Date.parse(saved) < span_secs * 100) return;
    alive.set(id, { expires_at, saved: expires_at });
    saving = saving.then(() => save([id]));
  }

  /** An expiry that is not written down ends a token early at worst, after a restart. */
  async function save(ids: readonly TokenId[]): Promise<void> {
    try {
      await saveUses(ids);
    } catch (error) {
      options.log.warn("keep-alive expiry not saved", { reason: String(error) });
    }
  }

  async function saveUses(ids: readonly TokenId[]): Promise<void> {
    await storage.commit({ keys: [], event_ids: [], token_ids: ids }, (known) => ({
      outcomes: [],
      heads: [],
      snapshots: [],
      log: known.log,
      token_uses: ids.flatMap((token_id) => {
        const definition = definitions.get(token_id);
        if (definition === undefined) return [];
        const writes = known.token_uses.get(token_id)?.writes ?? 0;
        return [{ token_id, writes, expires_at: expiryOf(definition), term: definition.term }];
      }),
    }));
  }

  function allowanceOf(id: TokenId, now: string): Allowance {
    const definition = definitions.get(id);
    const error = faultOf(definition, now);
    if (error !== null || definition === undefined)
      return { ok: false, error: error ?? unknownToken() };
    const { limit, limit_base, term } = definition;
    return {
      ok: true,
      writes_max: limit === null ? null : limit_base + limit,
      expires_at: alive.get(id)?.expires_at ?? null,
      term,
    };
  }

  /** One change of the file at a time: on disk first, then in memory. */
  function change<Result>(step: () => Promise<Result>): Promise<Result> {
    const result = changing.then(step);
    // The caller has the error; the next change must still run.
    changing = result.catch(() => undefined);
    return result;
  }

  async function put(definition: Definition): Promise<void> {
    const next = new Map(definitions).set(definition.id, definition);
    await file.replace(`${JSON.stringify([...next.values()], null, 2)}\n`);
    // A new term: what keep-alive had moved in the one before no longer counts.
    if (definitions.get(definition.id)?.term !== definition.term) alive.delete(definition.id);
    definitions.set(definition.id, definition);
  }

  /** Forgets tokens that can do nothing any more, the oldest first, once there are too many. */
  function makeRoom(): void {
    if (definitions.size < limits.tokens_max) return;
    const now = system.now();
    const ended = [...definitions.values()].find((each) => faultOf(each, now) !== null);
    if (ended === undefined) {
      throw failedPrecondition(`there are ${limits.tokens_max} tokens already, the most dbx keeps`);
    }
    definitions.delete(ended.id);
  }

  async function show(definition: Definition): Promise<Token> {
    const [use] = await storage.readTokenUses([definition.id]);
    return toToken(definition, {
      writes: use?.writes ?? 0,
      expires_at: expiryOf(definition),
      now: system.now(),
    });
  }

  function find(reference: string): Definition {
    const id = reference.startsWith("EVT-") ? idOf(sha256(reference)) : reference;
    const definition = definitions.get(id);
    // The caller's own token is fine: it is the one he names that is not there.
    if (definition === undefined || definition.status === "revoked") {
      throw notFound(unknownToken().message);
    }
    return definition;
  }

  return {
    authenticate,
    allowanceOf,
    issue: (input, note) =>
      change(async () => {
        refuseReserved(input.group);
        const narrowed = narrowedGrants(input.group, input.grants);
        makeRoom();
        if (input.keep_alive === true && typeof input.expiration_secs !== "number") {
          throw invalidArgument("keep_alive needs an expiration, which each use extends");
        }
        const { value, hash, id } = newValue(system);
        const now = system.now();
        const span_secs = input.expiration_secs ?? null;
        const definition: Definition = {
          id,
          prefix: value.slice(0, 12),
          hash: hash.toHex(),
          group: input.group,
          user: input.user,
          status: "active",
          issued_at: now,
          expires_at: span_secs === null ? null : addSeconds(now, span_secs),
          span_secs,
          limit: input.limit ?? null,
          limit_base: 0,
          keep_alive: input.keep_alive ?? false,
          term: now,
          ...(narrowed === undefined ? {} : { grants: narrowed }),
          ...(input.aggregates ? { aggregates: input.aggregates } : {}),
        };
        // Not for whom: tokens.json may be sealed, and the audit trail never is.
        const { group, limit } = definition;
        const reach = { grants: narrowed ?? grantsOf(group), aggregates: input.aggregates ?? null };
        await note("token.issue", id, { limit, span_secs, ...reach });
        await put(definition);
        return { token: value, ...(await show(definition)) };
      }),
    list: async () => {
      const all = [...definitions.values()];
      const uses = await storage.readTokenUses(all.map(({ id }) => id));
      const writes = new Map(uses.map((use) => [use.token_id, use.writes]));
      const now = system.now();
      return all.map((definition) =>
        toToken(definition, {
          writes: writes.get(definition.id) ?? 0,
          expires_at: expiryOf(definition),
          now,
        }),
      );
    },
    revoke: ({ token }, note) =>
      change(async () => {
        const definition = find(token);
        await note("token.revoke", definition.id, null);
        await put({ ...definition, status: "revoked" });
      }),
    refresh: ({ token, expiration_secs, limit }, note) =>
      change(async () => {
        const definition = find(token);
        if (expiration_secs === undefined && limit === undefined) {
          throw invalidArgument("a refresh needs a new expiration, a new limit or both");
        }
        const now = system.now();
        const [use] = await storage.readTokenUses([definition.id]);
        const renewed = expiration_secs !== undefined;
        const next: Definition = {
          ...definition,
          ...(renewed
            ? {
                expires_at: addSeconds(now, expiration_secs),
                span_secs: expiration_secs,
                term: now,
              }
            : {}),
          ...(limit === undefined ? {} : { limit, limit_base: use?.writes ?? 0 }),
        };
        const changes = { span_secs: expiration_secs ?? null, limit: limit ?? null };
        await note("token.refresh", definition.id, changes);
        await put(next);
        return show(next);
      }),
    openSession: (user) => {
      const now = system.now();
      for (const [id, session] of sessions) if (session.expires_at <= now) sessions.delete(id);
      if (sessions.size >= limits.session_tokens_max) {
        throw overloaded("too many command lines are at work; try again in a minute");
      }
      const { value, hash, id } = newValue(system);
      const expires_at = addSeconds(now, limits.session_token_ms / 1000);
      sessions.set(id, { hash, expires_at, actor: cliActor(user) });
      return { token: value, expires_at };
    },
    close: async () => {
      await changing;
      await saving;
      const unsaved = [...alive].filter(([, { expires_at, saved }]) => expires_at !== saved);
      if (options.writable && unsaved.length > 0) await save(unsaved.map(([id]) => id));
    },
  };
}

function refuseReserved(group: string): void {
  if (group === cliGroup) {
    throw invalidArgument(`the group ${cliGroup} is this machine's command line; take another`);
  }
  if (group === masterKeyGroup) {
    throw invalidArgument(`the group ${masterKeyGroup} is the master key's own; take another`);
  }
  if (group === peerGroup) {
    throw invalidArgument(`the group ${peerGroup} is for other nodes; take another`);
  }
}

const idOf = (hash: Uint8Array): TokenId => hash.subarray(0, 8).toHex();

function newValue(system: System): { value: string; hash: Uint8Array; id: TokenId } {
  const value = `EVT-${system.random(32).toHex()}`;
  const hash = sha256(value);
  return { value, hash, id: idOf(hash) };
}

function addSeconds(time: string, seconds: number): string {
  const end = new Date(Date.parse(time) + seconds * 1000);
  return `${end.toISOString().slice(0, -1)}${time.slice(-4)}`;
}
