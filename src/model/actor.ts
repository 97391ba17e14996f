// Who acts, and what that allows. Tokens become actors in engine/tokens.ts; the gate asks `requireGrant`.

import { Type, type Static } from "@sinclair/typebox";
import { permissionDenied } from "./error.ts";
import { Text } from "./kinds.ts";
import { limits } from "./limits.ts";

export const grants = ["read", "append", "admin"] as const;
export type Grant = (typeof grants)[number];

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
  /** The token to charge; null where no token stands behind the actor (this machine's command line). */
  readonly token_id: TokenId | null;
}

/** Group `admin` may do everything, any other group may read and append. */
export const grantsOf = (group: string): readonly Grant[] =>
  group === "admin" ? grants : ["read", "append"];

export function requireGrant(actor: Actor, grant: Grant): void {
  if (actor.grants.includes(grant)) return;
  throw permissionDenied(`group ${actor.group} lacks the grant ${grant}`, {
    group: actor.group,
    grant,
  });
}
