// `dbx token …`: issue, list, revoke and refresh.

import { Type } from "@sinclair/typebox";
import { operations, type Output } from "../../api/operations.ts";
import type { Token as ShownToken } from "../../api/operations/tokens.ts";
import { Grant, grantsOf } from "../../model/actor.ts";
import { invalidArgument } from "../../model/error.ts";
import { command, type Group } from "../command.ts";
import { afterDoing, pairs } from "../output.ts";
import { scopeEntryOf, scopeWordsOf } from "../scope-word.ts";
import { requireFiles, type Shell } from "../shell.ts";
import type { Target } from "../target.ts";
import { asking } from "./key-flags.ts";

const issued = operations.issueToken.input.properties;
const json = Type.Optional(Type.Boolean({ description: "Print JSON." }));
const strict = { additionalProperties: false } as const;

const expiration = Type.Integer({
  minimum: 1,
  maximum: 3_155_760_000,
  hint: "secs",
  description: "Seconds from now until the token expires; never when missing.",
});
const limit = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  hint: "writes",
  description: "Events the token may append; without limit when missing.",
});
const reference = Type.String({
  hint: "value|id|-",
  minLength: 1,
  description:
    "The token's value or its id; `-` reads it from stdin, where no process list shows it.",
});

export const token: Group = {
  kind: "group",
  summary: "Issue, list, revoke and refresh tokens.",
  commands: {
    generate: async () => generate,
    list: async () => list,
    revoke: async () => revoke,
    refresh: async () => refresh,
  },
};

type Token = Output<"listTokens">[number];

const allowance = (token: Token) => ({
  expires_at: token.expires_at ?? "never",
  remaining_writes: token.remaining_writes ?? "unlimited",
});

const generate = command({
  summary: "Issue a token. Its value is shown this once.",
  about:
    "Group `admin` may do everything, any other group may read and append. Group and user are recorded\n" +
    "with every event the token appends.",
  flags: Type.Object(
    {
      group: Type.Unsafe<string>({ ...issued.group, hint: "name" }),
      user: Type.Unsafe<string>({ ...issued.user, hint: "name" }),
      expiration: Type.Optional(expiration),
      limit: Type.Optional(limit),
      keep_alive: Type.Optional(
        Type.Boolean({ description: "Each use extends the expiry by its original span." }),
      ),
      grant: Type.Optional(
        Type.Array(Grant, {
          hint: "read|append|admin",
          description: "Fewer grants than the group has; may be given several times.",
        }),
      ),
      aggregate: Type.Optional(
        Type.Array(Type.String(), {
          hint: "type[:id]",
          member: "aggregates",
          description:
            "What it may see and write: a type, or one aggregate; may be given several times. With a colon in a name: type::id, or ::type for a whole type.",
        }),
      ),
      json,
    },
    strict,
  ),
  examples: [
    "dbx token generate --group auditor --user kim --grant read --aggregate patient:p-001",
    "dbx token generate --group admin --user jane --expiration 3600",
    "dbx token generate --group app --user web --limit 1000 --json",
  ],
  run: (flags, shell) =>
    withTokens(shell, "write", async ({ ask }) => {
      const { group, user, expiration: expiration_secs, limit: writes, keep_alive } = flags;
      const { grant, aggregate } = flags;
      const fresh = await ask("issueToken", {
        ...{ group, user },
        ...(expiration_secs === undefined ? {} : { expiration_secs }),
        ...(writes === undefined ? {} : { limit: writes }),
        ...(keep_alive === undefined ? {} : { keep_alive }),
        ...(grant === undefined ? {} : { grants: [...new Set(grant)] }),
        ...(aggregate === undefined ? {} : { aggregates: scopeOf(aggregate) }),
      });
      const { id } = fresh;
      const shown = { token: fresh.token, id, group, user, ...allowance(fresh), ...reachOf(fresh) };
      const { output } = shell;
      // Its value is lost then, but it holds.
      const words = `token ${id} is issued (to take it back: dbx token revoke ${id})`;
      await afterDoing(
        { words, details: { id } },
        output.json ? output.jsonValue(fresh) : output.data(pairs(shown)),
      );
    }),
});

const list = command({
  summary: "List all tokens, without their values.",
  flags: Type.Object({ json }, strict),
  examples: ["dbx token list", "dbx token list --json"],
  run: (_flags, shell) =>
    withTokens(shell, "read", async ({ ask }) => {
      const tokens = await ask("listTokens", {});
      if (shell.output.json) return shell.output.jsonValue(tokens);
      for (const known of tokens) {
        const { id, prefix, group, user, status, issued_at } = known;
        await shell.output.data(
          pairs({
            ...{ id, prefix, group, user, status, issued_at },
            ...allowance(known),
            ...reachOf(known),
          }),
        );
      }
    }),
});

const revoke = command({
  summary: "Revoke a token at once.",
  flags: Type.Object({ token: reference, json }, strict),
  words: ["token"],
  examples: ["dbx token revoke --token EVT-…", "dbx token revoke 0123456789abcdef"],
  run: async (flags, shell) => {
    const wanted = await given(flags.token, shell);
    await withTokens(shell, "write", ({ ask }) => ask("revokeToken", { token: wanted }));
    const shown = withoutValue(wanted);
    if (shell.output.json) return shell.output.jsonValue({ revoked: true, token: shown });
    return shell.output.data(`token ${shown} revoked`);
  },
});

const refresh = command({
  summary: "Extend a token's life or write allowance.",
  flags: Type.Object(
    {
      token: reference,
      expiration: Type.Optional({
        ...expiration,
        description: "Seconds from now until it expires.",
      }),
      limit: Type.Optional({ ...limit, description: "Events it may append from now on." }),
      json,
    },
    strict,
  ),
  words: ["token"],
  examples: ["dbx token refresh --token EVT-… --expiration 3600"],
  run: (flags, shell) =>
    withTokens(shell, "write", async ({ ask }) => {
      const { expiration: expiration_secs, limit: writes } = flags;
      const wanted = await given(flags.token, shell);
      const known = await ask("refreshToken", {
        token: wanted,
        ...(expiration_secs === undefined ? {} : { expiration_secs }),
        ...(writes === undefined ? {} : { limit: writes }),
      });
      if (shell.output.json) return shell.output.jsonValue(known);
      return shell.output.data(pairs({ id: known.id, ...allowance(known) }));
    }),
});

/** `--token` names the token to act on here, so the caller's own can only come by environment. */
async function withTokens<Result>(
  shell: Shell,
  access: "read" | "write",
  use: (target: Target) => Promise<Result>,
): Promise<void> {
  await asking({ shell, access, token: null }, use);
}

async function given(word: string, shell: Shell): Promise<string> {
  if (word !== "-") return word;
  requireFiles(shell, "--token -");
  const text = (await Bun.stdin.text()).trim();
  if (text === "") throw invalidArgument("there is no token on stdin", { flag: "--token" });
  return text;
}

const scopeOf = (words: readonly string[]) =>
  words.map((word) => scopeEntryOf(word, "--aggregate"));

/** What narrows it, if anything does. */
const reachOf = ({ group, grants, aggregates }: ShownToken) => ({
  ...(grants.join() === grantsOf(group).join() ? {} : { grants: grants.join() }),
  ...(aggregates === null ? {} : { aggregates: scopeWordsOf(aggregates) }),
});

/** A token's value is shown once, when it is issued; later only what recognises it. */
const withoutValue = (word: string): string =>
  word.startsWith("EVT-") ? `${word.slice(0, 8)}…` : word;
