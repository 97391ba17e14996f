// What `tokens.json` holds of a token: never its value, only the hash of it.

import { Type, type Static } from "@sinclair/typebox";
import { decode } from "../api/decode.ts";
import type { Token } from "../api/operations/tokens.ts";
import { Grant, grantsOf, Group, ScopeEntry, User } from "../model/actor.ts";
import { failedPrecondition } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { SealedDocument } from "../storage/documents.ts";

const Definition = Type.Object({
  id: Type.String(),
  prefix: Type.String(),
  /** SHA-256 of the value, hex. */
  hash: Type.String({ pattern: "^[0-9a-f]{64}$" }),
  group: Group,
  user: User,
  status: Type.Union([Type.Literal("active"), Type.Literal("revoked")]),
  issued_at: Type.String(),
  expires_at: Type.Union([Type.String(), Type.Null()]),
  /** Seconds that a keep-alive use adds; null for tokens that never expire. */
  span_secs: Type.Union([Type.Integer(), Type.Null()]),
  limit: Type.Union([Type.Integer(), Type.Null()]),
  /** Writes used when the limit was set: the limit counts from there. */
  limit_base: Type.Integer(),
  keep_alive: Type.Boolean(),
  /** When it was issued or last refreshed: what was noted of an earlier term no longer counts. */
  term: Type.String(),
  /** Missing: what the group gives. */
  grants: Type.Optional(Type.Array(Grant)),
  /** Missing: everything. */
  aggregates: Type.Optional(Type.Array(ScopeEntry)),
});
export type Definition = Static<typeof Definition>;
const Definitions = Type.Array(Definition, { maxItems: limits.tokens_max });

/** None where there is no file; an unreadable one is an error, never "none". */
export async function readDefinitions({ path, read }: SealedDocument): Promise<Definition[]> {
  const text = await read();
  if (text === null) return [];
  try {
    return decode(Definitions, JSON.parse(text));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw failedPrecondition(
      `${path} cannot be read: ${why}; restore it from a backup or move it away`,
      {},
      { cause },
    );
  }
}

/** The token as it is shown. */
export function toToken(
  definition: Definition,
  now: { writes: number; expires_at: string | null; now: string },
): Token {
  const { id, prefix, group, user, status, issued_at, limit, limit_base, keep_alive } = definition;
  const expired = now.expires_at !== null && now.expires_at <= now.now;
  return {
    id,
    prefix,
    group,
    user,
    status: status === "active" && expired ? "expired" : status,
    issued_at,
    expires_at: now.expires_at,
    limit,
    remaining_writes: limit === null ? null : Math.max(0, limit - (now.writes - limit_base)),
    keep_alive,
    grants: [...(definition.grants ?? grantsOf(group))],
    aggregates: definition.aggregates ?? null,
  };
}
