// What the file of an aggregate type is called: a name that every file system takes, and one per
// type. Where the file lies is not decided here (place.ts).

import { createHash } from "node:crypto";
import { assert, tooLarge } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";

/** With `_json.zip` behind it a name stays below the 255 bytes of most file systems. */
const name_chars_max = 240;

/** Names that are devices on Windows, whatever extension follows. */
const reserved = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])$/i;

const cleaned = (type: string): string => {
  const clean = type.replace(/[^A-Za-z0-9_-]/gu, "_");
  return reserved.test(clean) ? `${clean}_` : clean;
};

/** The name of a single file for a type, without extension. */
export function fileName(type: string): string {
  const clean = cleaned(type);
  return clean.length > name_chars_max ? withHash(type, 8) : clean;
}

/**
 * Names for types, in the order they come: of those that would share a name, the later ones get a
 * part of their hash. Letters of either case count as the same, because they are on some file
 * systems. Throws `too_large` beyond the bound.
 */
export function createFileNames(): (type: string) => string {
  const taken = new Set<string>();
  const types = new Set<string>();
  return (type) => {
    assert(!types.has(type), "types come in order, so none comes twice");
    if (types.size === limits.export_types_max) {
      throw tooLarge(
        `an export holds at most ${limits.export_types_max} aggregate types; export them one by one`,
        { export_types_max: limits.export_types_max },
      );
    }
    types.add(type);
    let name = fileName(type);
    // Eight digits do, unless somebody named a type to look like the name of another.
    for (let digits = 8; taken.has(name.toLowerCase()) && digits <= 64; digits += 8) {
      name = withHash(type, digits);
    }
    assert(!taken.has(name.toLowerCase()), "no two types have one hash");
    taken.add(name.toLowerCase());
    return name;
  };
}

function withHash(type: string, digits: number): string {
  const hash = createHash("sha256").update(type).digest("hex").slice(0, digits);
  return `${cleaned(type).slice(0, name_chars_max - 1 - digits)}-${hash}`;
}
