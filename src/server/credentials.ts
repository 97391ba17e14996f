// The bearer token of a request (RFC 6750): found here, judged by whoever opened the store.

import { unauthenticated } from "../model/error.ts";

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
