/**
 * What Windows shows of an executable: its icon and its properties. Bun can set them on Windows
 * alone, so they are put into Bun's own runtime first, and dbx is compiled onto the result.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Data, NtExecutable, NtExecutableResource, Resource } from "resedit";
import { version } from "../src/version.ts";
import { drawIcon } from "./icon.ts";
import { root } from "./root.ts";

/** American English, Unicode. */
const language = { lang: 1033, codepage: 1200 };
const strings = {
  CompanyName: "Patrick Thach and contributors",
  FileDescription: "dbx, an event-sourced database",
  FileVersion: version,
  InternalName: "dbx",
  LegalCopyright: "MIT License, (c) 2025 Patrick Thach and contributors",
  OriginalFilename: "dbx.exe",
  ProductName: "dbx",
  ProductVersion: version,
};

/** A copy of a runtime with dbx's icon and properties, made once for each. Out: its path. */
export function brandedRuntime(runtime: string): string {
  const bytes = readFileSync(runtime);
  const icon = drawIcon();
  const hash = createHash("sha256").update(bytes).update(icon).update(JSON.stringify(strings));
  const name = hash
    .update(readFileSync(import.meta.path))
    .digest("hex")
    .slice(0, 16);
  const folder = join(root, "dist", "runtimes");
  const path = join(folder, `${name}.exe`);
  if (existsSync(path)) return path;
  const executable = NtExecutable.from(bytes, { ignoreCert: true });
  const resources = NtExecutableResource.from(executable);
  // In place of the runtime's own, of whatever number and language they are.
  resources.entries = resources.entries.filter(({ type }) => ![3, 14, 16].includes(Number(type)));
  const items = Data.IconFile.from(icon).icons.map(({ data }) => data);
  Resource.IconGroupEntry.replaceIconsForResource(resources.entries, 1, language.lang, items);
  properties().outputToResourceEntries(resources.entries);
  resources.outputResource(executable);
  mkdirSync(folder, { recursive: true });
  // Moved into place: two builds at once each have a whole one.
  const made = `${path}.${process.pid}`;
  writeFileSync(made, Buffer.from(executable.generate()), { mode: 0o755 });
  renameSync(made, path);
  return path;
}

function properties(): Resource.VersionInfo {
  const info = Resource.VersionInfo.createEmpty();
  info.lang = language.lang;
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number);
  info.setFileVersion(major, minor, patch, 0, language.lang);
  info.setProductVersion(major, minor, patch, 0, language.lang);
  info.setStringValues({ lang: language.lang, codepage: language.codepage }, strings);
  info.fixedInfo.fileOS = 0x40004;
  info.fixedInfo.fileType = 1;
  return info;
}
