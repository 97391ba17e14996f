// What a request brings to show who asks: a bearer token (RFC 6750) or the master key. Found here,
// judged elsewhere.

import type { Actor } from "../model/actor.ts";
import { DbxError, unauthenticated } from "../model/error.ts";

/**
 * The scheme in any case, then one b64token of RFC 6750. Several headers arrive joined by a comma:
 * no match.
 */
const bearer = /^bearer +([A-Za-z0-9._~+/-]+=*) *$/i;

/**
 * In: the `Authorization` header. Throws `unauthenticated` unless it carries exactly one bearer
 * token.
 */
export function tokenOf(authorization: string | null): string {
  const token = authorization === null ? undefined : bearer.exec(authorization)?.[1];
  if (token === undefined) throw unauthenticated();
  return token;
}

/**
 * Whoever holds the token of the request. Where a master key came in its place, the refusal says
 * that it opens nothing here: of every key, right or wrong, which is not even looked at.
 */
export function holderOf(headers: Headers, authenticate: (token: string) => Actor): Actor {
  try {
    return authenticate(tokenOf(headers.get("authorization")));
  } catch (error) {
    if (!(error instanceof DbxError) || masterKeyOf(headers) === null) throw error;
    const { code, message, details, cause } = error;
    throw new DbxError(code, message, { ...details, hint: tokenWanted }, { cause });
  }
}

const tokenWanted = "a token is wanted here (EVT-...): a master key opens paths below /admin/ only";

const anyBearer = /^bearer +(.+)$/i;

/**
 * The master key of a request that brings one: `X-Admin-Key`, else what `Authorization: Bearer`
 * has in place of a token. Null where there is neither.
 */
export function masterKeyOf(headers: Headers): string | null {
  const own = textOf(headers.get("x-admin-key") ?? "");
  if (own !== "") return own;
  const [, bearer = ""] = anyBearer.exec(headers.get("authorization") ?? "") ?? [];
  const key = textOf(bearer);
  return key === "" || key.startsWith("EVT-") ? null : key;
}

/** Headers come as one character for each byte. Clients send text as UTF-8. */
const textOf = (header: string): string => Buffer.from(header, "latin1").toString("utf8").trim();
