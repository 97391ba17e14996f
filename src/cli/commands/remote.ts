// `dbx remote …`: the other nodes that this one knows, and the key by which they know this one.

import { Type } from "@sinclair/typebox";
import { invalidArgument, notFound } from "../../model/error.ts";
import {
  allowedTo,
  isIpv6,
  plannedRemote,
  remoteEndpointOf,
  remoteNameOf,
  remotePort,
  rightsOf,
  type Remote,
  type RemoteEndpoint,
} from "../../model/remote.ts";
import { ensureKeys, keyPathOf, readPublicKey } from "../../replication/keys.ts";
import { realSystem } from "../../system.ts";
import { command, type Group } from "../command.ts";
import { loadConfiguration, type Configuration } from "../configuration.ts";
import { keepRemoteInFile } from "../remote-file.ts";
import type { Shell } from "../shell.ts";
import { tellServer } from "./config.ts";
import { tellHere } from "./data-key.ts";

const strict = { additionalProperties: false } as const;
const json = Type.Optional(Type.Boolean({ description: "Print JSON." }));
const name = Type.String({ hint: "name", description: "What this node calls the other one." });

export const remote: Group = {
  kind: "group",
  summary: "Name the nodes that this one replicates with, and the keys they must prove.",
  commands: {
    add: async () => add,
    rm: async () => remove,
    ls: async () => list,
    show: async () => show,
    key: async () => key,
  },
};

const add = command({
  needs: "machine",
  summary: "Name another node, where it is, and the one key it must prove.",
  about:
    "Both nodes must name each other: take the public key that `dbx remote key` prints on the other one,\n" +
    "over a way that nobody can change. A running server follows at once.",
  flags: Type.Object(
    {
      name,
      ip: Type.String({
        hint: "ip|host",
        description: "Its address or host name; tcp://host:port is taken as well.",
      }),
      public_key: Type.String({ hint: "base64", description: "Its public key." }),
      port: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 65_535,
          description: `Its port; ${remotePort} when missing.`,
        }),
      ),
      allow: Type.Optional(
        Type.Array(Type.String({ minLength: 1 }), {
          hint: "read,append,schemas",
          choices: ["read", "append", "schemas"],
          description:
            "What it may do here when it calls; everything when missing, or as before with --replace.",
        }),
      ),
      replace: Type.Optional(Type.Boolean({ description: "Overwrite the one of this name." })),
      json,
    },
    strict,
  ),
  words: ["name", "ip"],
  examples: [
    "dbx remote add standby 10.0.0.7 --public-key 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "dbx remote add reader db.example.com --port 7363 --public-key 11qY…HURo --allow read",
  ],
  run: async (flags, shell) => {
    const before = await loadConfiguration(shell, {});
    const known = remoteNameOf(flags.name);
    const endpoint = endpointOf(flags);
    const allow = flags.allow === undefined ? null : rightsOf(flags.allow);
    const { public_key, replace = false } = flags;
    const { remotes } = before.config;
    const planned = plannedRemote(remotes, {
      ...{ name: known, endpoint, public_key, allow, replace },
    });
    await refuseOwnKey(planned, before);
    await keep({ name: known, remote: planned }, before, shell);
    const { output } = shell;
    if (output.json) return output.jsonValue({ [known]: planned });
    return output.data(
      `Remote '${known}' set to endpoint ${planned.endpoint} with pinned key ${planned.public_key}`,
    );
  },
});

/** The words of people: `10.0.0.7`, `::1`, `[::1]`, `tcp://db.example.com:7363`. */
function endpointOf({ ip, port }: { ip: string; port?: number }): RemoteEndpoint {
  const text = ip.trim();
  if (text === "") throw invalidArgument("remote IP address cannot be empty");
  if (port === 0) throw invalidArgument("remote port must be greater than zero");
  if (/:\/\//.test(text) && !/^tcp:\/\//i.test(text)) {
    throw invalidArgument("remote IP address must not include a protocol scheme, unless it is tcp");
  }
  if (isIpv6(text)) return { host: text, port: port ?? remotePort };
  const endpoint = remoteEndpointOf(text);
  const hasPort = /:\d+$/.test(text.replace(/\[.*\]/, ""));
  if (port !== undefined && hasPort && port !== endpoint.port) {
    throw invalidArgument(`--port ${port} contradicts ${text}`, { flag: "--port" });
  }
  return port === undefined ? endpoint : { ...endpoint, port };
}

async function refuseOwnKey({ public_key }: Remote, { config }: Configuration): Promise<void> {
  if ((await readPublicKey(keyPathOf(config))) !== public_key) return;
  throw invalidArgument(
    "this is the public key of this node itself; run dbx remote key on the other one",
    { flag: "--public-key" },
  );
}

/** In the trail first, then in the file; the server that runs reads it again. */
async function keep(
  change: { readonly name: string; readonly remote: Remote | null },
  before: Configuration,
  shell: Shell,
): Promise<void> {
  const { [change.name]: _old, ...others } = before.config.remotes;
  const remotes = change.remote === null ? others : { ...others, [change.name]: change.remote };
  const next = { ...before.config, remotes };
  await tellHere({ before: before.config, next, fitting: undefined }, shell);
  await keepRemoteInFile(before.path, change);
  await tellServer(before, shell);
}

const remove = command({
  needs: "machine",
  summary: "Forget another node: its key opens nothing here any more.",
  flags: Type.Object({ name, json }, strict),
  words: ["name"],
  examples: ["dbx remote rm standby"],
  run: async (flags, shell) => {
    const before = await loadConfiguration(shell, {});
    const known = knownRemote(before, flags.name);
    await keep({ name: known.name, remote: null }, before, shell);
    const { output } = shell;
    if (output.json) return output.jsonValue({ removed: known.name });
    return output.data(`Removed remote '${known.name}'`);
  },
});

function knownRemote(
  { config }: Configuration,
  wanted: string,
): { readonly name: string; readonly remote: Remote } {
  const found = wanted.trim();
  const known = Object.hasOwn(config.remotes, found) ? config.remotes[found] : undefined;
  if (known !== undefined) return { name: found, remote: known };
  throw notFound(`no remote named '${found}' is configured`, { name: found });
}

const list = command({
  needs: "machine",
  summary: "List the other nodes with their endpoints.",
  flags: Type.Object({ json }, strict),
  examples: ["dbx remote ls", "dbx remote ls --json"],
  run: async (_flags, shell) => {
    const { remotes } = (await loadConfiguration(shell, {})).config;
    const { output } = shell;
    const names = Object.keys(remotes).sort();
    if (output.json) {
      return output.jsonValue(Object.fromEntries(names.map((each) => [each, remotes[each]])));
    }
    if (names.length === 0) return output.data("(no remotes configured)");
    return output.data(names.map((each) => `${each} ${remotes[each]?.endpoint}`).join("\n"));
  },
});

const show = command({
  needs: "machine",
  summary: "Show the endpoint, the pinned key and the rights of another node.",
  flags: Type.Object({ name, json }, strict),
  words: ["name"],
  examples: ["dbx remote show standby"],
  run: async (flags, shell) => {
    const known = knownRemote(await loadConfiguration(shell, {}), flags.name);
    const { endpoint, public_key } = known.remote;
    const { output } = shell;
    if (output.json) return output.jsonValue({ name: known.name, ...known.remote });
    const allow = allowedTo(known.remote).join(",") || "nothing";
    return output.data(
      [`name: ${known.name}`, `endpoint: ${endpoint}`, `public_key: ${public_key}`]
        .concat(known.remote.allow === undefined ? [] : [`allow: ${allow}`])
        .join("\n"),
    );
  },
});

const key = command({
  needs: "machine",
  summary: "Print this node's public key, which other nodes name it by; made where there is none.",
  flags: Type.Object(
    {
      show_path: Type.Optional(
        Type.Boolean({ description: "Print the path of the file as well." }),
      ),
      json,
    },
    strict,
  ),
  examples: ["dbx remote key", "dbx remote key --show-path"],
  run: async ({ show_path = false }, shell) => {
    const { config } = await loadConfiguration(shell, {});
    const { public_key, pub_path } = await ensureKeys(keyPathOf(config), realSystem.random);
    const { output } = shell;
    if (output.json) {
      return output.jsonValue({ public_key, ...(show_path ? { path: pub_path } : {}) });
    }
    return output.data(show_path ? `${public_key}\npath: ${pub_path}` : public_key);
  },
});
