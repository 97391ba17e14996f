// Other nodes in the configuration file: each a table of its own, changed line by line.

import type { Remote } from "../model/remote.ts";
import { readDocument } from "../storage/documents.ts";
import { keepText } from "./configuration.ts";
import { newConfigText } from "./template.ts";
import { changeToml, removeToml } from "./toml.ts";

/** Keeps the table of another node in the file, or takes it out where it is null. */
export async function keepRemoteInFile(
  path: string,
  { name, remote }: { readonly name: string; readonly remote: Remote | null },
): Promise<void> {
  const old = (await readDocument(path)) ?? newConfigText();
  const key = `remotes.${name}`;
  const changes = Object.entries(remote ?? {}).map(([member, value]) => ({
    ...{ key: `${key}.${member}`, aliases: [], value },
  }));
  const text = remote === null ? removeToml(old, key, path) : changeToml(old, changes, path);
  await keepText(path, text);
}
