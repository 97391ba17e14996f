/**
 * What a release writes into its installers: its tag, and the SHA-256 of its files. A script that
 * came over a trusted connection then trusts nothing else: whoever could exchange a file on the way
 * cannot exchange the checksum with it.
 */

export interface Stamp {
  /** `v2.0.0`. */
  readonly tag: string;
  /** SHA-256, in hexadecimal, by the name of the file. */
  readonly checksums: Readonly<Record<string, string>>;
}

/** In: the text of either script. Throws where it has no place for the stamp, or the stamp is odd. */
export function stampInstaller(text: string, { tag, checksums }: Stamp): string {
  if (!/^v\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/.test(tag)) throw new Error(`${tag} is no tag`);
  const lines = Object.entries(checksums).map(([name, sum]) => {
    if (!/^[\w][\w.+-]*$/.test(name)) throw new Error(`${JSON.stringify(name)} is no file name`);
    if (!/^[0-9a-f]{64}$/.test(sum)) throw new Error(`${name}: ${sum} is no SHA-256`);
    return `${sum} *${name}`;
  });
  if (lines.length === 0) throw new Error("a release without files");
  const withTag = replaceOnce(text, /^( *\$?release_?tag ?= ?)''$/im, tag);
  return replaceOnce(withTag, /^( *\$?release_?checksums ?= ?)''$/im, `\n${lines.join("\n")}\n`);
}

/** Text between single quotes, which both shells take as it is, over several lines as well. */
function replaceOnce(text: string, place: RegExp, value: string): string {
  const found = text.match(new RegExp(place.source, "gim"));
  if (found?.length !== 1) throw new Error(`the script has not one line ${place.source}`);
  return text.replace(place, (_, before: string) => `${before}'${value}'`);
}
