// Tokens: issued, listed, revoked, refreshed.

import { Type, type Static } from "@sinclair/typebox";
import { Grant, Group, ScopeEntry, User } from "../../model/actor.ts";
import { limits } from "../../model/limits.ts";
import { nothing, operation, strict } from "./operation.ts";

const Expiration = Type.Integer({
  minimum: 1,
  // A hundred years: later dates would not fit into a timestamp with a four-digit year for long.
  maximum: 3_155_760_000,
  description: "Seconds from now until the token expires.",
});
const WriteLimit = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: "Events the token may append.",
});

/** A token as it is shown: never its value. */
export const Token = Type.Object(
  {
    id: Type.String({ description: "Names the token without giving it away." }),
    prefix: Type.String({ description: "The first characters of the value, to recognise it by." }),
    group: Group,
    user: User,
    status: Type.Union([Type.Literal("active"), Type.Literal("expired"), Type.Literal("revoked")]),
    issued_at: Type.String(),
    expires_at: Type.Union([Type.String(), Type.Null()]),
    limit: Type.Union([WriteLimit, Type.Null()]),
    remaining_writes: Type.Union([WriteLimit, Type.Null()]),
    keep_alive: Type.Boolean(),
    grants: Type.Array(Grant, { description: "What it may do." }),
    aggregates: Type.Union([Type.Array(ScopeEntry), Type.Null()], {
      description: "What it may see and write; null for everything.",
    }),
  },
  { $id: "Token" },
);
export type Token = Static<typeof Token>;

/** A token the moment it is issued: the only time its value is shown. */
export const IssuedToken = Type.Composite([Type.Object({ token: Type.String() }), Token], {
  $id: "IssuedToken",
});
export type IssuedToken = Static<typeof IssuedToken>;

const TokenRef = Type.String({
  description: "The token's value or its id.",
  minLength: 1,
  maxLength: 256,
});

export const tokenOperations = {
  issueToken: operation({
    summary: "Issue a token.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        group: Group,
        user: User,
        expiration_secs: Type.Optional(Type.Union([Expiration, Type.Null()])),
        limit: Type.Optional(Type.Union([WriteLimit, Type.Null()])),
        keep_alive: Type.Optional(
          Type.Boolean({ description: "Each use extends the expiry by its original span." }),
        ),
        grants: Type.Optional(
          Type.Array(Grant, {
            minItems: 1,
            maxItems: 3,
            description: "Fewer grants than the group has: it gives no others.",
          }),
        ),
        aggregates: Type.Optional(
          Type.Union([
            Type.Array(ScopeEntry, { minItems: 1, maxItems: limits.scope_entries_max }),
            Type.Null(),
          ]),
        ),
      },
      strict,
    ),
    output: IssuedToken,
  }),
  listTokens: operation({
    summary: "List all tokens, without their values.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: nothing,
    output: Type.Array(Token),
  }),
  revokeToken: operation({
    summary: "Revoke a token at once.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object({ token: TokenRef }, strict),
    output: Type.Null(),
  }),
  refreshToken: operation({
    summary: "Extend a token's life or write allowance.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        token: TokenRef,
        expiration_secs: Type.Optional(Expiration),
        limit: Type.Optional(WriteLimit),
      },
      strict,
    ),
    output: Token,
  }),
};
