// Who acts, what that allows and on which aggregates. Tokens become actors in engine/tokens.ts; the
// gate (api/call.ts) asks `requireGrant` and `requireScope`.

import { Type, type Static } from "@sinclair/typebox";
import { aggregateNotFound, invalidArgument, permissionDenied } from "./error.ts";
import { Text } from "./kinds.ts";
import { limits } from "./limits.ts";
import { AggregateId, AggregateType, type StreamKey } from "./stream.ts";

export const Grant = Type.Union(
  [Type.Literal("read"), Type.Literal("append"), Type.Literal("admin")],
  { description: "What a token may do: `read`, `append` or `admin`." },
);
export type Grant = Static<typeof Grant>;
export const grants: readonly Grant[] = ["read", "append", "admin"];

/** All aggregates of a type, or one of them. */
export const ScopeEntry = Type.Object(
  { aggregate_type: AggregateType, aggregate_id: Type.Optional(AggregateId) },
  { $id: "ScopeEntry", additionalProperties: false },
);
export type ScopeEntry = Static<typeof ScopeEntry>;

/** What can be seen or written: the union of its entries; null for everything. Never empty. */
export type Scope = readonly ScopeEntry[] | null;

/** The public half of a token's identity: 16 hex digits of its hash. */
export type TokenId = string;

const label = (description: string) =>
  Text({ description, minLength: 1, maxLength: limits.actor_chars_max, name: true });

export const Group = label("The group a token belongs to. `admin` may do everything.");
export const User = label("The user a token was issued to.");

/** Recorded with every event as `issued_by`. */
export const Issuer = Type.Object(
  { group: Group, user: User },
  { $id: "Issuer", additionalProperties: false },
);
export type Issuer = Static<typeof Issuer>;

export interface Actor extends Issuer {
  readonly grants: readonly Grant[];
  readonly scope: Scope;
  /** The token to charge; null where none stands behind the actor: the command line, the master key. */
  readonly token_id: TokenId | null;
}

/** What this machine's command line acts as: no token may look like it. */
export const cliGroup = "cli";

/** This machine's command line: it can read the data directory, so it may do everything. */
export const cliActor = (user: string): Actor => ({
  group: cliGroup,
  user: `cli:${user}`,
  grants,
  scope: null,
  token_id: null,
});

/** What the administration's master key acts as: no token may look like it. */
export const masterKeyGroup = "master-key";

/** Whoever has the master key: it could issue any token, so it may do everything. */
export const masterKeyActor: Actor = {
  group: masterKeyGroup,
  user: masterKeyGroup,
  grants,
  scope: null,
  token_id: null,
};

/** What another node acts as here: no token may look like it. */
export const peerGroup = "remote";

/** A node under the name by which its key is pinned. What it may ask is narrowed where it asks. */
export const peerActor = (name: string): Actor => ({
  ...{ group: peerGroup, user: name, grants, scope: null, token_id: null },
});

/** Group `admin` may do everything, any other group may read and append. */
export const grantsOf = (group: string): readonly Grant[] =>
  group === "admin" ? grants : ["read", "append"];

/** What a token of the group is issued with; `asked` may only narrow that. Undefined: all of it. */
export function narrowedGrants(
  group: string,
  asked: readonly Grant[] | undefined,
): Grant[] | undefined {
  if (asked === undefined) return undefined;
  const given = grantsOf(group);
  const beyond = asked.find((grant) => !given.includes(grant));
  if (beyond === undefined) return given.filter((grant) => asked.includes(grant));
  throw invalidArgument(
    `the group ${group} has the grants ${given.join(" and ")}; a token cannot have ${beyond} ` +
      "besides",
    { group, grant: beyond },
  );
}

export function requireGrant(actor: Actor, grant: Grant): void {
  if (actor.grants.includes(grant)) return;
  throw permissionDenied(`the token of group ${actor.group} lacks the grant ${grant}`, {
    group: actor.group,
    grant,
  });
}

export const covers = ({ scope }: Pick<Actor, "scope">, key: StreamKey): boolean =>
  scope === null ||
  scope.some(
    ({ aggregate_type, aggregate_id }) =>
      aggregate_type === key.aggregate_type &&
      (aggregate_id === undefined || aggregate_id === key.aggregate_id),
  );

/**
 * Outside of its scope a token finds nothing and may write nothing. Neither answer looks at the
 * store, so neither tells what is there.
 */
export function requireScope(actor: Actor, key: StreamKey, kind: "command" | "query"): void {
  if (covers(actor, key)) return;
  const { aggregate_type, aggregate_id } = key;
  if (kind === "query") throw aggregateNotFound({ aggregate_type, aggregate_id });
  throw permissionDenied("the aggregate is outside of the token's scope", {
    aggregate_type,
    aggregate_id,
  });
}

/** What concerns the whole store is not for those who may see a part of it. */
export function requireEverything({ scope }: Actor): void {
  if (scope === null) return;
  throw permissionDenied("this needs a token whose scope is the whole store", {
    reason: "scope",
  });
}
